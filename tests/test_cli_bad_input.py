"""Bad input: the command says what is wrong, where and what to do; exit code 2; nothing is written."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from commands import FOREIGN, contents, orchestrate_in

ORCHESTRATE = Path(sys.executable).with_name("orchestrate")

TRIAL = "trial:\n  training: {iterations: 20, validate_every: 10, validation_episodes: 10}\n"
SPACE = "  space:\n    algorithm.inner_lr: {loguniform: [0.1, 1.0]}\n"
SEARCH = "search:\n  trials: 2\n" + SPACE
GOOD = TRIAL + SEARCH
OMNIGLOT = "trial:\n  dataset: {name: omniglot}\n" + SEARCH


def orchestrate(folder: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """The command's end, run in a folder, with none of the caller's settings that it reads."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(FOREIGN)}
    return subprocess.run(
        [ORCHESTRATE, *arguments],
        cwd=folder,
        env={**inherited, "COLUMNS": "200", **variables},
        capture_output=True,
        text=True,
        timeout=120,
        stdin=subprocess.DEVNULL,
    )


def assert_refused(done: subprocess.CompletedProcess[str], *words: str) -> None:
    """Ended as bad input does; each of the words stands in what it said."""
    assert "Traceback" not in done.stderr, done.stderr
    assert done.returncode == 2, (done.returncode, done.stdout, done.stderr)
    assert done.stdout == ""
    lines = done.stderr.splitlines()
    assert lines, "it said nothing"
    assert len(set(lines)) == len(lines), done.stderr
    assert [line for line in lines if not line.startswith("error: ")] == [], done.stderr
    for word in words:
        assert word in done.stderr, f"{word!r} is not in: {done.stderr}"


def check(folder: Path, arguments: list[str], *words: str, command: Any = orchestrate_in, **variables: str) -> None:
    """Runs the command in a folder; it is refused and leaves the folder as it was.

    Hundreds of processes would take minutes to start: ``command=orchestrate`` is for where one is needed.
    """
    before = contents(folder)
    assert_refused(command(folder, *arguments, **variables), *words)
    assert contents(folder).keys() - before.keys() == set(), "something was written"
    assert contents(folder) == before


def make_home(folder: Path, name: str = "quick") -> Path:
    """A home with the record of one sweep, which has not run anything."""
    home = folder / "home"
    (home / "sweeps" / name).mkdir(parents=True)
    (home / "home.json").write_text('{"schema": 1, "id": "0"}')
    (home / "sweeps" / name / "spec.yaml").write_text(GOOD)
    return home


# --- the file ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["sweep", "trial"])
@pytest.mark.parametrize(
    ("argument", "words"),
    [
        ("absent.yaml", ["absent.yaml", "no such file"]),
        ("absent", ["absent", "no such file"]),
        ("a" * 300, ["aaa", "no such file"]),
        ("folder", ["folder", "is a folder", "name a YAML file"]),
        ("", ["error: "]),
    ],
)
def test_no_file(tmp_path: Path, command: str, argument: str, words: list[str]) -> None:
    (tmp_path / "folder").mkdir()
    check(tmp_path, [command, argument], *words)


FILES = {
    "empty": ("", ["is empty", "search:"]),
    "only a comment": ("# nothing\n", ["is empty"]),
    "not YAML": ("trial: {a: [1\nb: 2\n", ["s.yaml:2", "not valid YAML"]),
    "a list": ("- 1\n- 2\n", ["s.yaml:1", "must be a mapping"]),
    "two documents": (GOOD + "---\n" + GOOD, ["s.yaml:", "more than one YAML document"]),
    "a tag": ("trial: !!python/object:os.system {}\n" + SEARCH, ["s.yaml:1", "tags"]),
    "a key twice": (GOOD + "search: {}\n", ["search", "twice"]),
    "neither search nor grid": (TRIAL, ["search", "is missing", "grid:"]),
    "both search and grid": (GOOD + "grid: {seeds: 2}\n", ["s.yaml:7", "grid", "remove one"]),
    # unknown keys at each level, the nearest right one named
    "unknown key at the top": (GOOD + "resource: {}\n", ["s.yaml:7", "resource", "'resources'"]),
    "unknown section": ("trial: {trainnig: {}}\n" + SEARCH, ["s.yaml:1", "trial.trainnig", "'training'"]),
    "unknown key of a section": (
        "trial:\n  training:\n    iteration: 20\n" + SEARCH,
        ["s.yaml:3", "trial.training.iteration", "'iterations'"],
    ),
    "unknown key of search": (GOOD + "  trails: 3\n", ["s.yaml:7", "search.trails", "'trials'"]),
    "unknown path in the space": (
        "search:\n  trials: 2\n  space:\n    algorithm.inner_rl: {choice: [1.0]}\n",
        ["s.yaml:4", "algorithm.inner_rl", "algorithm.inner_lr"],
    ),
    "unknown distribution": (
        "search:\n  trials: 2\n  space:\n    algorithm.inner_lr: {loguniforn: [0.1, 1]}\n",
        ["s.yaml:4", "algorithm.inner_lr", "loguniforn", "'loguniform'"],
    ),
    "unknown key of grid": ("grid:\n  tran: {}\n", ["s.yaml:2", "grid.tran", "'train'"]),
    "unknown path in the grid": (
        "grid:\n  train: {episodes.shot: [1, 5]}\n",
        ["s.yaml:2", "episodes.shot", "episodes.shots"],
    ),
    "unknown key of resources": (GOOD + "resources: {gpus: 1}\n", ["s.yaml:7", "resources.gpus", "'gpu'"]),
    "unknown key of objective": (GOOD + "  objective: {maximise: x}\n", ["s.yaml:7", "maximise", "'maximize'"]),
    # types and ranges
    "text for a number": ("trial: {episodes: {ways: many}}\n" + SEARCH, ["s.yaml:1", "trial.episodes.ways", "many"]),
    "a fraction for a count": ("trial: {episodes: {ways: 2.5}}\n" + SEARCH, ["trial.episodes.ways", "2.5"]),
    "true for a number": ("trial: {episodes: {shots: true}}\n" + SEARCH, ["trial.episodes.shots", "true"]),
    "a list for a mapping": ("trial: [1]\n" + SEARCH, ["s.yaml:1", "trial", "mapping"]),
    "text for a search": ("search: tpe\n", ["s.yaml:1", "search", "mapping", "tpe"]),
    "below its range": ("trial: {episodes: {ways: 1}}\n" + SEARCH, ["trial.episodes.ways", "at least 2", "got 1"]),
    "not positive": ("trial: {algorithm: {inner_lr: 0}}\n" + SEARCH, ["inner_lr", "greater than 0", "got 0"]),
    "not finite": ("trial: {training: {meta_lr: .inf}}\n" + SEARCH, ["trial.training.meta_lr", "finite"]),
    "no multiple": ("trial: {training: {iterations: 150}}\n" + SEARCH, ["iterations", "multiple", "150", "100"]),
    "too many frozen layers": ("trial: {algorithm: {frozen_layers: 5}}\n" + SEARCH, ["frozen_layers", "5", "4"]),
    "unknown layer": ("trial: {algorithm: {frozen_layers: [conv9]}}\n" + SEARCH, ["frozen_layers", "conv9", "'conv"]),
    "no trials": ("search:\n  trials: 0\n" + SPACE, ["s.yaml:2", "search.trials", "at least 1", "got 0"]),
    "trials left out": ("search:\n" + SPACE, ["search.trials", "missing"]),
    "no space": ("search:\n  trials: 2\n", ["search.space", "missing"]),
    "an empty space": ("search:\n  trials: 2\n  space: {}\n", ["search.space"]),
    "a negative seed": (GOOD + "  seed: -1\n", ["search.seed", "-1"]),
    "a negative cpu": (GOOD + "resources: {cpu: -1}\n", ["resources.cpu", "-1"]),
    "a name with a slash": ("name: a/b\n" + GOOD, ["s.yaml:1", "name", "a/b"]),
    "a name that climbs": ("name: ..\n" + GOOD, ["s.yaml:1", "name", ".."]),
    # members of families
    "unknown problem": ("trial: {problem: speech}\n" + SEARCH, ["trial.problem", "few_shot", "rl", "speech"]),
    "unknown dataset": ("trial: {dataset: {name: omniglt}}\n" + SEARCH, ["trial.dataset", "'omniglt'", "'omniglot'"]),
    "unknown split": (
        "trial: {dataset: {name: omniglot, split: offical}}\n" + SEARCH,
        ["trial.dataset", "'offical'", "'official'"],
    ),
    "unknown algorithm": ("trial: {algorithm: {name: mmal}}\n" + SEARCH, ["trial.algorithm.name", "'mmal'", "'maml'"]),
    "unknown backbone": ("trial: {backbone: {name: resnet}}\n" + SEARCH, ["trial.backbone.name", "conv4", "resnet"]),
    "early stopping before the first validation": (
        GOOD + "  early_stopping: {name: asha, grace_iterations: 1}\n",
        ["s.yaml:7", "search.early_stopping.grace_iterations", "validate_every = 10", "got 1"],
    ),
    "unknown sampler": (GOOD + "  sampler: tpee\n", ["s.yaml:7", "search.sampler", "tpe", "tpee"]),
    # spaces and grids that can propose what makes no sense
    "bounds the wrong way round": (
        "search:\n  trials: 2\n  space:\n    algorithm.inner_lr: {loguniform: [1.0, 0.1]}\n",
        ["s.yaml:4", "algorithm.inner_lr", "1.0", "0.1"],
    ),
    "a choice that is invalid": (
        "search:\n  trials: 2\n  space:\n    algorithm.name: {choice: [maml, mmal]}\n",
        ["s.yaml:4", "algorithm.name", "mmal", "maml"],
    ),
    "a range end that is invalid": (
        "search:\n  trials: 2\n  space:\n    algorithm.inner_steps: {int: [0, 3]}\n",
        ["s.yaml:4", "algorithm.inner_steps", "at least 1"],
    ),
    "a combination that is invalid": (
        "search:\n  trials: 2\n  space:\n    training.iterations: {choice: [100, 200]}\n"
        "    training.validate_every: {choice: [100, 200]}\n",
        ["search.space", "iterations", "validate_every", "100", "200"],
    ),
    "a condition on what is absent": (
        "search:\n  trials: 2\n  space:\n    algorithm.frozen_layers: {int: [0, 4], when: {algorithm.nam: maml}}\n",
        ["s.yaml:4", "algorithm.frozen_layers", "algorithm.nam"],
    ),
    "a start outside of the space": (GOOD + "  start: [{algorithm.inner_lr: 7.0}]\n", ["s.yaml:7", "start", "7.0"]),
    "a level that is invalid": ("grid:\n  train: {episodes.ways: [5, 1]}\n", ["grid.train", "ways", "at least 2"]),
    "a factor without levels": ("grid:\n  train: {episodes.ways: []}\n", ["s.yaml:2", "grid.train.episodes.ways"]),
    "a grid of no seeds": ("grid: {seeds: 0}\n", ["s.yaml:1", "grid.seeds", "0"]),
}


@pytest.mark.parametrize(("text", "words"), FILES.values(), ids=FILES)
def test_wrong_file(tmp_path: Path, text: str, words: list[str]) -> None:
    (tmp_path / "s.yaml").write_text(text)
    check(tmp_path, ["sweep", "s.yaml"], "s.yaml", *words)


def test_not_text(tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_bytes(b"question: \xff\xfe\n")
    check(tmp_path, ["sweep", "s.yaml"], "s.yaml:1", "UTF-8", command=orchestrate)


def test_several_problems_are_told_at_once(tmp_path: Path) -> None:
    text = "trial: {episodes: {ways: 1}, algorithm: {name: mmal}}\nsearch:\n  trials: 0\n" + SPACE
    (tmp_path / "s.yaml").write_text(text)
    check(tmp_path, ["sweep", "s.yaml"], "trial.episodes.ways", "trial.algorithm.name", "search.trials")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "search:\n  trails: 3\n  trials: 0\n  space:\n    algorithm.name: {choice: [maml, mmal]}\n",
            ["search.trails: unknown key", "search.trials: must be", "'mmal'"],
        ),
        (
            "grid:\n  seeds: 0\n  train: {episodes.ways: [5, 1]}\nresources: {cpu: -1}\n",
            ["grid.seeds: must be", "grid.train.episodes.ways: holds", "resources.cpu: must be"],
        ),
    ],
    ids=["search", "grid"],
)
def test_a_wrong_value_hides_no_combination(tmp_path: Path, text: str, words: list[str]) -> None:
    (tmp_path / "s.yaml").write_text(text)
    done = orchestrate_in(tmp_path, "sweep", "s.yaml")
    assert_refused(done, *words)
    assert len(done.stderr.splitlines()) == len(words), done.stderr


def test_a_problem_is_one_line_whatever_it_quotes(tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text(GOOD + '"a\\nb": 1\n"\\e[31mred\\u2028": 1\n')
    done = orchestrate_in(tmp_path, "sweep", "s.yaml")
    assert_refused(done, "s.yaml:7: a\\nb: unknown key", "s.yaml:8: \\x1b[31mred\\u2028: unknown key")
    assert len(done.stderr.split("\n")) == 3


def test_of_thousands_of_problems_the_first_hundred_are_told(tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text(GOOD + "".join(f"k{number}: 1\n" for number in range(500)))
    done = orchestrate_in(tmp_path, "sweep", "s.yaml")
    assert_refused(done, "s.yaml:7: k0: unknown key", "s.yaml: 400 problems more; mend these first")
    assert len(done.stderr.splitlines()) == 101


# --- the command line -------------------------------------------------------------------------------------------------

OPTIONS = {
    "--set of an unknown path": (["--set", "algorithm.inner_rl=1"], ["--set", "algorithm.inner_rl", "inner_lr"]),
    "--set of a wrong type": (["--set", "training.iterations=many"], ["--set", "training.iterations", "many"]),
    "--set out of range": (["--set", "episodes.ways=1"], ["--set", "episodes.ways", "at least 2"]),
    "--set without =": (["--set", "episodes.ways"], ["--set episodes.ways", "path=value"]),
    "--set without a value": (["--set", "episodes.ways="], ["--set", "path=value"]),
    "--set of no YAML": (["--set", "episodes.ways=[1"], ["--set", "not valid YAML"]),
    "--set below a number": (["--set", "search.trials.x=1"], ["--set", "search.trials"]),
    "--set twice, both wrong": (["--set", "episodes.ways=", "--set", "episodes.ways="], ["--set", "path=value"]),
    "--set of a whole section": (["--set", "training=7"], ["--set", "training", "mapping"]),
    "--trials 0": (["--trials", "0"], ["--trials 0: must be a whole number of at least 1", "sweep --help"]),
    "--trials -1": (["--trials", "-1"], ["--trials -1: must be", "at least 1"]),
    "--trials of text": (["--trials", "many"], ["--trials many: must be a whole number"]),
    "--trials without a value": (["--trials"], ["--trials: requires an argument", "--help"]),
    "--json with a value": (["--json=3"], ["--json: does not take a value", "--help"]),
    "--seeds of a search": (["--seeds", "2"], ["grid"]),
    "--max-concurrent 0": (["--max-concurrent", "0"], ["--max-concurrent 0: must be", "at least 1"]),
    "--name with a slash": (["--name", "a/b"], ["--name a/b", "letters, digits"]),
    "--name that climbs": (["--name", "../a"], ["name", "../a"]),
    "--name that is empty": (["--name", ""], ["name"]),
    "an unknown option": (["--trails", "2"], ["--trails: no such option of", "did you mean '--trials'?"]),
    "an option of other tools": (["--wandb"], ["--wandb: no such option", "--home, --json"]),
    "--fail-fast and another limit": (
        ["--fail-fast", "--max-failures", "2"],
        ["--fail-fast: means --max-failures 1, and --max-failures 2 is given too", "drop one"],
    ),
    "--trial-timeout 0": (["--trial-timeout", "0"], ["--trial-timeout 0: must be a whole number of at least 1"]),
    "--trial-timeout without end": (
        ["--trial-timeout", "99999999999999"],
        ["--trial-timeout 99999999999999: must be a whole number of at least 1 and at most 1000000000"],
    ),
    "an option of one letter": (["-x"], ["-x: no such option", "--home, --json"]),
    "an argument too many": (["other.yaml"], ["other.yaml", "sweep --help"]),
    "a line break in an argument": (["other\nfile"], ["other file"]),
}


@pytest.mark.parametrize(("options", "words"), OPTIONS.values(), ids=OPTIONS)
def test_wrong_option(tmp_path: Path, options: list[str], words: list[str]) -> None:
    (tmp_path / "s.yaml").write_text(GOOD)
    check(tmp_path, ["sweep", "s.yaml", *options], *words)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["sweep"], ["SPEC: is missing", "orchestrate sweep --help"]),
        (["swep"], ["swep: no such command", "did you mean 'sweep'?"]),
        (["data", "remove"], ["remove: no such command of orchestrate data", "fetch, import, list, show, verify"]),
        ([""], ["'': no such command"]),
        (["export"], ["NAME: is missing", "orchestrate export --help"]),
        (["export", "quick", "--format", "xml"], ["--format xml: must be one of csv, json, parquet, optuna"]),
        (["dashboard", "--port", "0"], ["--port 0: must be", "at least 1 and at most 65535"]),
        (["data", "import"], ["NAME: is missing"]),
    ],
)
def test_wrong_command(tmp_path: Path, arguments: list[str], words: list[str]) -> None:
    check(tmp_path, arguments, *words, command=orchestrate)


@pytest.mark.parametrize("arguments", [[], ["data"]], ids=["orchestrate", "orchestrate data"])
def test_a_group_alone_shows_its_commands(tmp_path: Path, arguments: list[str]) -> None:
    done = orchestrate(tmp_path, *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert "Usage: orchestrate" in done.stderr
    assert ("import" if arguments else "sweep") in done.stderr


# --- the home ---------------------------------------------------------------------------------------------------------

NEW_HOME = {  # commands that make a home where there is none
    "sweep": ["sweep", "s.yaml"],
    "sweep --dry-run": ["sweep", "s.yaml", "--dry-run"],
    "trial": ["trial", "s.yaml"],
    "data import": ["data", "import", "glyphs"],
    "data fetch": ["data", "fetch", "omniglot"],
    "data show": ["data", "show", "glyphs"],
}
OLD_HOME = {
    "status": ["status"],
    "status NAME": ["status", "quick"],
    "export": ["export", "quick"],
    "report": ["report", "quick"],
    "dashboard": ["dashboard"],
}


@pytest.mark.parametrize(
    ("command", "home"),
    [
        *((NEW_HOME["sweep"], home) for home in ("file", "/proc/nope", "", "nope://x", "~no-such-user/x")),
        *((command, "file/below") for command in NEW_HOME.values()),
    ],
)
def test_home_that_cannot_be_written(tmp_path: Path, command: list[str], home: str) -> None:
    (tmp_path / "s.yaml").write_text(GOOD)
    (tmp_path / "file").write_text("in the way")
    check(tmp_path, [*command, "--home", home], "--home", home)


@pytest.mark.parametrize("command", [["sweep", "s.yaml"], ["status"]], ids=["sweep", "status"])
@pytest.mark.parametrize("query", ["access_key=me&secret_key=hidden", "region=eu&session%5Ftoken=hidden"])
def test_secrets_in_a_home_url_are_refused_and_not_shown(tmp_path: Path, command: list[str], query: str) -> None:
    (tmp_path / "s.yaml").write_text(GOOD)
    done = orchestrate_in(tmp_path, *command, "--home", f"s3://bucket/x?{query}")
    assert_refused(done, "--home", "give them by environment")
    assert "hidden" not in done.stderr


@pytest.mark.parametrize("command", OLD_HOME.values(), ids=OLD_HOME)
def test_no_home(tmp_path: Path, command: list[str]) -> None:
    check(
        tmp_path,
        [*command, "--home", "nowhere"],
        "--home nowhere",
        "no home there",
        "orchestrate sweep",
        command=orchestrate,
    )


def test_listing_data_makes_no_home(tmp_path: Path) -> None:
    done = orchestrate_in(tmp_path, "data", "list", "--home", "nowhere")
    assert not (tmp_path / "nowhere").exists()
    assert done.returncode == 0
    assert "orchestrate data import omniglot" in done.stdout


EVERY_COMMAND = {**NEW_HOME, **OLD_HOME, "data list": ["data", "list"], "data verify": ["data", "verify"]}


LATER = '{"schema": 2, "id": "0"}'


@pytest.mark.parametrize(
    ("command", "record", "words"),
    [
        *((command, LATER, ["schema 2"]) for command in EVERY_COMMAND.values()),
        (["status"], '{"schema": "1", "id": "0"}', ["schema"]),
        (["status"], "{}", ["schema"]),
        (["status"], "[]", ["schema"]),
        (["status"], '{"schema": 1', ["home.json", "damaged"]),
    ],
)
def test_home_of_another_version(tmp_path: Path, command: list[str], record: str, words: list[str]) -> None:
    (make_home(tmp_path) / "home.json").write_text(record)
    (tmp_path / "s.yaml").write_text(GOOD)
    check(tmp_path, [*command, "--home", "home"], "home", *words)


@pytest.mark.parametrize(
    ("command", "name", "words"),
    [
        ("status", "quikc", ["'quikc'", "'quick'"]),
        ("export", "quikc", ["'quikc'", "'quick'"]),
        ("export", "something-else", ["'something-else'", "quick"]),
        ("export", "a/b", ["a/b"]),
        ("status", "../sweeps/quick", ["../sweeps/quick"]),
        ("export", "../sweeps/quick", ["../sweeps/quick"]),
        ("export", "quick/", ["quick/"]),
        ("export", "..", ["'..'"]),
        ("report", "quikc", ["'quikc'", "'quick'"]),
        ("report", "../sweeps/quick", ["../sweeps/quick"]),
        ("export", "", ["''"]),
        ("export", "x" * 300, ["xxx"]),
    ],
)
def test_no_such_sweep(tmp_path: Path, command: str, name: str, words: list[str]) -> None:
    make_home(tmp_path)
    check(tmp_path, [command, name, "--home", "home"], "home", *words)


@pytest.mark.parametrize(
    "command", [["status"], ["export", "quick"], ["report", "quick"], ["sweep", "quick.yaml", "--dry-run"]]
)
def test_a_damaged_spec_is_named_where_it_lies(tmp_path: Path, command: list[str]) -> None:
    (make_home(tmp_path) / "sweeps" / "quick" / "spec.yaml").write_text(GOOD + "resource: {}\n")
    (tmp_path / "quick.yaml").write_text(GOOD)
    check(tmp_path, [*command, "--home", "home"], "error: home/sweeps/quick/spec.yaml:7: resource: unknown key")


@pytest.mark.parametrize("output", ["absent/rows.csv", "."])
def test_output_that_cannot_be_written(tmp_path: Path, output: str) -> None:
    make_home(tmp_path)
    check(tmp_path, ["export", "quick", "--home", "home", "--output", output], "--output", output)


@pytest.mark.parametrize("output", ["file", "file/below", "/proc/nope", ""])
def test_a_report_that_cannot_be_written(tmp_path: Path, output: str) -> None:
    make_home(tmp_path)
    (tmp_path / "file").write_text("in the way")
    check(tmp_path, ["report", "quick", "--home", "home", "--output", output], "--output", output, "name a folder")


def test_same_name_for_another_sweep(tmp_path: Path) -> None:
    make_home(tmp_path)
    (tmp_path / "s.yaml").write_text(GOOD.replace("1.0", "0.9"))
    words = ["'quick'", "search.space.algorithm.inner_lr", "--name"]
    check(tmp_path, ["sweep", "s.yaml", "--home", "home", "--name", "quick", "--dry-run"], *words)


# --- data -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["sweep", "trial"])
def test_data_that_must_be_imported(tmp_path: Path, command: str) -> None:
    (tmp_path / "s.yaml").write_text(OMNIGLOT)
    arguments, words = [command, "s.yaml"], ("omniglot", "orchestrate data import omniglot --source")
    check(tmp_path, arguments, *words, command=orchestrate)


def test_the_import_command_names_the_home(tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text(OMNIGLOT)
    check(tmp_path, ["sweep", "s.yaml", "--home", "elsewhere"], "orchestrate data import omniglot", "--home")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["omniglot", "--source", "absent"], ["absent", "no such file or folder"]),
        (["omniglot", "--source", "empty"], ["empty", "images_background"]),
        (["omniglot", "--source", "file"], ["file"]),
        (["omniglot"], ["--source"]),
        (["omniglt", "--source", "empty"], ["'omniglt'", "'omniglot'"]),
        (["glyphs", "--source", "empty"], ["glyphs", "--source"]),
        (["../x", "--source", "empty"], ["'../x'"]),
        (["omniglot", "--source", "empty", "--size", "20"], ["--size", "omniglot", "leave that out"]),
        (["folder.x", "--source", "empty", "--size", "0"], ["--size 0", "at least 8"]),
        (["folder.x", "--source", "empty"], ["empty", "holds no PNG or JPEG"]),
        (["folder.X", "--source", "empty"], ["'folder.X'", "a-z"]),
        (["cifar_fs", "--source", "file"], ["file", "no readable zip"]),
    ],
)
def test_wrong_import(tmp_path: Path, arguments: list[str], words: list[str]) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("no zip")
    check(tmp_path, ["data", "import", *arguments], *words)


# --- cluster and tracking ---------------------------------------------------------------------------------------------

DRY = pytest.mark.parametrize("dry", [[], ["--dry-run"]], ids=["run", "dry run"])


@contextmanager
def closed_port() -> Iterator[int]:
    """A port at which nothing listens, kept from others meanwhile."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]


@contextmanager
def listener(answer: bytes = b"") -> Iterator[int]:
    """A port that takes every connection and is no server of ours: silent, or always with the same answer."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        taken: list[socket.socket] = []

        def accept() -> None:
            while True:
                try:
                    taken.append(server.accept()[0])
                    taken[-1].sendall(answer)
                    if answer:
                        taken[-1].close()
                except OSError:
                    return

        threading.Thread(target=accept, daemon=True).start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)
        for connection in taken:
            connection.close()


@pytest.mark.parametrize(
    ("address", "dry"),
    [
        *((address, []) for address in ("", "nonsense", "host:port", ":6379", "127.0.0.1:0", "127.0.0.1:65536")),
        ("nonsense", ["--dry-run"]),
    ],
)
def test_malformed_address(tmp_path: Path, address: str, dry: list[str]) -> None:
    (tmp_path / "s.yaml").write_text(GOOD)
    check(tmp_path, ["sweep", "s.yaml", "--address", address, *dry], f"--address {address}", "`ray start --head`")


@DRY
def test_nothing_listens_at_the_address(tmp_path: Path, dry: list[str]) -> None:
    (tmp_path / "s.yaml").write_text(GOOD)
    with closed_port() as port:
        words = f"--address 127.0.0.1:{port}", "no Ray cluster answers"
        check(tmp_path, ["sweep", "s.yaml", "--address", f"127.0.0.1:{port}", *dry], *words, command=orchestrate)


@pytest.mark.slow
@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n"], ids=["silent", "talks HTTP"])
def test_no_ray_at_the_address(fresh_glyphs_home: Path, tmp_path: Path, answer: bytes) -> None:
    (tmp_path / "s.yaml").write_text(GOOD)
    with listener(answer) as port:
        began = time.monotonic()
        arguments = ["sweep", "s.yaml", "--home", "home", "--address", f"127.0.0.1:{port}"]
        assert_refused(orchestrate(tmp_path, *arguments), f"--address 127.0.0.1:{port}")
        assert time.monotonic() - began < 30  # the limit that is promised, not a benchmark
    assert not (tmp_path / "home" / "trainings").exists()


URIS = {
    "": "is empty",
    " ": "is empty",
    "http:": "http://HOST:PORT",
    "http://": "no host",
    "http://host:port": "port",
    "http://host:0": "port 0",
    "http://host:99999": "http://HOST:PORT",
    "127.0.0.1:5000": "http://127.0.0.1:5000",
    "ftp://host": "unknown scheme 'ftp'",
    "./mlruns": "sqlite:////",
    "file:///mlruns": "sqlite:////",
    "sqlite://x.db": "sqlite:////",
    "sqlite:////nowhere/at/all/mlflow.db": "does not exist",
    "http://host/?a=b": "http://HOST:PORT",
}


@pytest.mark.parametrize("uri", URIS)
def test_malformed_tracking_uri(tmp_path: Path, uri: str) -> None:
    (tmp_path / "s.yaml").write_text(GOOD)
    check(tmp_path, ["sweep", "s.yaml", "--tracking-uri", uri], "tracking", URIS[uri])


def test_malformed_tracking_uri_from_the_environment(tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text(GOOD)
    check(
        tmp_path, ["sweep", "s.yaml"], "ftp://host", "tracking", command=orchestrate, MLFLOW_TRACKING_URI="ftp://host"
    )


def test_malformed_tracking_uri_in_a_dry_run(tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text(GOOD)
    check(tmp_path, ["sweep", "s.yaml", "--tracking-uri", "ftp://host", "--dry-run"], "ftp://host")


def test_secrets_in_a_tracking_uri_are_not_shown(tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text(GOOD)
    done = orchestrate_in(tmp_path, "sweep", "s.yaml", "--tracking-uri", "ftp://me:hidden@host")
    assert_refused(done, "ftp://***@host")
    assert "hidden" not in done.stderr


@DRY
def test_required_tracking_server_that_is_not_there(tmp_path: Path, dry: list[str]) -> None:
    (tmp_path / "s.yaml").write_text(GOOD)
    with closed_port() as port:
        uri = f"http://127.0.0.1:{port}"
        arguments = ["sweep", "s.yaml", "--tracking-uri", uri, "--require-tracking", *dry]
        check(tmp_path, arguments, uri, "--require-tracking", command=orchestrate)


@pytest.mark.slow
@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nHi!"], ids=["silent", "another"])
def test_required_tracking_server_that_is_none(tmp_path: Path, answer: bytes) -> None:
    (tmp_path / "s.yaml").write_text(GOOD)
    with listener(answer) as port:
        uri = f"http://127.0.0.1:{port}"
        began = time.monotonic()
        arguments = ["sweep", "s.yaml", "--tracking-uri", uri, "--require-tracking"]
        check(tmp_path, arguments, uri, "--require-tracking", command=orchestrate)
        assert time.monotonic() - began < 20  # promised: 5 s, on top of Python's start on a machine that is busy


@pytest.mark.slow
@pytest.mark.parametrize("command", [["sweep", "s.yaml"], ["status"]], ids=["sweep", "status"])
def test_an_object_store_that_does_not_answer(tmp_path: Path, command: list[str]) -> None:
    (tmp_path / "s.yaml").write_text(GOOD)
    keys = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret"}
    with listener() as port:
        home = f"s3://bucket/x?scheme=http&region=us-east-1&endpoint_override=127.0.0.1:{port}"
        began = time.monotonic()
        words = "--home s3://bucket/x", "no answer", "check the network"
        check(tmp_path, [*command, "--home", home], *words, command=orchestrate, **keys)
        assert time.monotonic() - began < 20  # promised: 5 s; pyarrow alone would wait for minutes


def test_the_good_file_is_good(tmp_path: Path) -> None:
    """Otherwise the cases above could be refused for another reason than theirs."""
    (tmp_path / "s.yaml").write_text(GOOD)
    done = orchestrate(tmp_path, "sweep", "s.yaml", "--dry-run")
    assert (done.returncode, done.stderr) == (0, "")
    assert re.search(r"^trials: 2$", done.stdout, re.MULTILINE)
    assert not (tmp_path / "runs").exists()


def test_a_folder_is_not_in_the_way_of_a_packaged_sweep(tmp_path: Path) -> None:
    """The data of ``orchestrate data import omniglot --source omniglot``, say."""
    (tmp_path / "quickstart").mkdir()
    done = orchestrate_in(tmp_path, "sweep", "quickstart", "--dry-run")
    assert (done.returncode, done.stderr) == (0, "")


def test_the_command_is_installed() -> None:
    assert shutil.which(ORCHESTRATE), "install the package: make setup"
