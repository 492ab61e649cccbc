"""rm and clean: what nothing refers to goes, nothing else, and a kill anywhere leaves a valid home."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from click.testing import CliRunner, Result
from in_process import TINY, run_here, sweep_file
from made_home import DATA, age, listing, local_home, put_progress, put_sweep, put_training, put_trainings, remote_home

from orchestrator.analyses import cell_pairs, put_scores
from orchestrator.attempt import attempt_trial, latest_progress
from orchestrator.cleanup import (
    ANALYSES,
    DAMAGED,
    DATASETS,
    EVALUATIONS,
    GRACE_S,
    NEEDED,
    OF_TRIALS,
    RECENT,
    RUNNING,
    SUPERSEDED,
    SWEEPS,
    TRAININGS,
    UNFINISHED,
    Limits,
    plan_cleanup,
    remove_parts,
)
from orchestrator.cli import cli
from orchestrator.config_paths import with_values
from orchestrator.environment import environment
from orchestrator.errors import HomeError, InputError, SpecError
from orchestrator.forget import check_forgettable, forget_sweep
from orchestrator.home import open_home
from orchestrator.home_lock import alone, in_use
from orchestrator.home_objects import Home
from orchestrator.inputs import Where
from orchestrator.record import SweepRecord, sweep_names
from orchestrator.references import disk_use
from orchestrator.rows import find_sweep, load_rows
from orchestrator.search.proposals import Proposal
from orchestrator.single import run_single
from orchestrator.spec import SweepSpec
from orchestrator.spec_file import load_spec
from orchestrator.store import Keys, Store, keys_of
from orchestrator.sweep import run_sweep
from trainers.config import TrialConfig
from trainers.datasets.image_file import ImageTable

GONE = "gone"
HOMES = {"local": local_home, "object store": remote_home}
MakeHome = Callable[[Path], Home]


@pytest.fixture(params=HOMES.values(), ids=HOMES.keys())
def make_home(request: pytest.FixtureRequest) -> MakeHome:
    made: MakeHome = request.param
    return made


def limits(home: Home, **others: Any) -> Limits:
    return Limits(time.time(), **{"alone": home.local is not None, **others})


def clean(home: Home, **others: Any) -> list[tuple[str, str]]:
    """(what, why it stays or ``GONE``) of every part, sorted."""
    now = limits(home, **others)
    parts = plan_cleanup(home, now)
    remove_parts(home, parts, now.alone)
    return sorted((part.kind, part.kept or GONE) for part in parts)


def invoke(*arguments: object) -> Result:
    return CliRunner().invoke(cli, [str(argument) for argument in arguments])


def rows_of(home: Home, name: str) -> list[Any]:
    return load_rows(Store(home), *find_sweep(home, name))


def two_sweeps(home: Home, folder: Path, trial: dict[str, Any]) -> tuple[list[Keys], list[Keys]]:
    """``both`` tests MAML and ANIL in two ways each; ``one`` asks for MAML, tested in one way."""
    test = {"evaluation.frozen_layers": [0, 4]}
    both = put_sweep(home, folder, "both", trial, grid={"train": {"algorithm.name": ["maml", "anil"]}, "test": test})
    one = put_sweep(home, folder, "one", trial, grid={"train": {"algorithm.name": ["maml"]}, "seeds": 1})
    return put_trainings(home, folder, both), put_trainings(home, folder, one)


def keys_in(folder: Path) -> set[Keys]:
    return {Keys(path.parts[-3], path.stem) for path in (folder / "home").glob("trainings/*/evaluations/*.arrow")}


def check_whole(folder: Path) -> None:
    """Whatever is committed has all of its files."""
    for path in (folder / "home").glob("trainings/*/manifest.json"):
        for name, sha256 in json.loads(path.read_text())["files"].items():
            assert hashlib.sha256((path.parent / name).read_bytes()).hexdigest() == sha256


def test_a_forgotten_sweep_does_not_come_back_by_a_spec_that_was_set_aside(
    tmp_path: Path, tiny_trial: dict[str, Any]
) -> None:
    """A spec in ``damaged/`` says that what lies in the sweep's folder is its own; so it has to go first."""
    home = local_home(tmp_path)
    put_sweep(home, tmp_path, "one", tiny_trial, grid={"seeds": 1})
    home.put("damaged/sweeps/one/spec.yaml", b"torn")
    record = SweepRecord(home, "one")
    assert record.spec_lost
    assert [file.path for file in record.files()[:2]] == ["damaged/sweeps/one/spec.yaml", "sweeps/one/spec.yaml"]
    forget_sweep(home, "one")
    assert not record.spec_lost
    assert sweep_names(home) == record.files() == []


def test_nothing_goes_while_a_spec_is_set_aside_and_rm_forgets_the_sweep(
    tmp_path: Path, tiny_trial: dict[str, Any]
) -> None:
    home = local_home(tmp_path)
    put_sweep(home, tmp_path, "one", tiny_trial, grid={"seeds": 1})
    home.put("sweeps/one/spec.yaml", b"")
    assert SweepRecord(home.mending(lambda line: None), "one").spec is None
    age(tmp_path, 2 * GRACE_S)
    before = listing(tmp_path)
    with pytest.raises(InputError, match="orchestrate rm one"):
        clean(home)
    assert listing(tmp_path) == before
    check_forgettable(home, "one")
    forget_sweep(home, "one")
    assert clean(home) == []
    assert not [path for path in listing(tmp_path) if "one" in path]


def test_comparisons_that_no_sweep_asks_for_go(tmp_path: Path, tiny_trial: dict[str, Any]) -> None:
    home = local_home(tmp_path)
    grid: dict[str, Any] = {"seeds": 3, "between": {"measure": "cka"}}
    spec = put_sweep(home, tmp_path, "alike", tiny_trial, grid=grid)
    put_trainings(home, tmp_path, spec)
    (pair,) = cell_pairs(spec, {"glyphs": DATA})
    for analysis in pair.analyses:
        put_scores(Store(home), analysis, {"cka.conv1": np.zeros(3)})
    other = put_sweep(home, tmp_path, "fewer", tiny_trial, grid=grid | {"seeds": 2})
    age(tmp_path, 2 * GRACE_S)
    assert clean(home) == []
    forget_sweep(home, "alike")
    age(tmp_path, 2 * GRACE_S)
    with in_use(home):
        assert (ANALYSES, RUNNING) in clean(home, alone=False)
    assert clean(home) == [(ANALYSES, GONE), (ANALYSES, GONE), (TRAININGS, GONE)]
    (kept,) = cell_pairs(other, {"glyphs": DATA})
    assert [path.parent.name for path in (tmp_path / "home" / "analyses").rglob("*.arrow")] == [kept.analyses[0].key]


def test_what_no_sweep_asks_for_goes(make_home: MakeHome, tmp_path: Path, tiny_trial: dict[str, Any]) -> None:
    home = make_home(tmp_path)
    of_both, of_one = two_sweeps(home, tmp_path, tiny_trial)
    assert len({keys.training for keys in of_both}) == 2
    assert set(of_one) < set(of_both)
    age(tmp_path, 2 * GRACE_S)
    assert clean(home) == []
    before = rows_of(home, "one")
    assert {row.state for row in before} == {"completed"}

    forget_sweep(home, "both")
    assert sweep_names(home) == ["one"]
    assert keys_in(tmp_path) == set(of_both)
    assert set(clean(home)) == {(TRAININGS, GONE), (EVALUATIONS, GONE)}
    assert keys_in(tmp_path) == set(of_one)
    assert rows_of(home, "one") == before
    assert clean(home) == []
    if home.local is not None:
        assert [path.name for path in (home.local / "trainings").iterdir()] == [of_one[0].training]
        assert [path.name for path in (home.local / "sweeps").iterdir()] == ["one"]


def test_of_a_complete_training_the_attempt_that_made_it_stays(
    make_home: MakeHome, tmp_path: Path, tiny_trial: dict[str, Any]
) -> None:
    home = make_home(tmp_path)
    key = two_sweeps(home, tmp_path, tiny_trial)[1][0].training
    before = listing(tmp_path)
    put_progress(home, tmp_path, key, "other", 4, "one")
    age(tmp_path, 2 * GRACE_S)
    assert clean(home) == [(SUPERSEDED, GONE)]
    assert listing(tmp_path).keys() - before.keys() == {f"trainings/{key}/attempts/other/attempt.json"}
    assert len(Store(home).attempts(key)) == 2  # a report counts its time


def test_of_an_unfinished_training_the_longest_whole_progress_stays(
    make_home: MakeHome, tmp_path: Path, tiny_trial: dict[str, Any]
) -> None:
    home = make_home(tmp_path)
    spec = put_sweep(
        home, tmp_path, "long", tiny_trial | {"training": {"iterations": 16, "validate_every": 4}}, grid={"seeds": 1}
    )
    keys = keys_of(spec.trial, DATA)
    for attempt, iteration in {"a": 4, "b": 8, "c": 12, "torn": 12}.items():
        # the longest two lie with a training of their own length, which no sweep asks for
        key = keys.training if iteration < 12 else keys.shortened(12)
        put_progress(home, tmp_path, key, attempt, iteration, "long")
    age(tmp_path, 2 * GRACE_S)
    torn = tmp_path / "home" / "trainings" / keys.shortened(12) / "attempts" / "torn" / "progress.safetensors"
    torn.write_bytes(torn.read_bytes()[:-1])
    age(tmp_path, 2 * GRACE_S)
    start, _ = latest_progress(Store(home), keys, 16)
    assert start is not None
    assert start.iteration == 12
    assert clean(home) == [(TRAININGS, NEEDED)]

    put_progress(home, tmp_path, keys.training, "d", 12, "long")
    age(tmp_path, 2 * GRACE_S, [f"trainings/{keys.training}/attempts/d/{name}" for name in ("progress.safetensors",)])
    assert clean(home) == [(SUPERSEDED, GONE), (SUPERSEDED, GONE), (TRAININGS, GONE)]
    again, _ = latest_progress(Store(home), keys, 16)
    assert again is not None
    assert again.to_bytes() == start.to_bytes()
    assert [record["attempt"] for record in Store(home).attempts(keys.training)] == ["a", "b", "d"]


def test_snapshots_that_a_sweep_tests_stay(tmp_path: Path, tiny_trial: dict[str, Any]) -> None:
    home = local_home(tmp_path)
    tiny_trial["training"]["snapshots"] = [4]
    tiny_trial["evaluation"]["weights"] = 4
    spec = put_sweep(home, tmp_path, "one", tiny_trial, grid={"seeds": 1})
    shorter = spec.trial.shortened(4)
    put_training(home, tmp_path, shorter, "one")
    put_trainings(home, tmp_path, spec)
    age(tmp_path, 2 * GRACE_S)
    before = rows_of(home, "one")
    assert before[0].state == "completed"
    clean(home)
    assert rows_of(home, "one") == before
    assert Store(home).manifest(keys_of(shorter, DATA).training) is not None


def test_single_trials_stay_until_asked_for(tmp_path: Path, tiny_trial: dict[str, Any]) -> None:
    home = local_home(tmp_path)
    spec = put_sweep(home, tmp_path, "one", tiny_trial, grid={"seeds": 1})
    SweepRecord(home, "one").forget()
    put_training(home, tmp_path, spec.trial, sweep=None)
    for fingerprint, modified_s in {DATA: 9e3, "a" * 20: 9e2}.items():  # the newer one is that of "a…"
        home.put(f"datasets/glyphs-{fingerprint}.arrow", b"images")
        age(tmp_path, modified_s, [f"datasets/glyphs-{fingerprint}.arrow"])
    before = listing(tmp_path)
    assert clean(home) == [(TRAININGS, OF_TRIALS)]
    assert listing(tmp_path) == before  # the data that it was trained on as well
    assert clean(home, trials=True, older_than_s=GRACE_S) == [(TRAININGS, RECENT)]
    assert clean(home, trials=True) == [(DATASETS, GONE), (TRAININGS, GONE)]
    assert listing(tmp_path).keys() == {"home.json", f"datasets/glyphs-{'a' * 20}.arrow"}


def test_what_killed_writers_left_goes(tmp_path: Path, tiny_trial: dict[str, Any]) -> None:
    home = local_home(tmp_path)
    key = two_sweeps(home, tmp_path, tiny_trial)[1][0].training
    with SweepRecord(home, "one").lock():
        pass
    others = ["sweeps/one/.lock", "datasets/downloads/images_background.zip", "datasets/.DS_Store", ".gitignore"]
    for path in others:
        home.put(path, b"not ours to remove")
    before = listing(tmp_path)
    random = "0123456789abcdef" * 2
    temporary = [
        f".home.json.{random}",
        f".probe-{random}",
        f"sweeps/one/.spec.yaml.{random}",
        f"trainings/{key}/evaluations/.e.arrow.{random}",
        f"datasets/.glyphs.{random}.tmp",
        "datasets/downloads/tmpab12_xyz",
    ]
    for path in [*temporary, "damaged/trainings/k/manifest.json", "sweeps/gone/proposals/3.json", "sweeps/gone/.lock"]:
        home.put(path, b"left")
    assert set(clean(home)) == {(UNFINISHED, RECENT), (DAMAGED, GONE), (SWEEPS, GONE)}
    age(tmp_path, 60, temporary)
    assert clean(home) == [(UNFINISHED, GONE)] * 4 + [(UNFINISHED, RECENT)] * 2  # an import may still be at work
    age(tmp_path, GRACE_S, temporary[-2:])
    clean(home)
    assert listing(tmp_path) == before


def test_the_newest_and_the_pinned_versions_of_a_dataset_stay(tmp_path: Path, tiny_trial: dict[str, Any]) -> None:
    home = local_home(tmp_path)
    two_sweeps(home, tmp_path, tiny_trial)
    names = [f"glyphs-{DATA}", f"glyphs-{'1' * 20}", f"glyphs-{'2' * 20}", f"omniglot-{'3' * 20}"]
    for hours, name in zip((9, 8, 7, 6), names, strict=True):
        for ending in ("arrow", "png"):
            home.put(f"datasets/{name}.{ending}", b"images")
        age(tmp_path, hours * GRACE_S, [f"datasets/{name}.{ending}" for ending in ("arrow", "png")])
    assert clean(home) == [(DATASETS, GONE)] * 2
    left = {path.split("/")[1] for path in listing(tmp_path) if path.startswith("datasets/")}
    assert left == {f"{name}.{ending}" for name in (names[0], *names[2:]) for ending in ("arrow", "png")}


def test_a_sweep_that_runs_loses_nothing(tmp_path: Path, tiny_trial: dict[str, Any]) -> None:
    home = local_home(tmp_path)
    two_sweeps(home, tmp_path, tiny_trial)
    forget_sweep(home, "both")
    home.put("damaged/old", b"left")
    age(tmp_path, 2 * GRACE_S)
    home.put("damaged/new", b"left")
    before = listing(tmp_path)
    with in_use(home):
        with alone(home) as is_alone:
            assert not is_alone
            found = clean(home, alone=False, older_than_s=0)
        assert found == [(DAMAGED, GONE), (DAMAGED, RECENT), (EVALUATIONS, RUNNING), (TRAININGS, RUNNING)]
        assert before.keys() - listing(tmp_path).keys() == {"damaged/old"}
    with alone(home) as is_alone:
        assert is_alone


def test_nothing_begins_while_a_home_is_cleaned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = local_home(tmp_path)
    monkeypatch.setattr("orchestrator.home_lock.PATIENCE_S", 0.0)
    with alone(home), pytest.raises(InputError, match="`orchestrate clean` works there"), in_use(home):
        pass
    with in_use(home), in_use(home):  # many may run
        pass


@pytest.mark.parametrize("command", ["sweep", "trial"])
def test_a_home_is_in_use_while_trials_run(
    tmp_path: Path, fresh_glyphs_home: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    home, found = open_home(str(fresh_glyphs_home)), list[bool]()

    def look(device: str) -> dict[str, Any]:
        with alone(home) as is_alone:
            found.append(is_alone)
        return environment(device)

    monkeypatch.setattr("orchestrator.attempt.environment", look)
    if command == "sweep":
        run_here(sweep_file(tmp_path, "one", {"trial": TINY, "grid": {"seeds": 1}}), home.url)
    else:
        run_single(TrialConfig.model_validate(TINY), home.url, lambda done, of: None, lambda line: None)
    assert found == [False]
    with alone(home) as is_alone:
        assert is_alone


def test_a_worker_that_outlives_its_driver_is_left_to_end(tmp_path: Path, tiny_trial: dict[str, Any]) -> None:
    home = local_home(tmp_path)
    put_progress(home, tmp_path, f"{'a' * 20}-8", "orphan", 4, "gone", "running")
    assert clean(home) == [(TRAININGS, RECENT)]
    age(tmp_path, 60)
    assert clean(home) == [(TRAININGS, GONE)]


class Killed(BaseException):
    """What a kill looks like from inside."""


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_kill_at_any_removal_leaves_a_valid_home(
    make_home: MakeHome, tmp_path: Path, tiny_trial: dict[str, Any], moment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def whole_work(home: Home) -> None:
        if "both" in sweep_names(home):
            forget_sweep(home, "both")
        clean(home)

    def made(folder: Path) -> Home:
        folder.mkdir()
        home = make_home(folder)
        key = two_sweeps(home, folder, tiny_trial)[1][0].training
        put_progress(home, folder, key, "other", 4, "one")
        age(folder, 2 * GRACE_S)
        return home

    remove, calls, limit = Home.remove, 0, -1

    def killing(home: Home, path: str) -> None:
        nonlocal calls
        calls += 1
        if calls == limit and moment == "before":
            raise Killed
        remove(home, path)
        if calls == limit:
            raise Killed

    monkeypatch.setattr(Home, "remove", killing)
    whole_work(made(tmp_path / "undisturbed"))
    end, removals = listing(tmp_path / "undisturbed") | {"home.json": b""}, calls
    assert removals >= 12
    for limit in range(1, removals + 1):
        folder, calls = tmp_path / str(limit), 0
        home = made(folder)
        record, states = SweepRecord(home, "both"), [row.state for row in rows_of(home, "one")]
        its_files = record.files()
        with pytest.raises(Killed):
            whole_work(home)
        assert calls == limit
        assert "both" not in sweep_names(home) or record.files() == its_files
        assert [row.state for row in rows_of(home, "one")] == states == ["completed"]
        check_whole(folder)
        whole_work(home)
        assert listing(folder) | {"home.json": b""} == end


def test_disk_use_says_what_is_shared(make_home: MakeHome, tmp_path: Path, tiny_trial: dict[str, Any]) -> None:
    home = make_home(tmp_path)
    of_both, of_one = two_sweeps(home, tmp_path, tiny_trial)
    content = listing(tmp_path)

    def size(training: str) -> int:
        return sum(len(data) for path, data in content.items() if path.startswith(f"trainings/{training}/"))

    shared, other = of_one[0].training, ({keys.training for keys in of_both} - {of_one[0].training}).pop()
    assert disk_use(home, "both") == (size(shared) + size(other), size(shared))
    assert disk_use(home, "one") == (size(shared), size(shared))
    forget_sweep(home, "both")
    assert disk_use(home, "one") == (size(shared), 0)


def test_on_an_object_store_a_sweep_that_may_run_stays(tmp_path: Path, tiny_trial: dict[str, Any]) -> None:
    home = remote_home(tmp_path)
    two_sweeps(home, tmp_path, tiny_trial)
    assert check_forgettable(home, "one")  # it is done
    home.remove(next(file.path for file in home.files("trainings") if file.path.endswith("manifest.json")))
    with pytest.raises(InputError, match=r"'both' is not done and wrote something \d+ s ago"):
        check_forgettable(home, "both")
    age(tmp_path, 2 * GRACE_S)
    assert check_forgettable(home, "both")
    home.put("sweeps/both/spec.yaml", b"trial: [")
    with pytest.raises(InputError, match="may be running"):
        check_forgettable(home, "both")
    assert check_forgettable(home, "both", quiet_s=0)


def test_on_an_object_store_a_sweep_that_may_run_does_not_begin_afresh(
    tmp_path: Path, tiny_trial: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    home = remote_home(tmp_path)
    spec = put_sweep(home, tmp_path, "one", tiny_trial, grid={"seeds": 1})
    monkeypatch.setattr("orchestrator.sweep.open_home", lambda url: home)
    monkeypatch.setattr(SweepRecord, "forget", lambda record: pytest.fail("forgotten"))
    with pytest.raises(InputError, match=r"'one' is not done and wrote something \d+ s ago"):
        run_sweep(spec, Where(home=f"file://{tmp_path}/home"), fresh=True)


def test_commands_say_what_they_do(tmp_path: Path, tiny_trial: dict[str, Any]) -> None:
    home = local_home(tmp_path)
    two_sweeps(home, tmp_path, tiny_trial)
    at = ("--home", home.url)
    before = listing(tmp_path)
    with SweepRecord(home, "both").lock():
        SweepRecord(home, "both").begin_run()
        refused = invoke("rm", "both", *at)
        assert isinstance(refused.exception, InputError)
        assert "sweep 'both' runs now (process " in str(refused.exception)
    for wrong in ("", "../one", "onee"):
        assert isinstance(invoke("rm", wrong, *at).exception, InputError)
    assert isinstance(invoke("clean", "--home", tmp_path / "none").exception, HomeError)

    assert json.loads(invoke("rm", "both", *at, "--dry-run", "--json").stdout)["dry_run"] is True
    assert json.loads(invoke("clean", *at, "--dry-run", "--json").stdout) == {
        "dry_run": True,
        "removed": [],
        "size_bytes": 0,
        "kept": [],
    }
    assert before.items() <= listing(tmp_path).items()
    shown = json.loads(invoke("status", "both", *at, "--json").stdout)
    assert shown["size_bytes"] > shown["shared_bytes"] > 0

    assert "both: forgotten" in invoke("rm", "both", *at).stdout
    planned = invoke("clean", *at, "--dry-run")
    assert "MB would be freed" in planned.stdout
    assert TRAININGS in planned.stdout
    found = json.loads(invoke("clean", *at, "--json").stdout)
    removed = {(line["what"], line["number"]) for line in found["removed"]}
    assert (removed, len(found["removed"])) == ({(EVALUATIONS, 1), (TRAININGS, 1)}, 2)
    assert invoke("clean", *at).stdout == "nothing to remove\n"


def test_nothing_goes_while_a_sweep_can_not_be_read(tmp_path: Path, tiny_trial: dict[str, Any]) -> None:
    home = local_home(tmp_path)
    two_sweeps(home, tmp_path, tiny_trial)
    home.put("sweeps/both/spec.yaml", b"trial: [")
    before = listing(tmp_path)
    refused = invoke("clean", "--home", home.url)
    assert isinstance(refused.exception, InputError)
    assert "orchestrate rm both" in str(refused.exception)
    assert listing(tmp_path) == before
    assert invoke("rm", "both", "--home", home.url).exit_code == 0
    assert len(json.loads(invoke("clean", "--home", home.url, "--json").stdout)["removed"]) == 2


def test_a_sweep_of_a_name_that_was_forgotten_begins_afresh(
    tmp_path: Path, tiny_trial: dict[str, Any], glyphs_file: Path, glyphs: ImageTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of it is in the store, so that no cluster is started; the home is a URL, so that MLflow is not either."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "cache" / "metasweep" / "datasets").mkdir(parents=True)
    (tmp_path / "cache" / "metasweep" / "datasets" / glyphs_file.name).symlink_to(glyphs_file)
    where = Where(home=f"file://{tmp_path}/home")
    home = open_home(where.home)

    def search(rate: float) -> SweepSpec:
        path = tmp_path / "tiny.yaml"
        space = {"algorithm.inner_lr": {"uniform": [0.1, rate]}}
        path.write_text(
            yaml.safe_dump(
                {"trial": tiny_trial, "search": {"trials": 1, "space": space, "start": [{"algorithm.inner_lr": 0.25}]}}
            )
        )
        return load_spec(path)

    config = with_values(search(0.5).trial, {"algorithm.inner_lr": 0.25})
    assert [event["kind"] for event in attempt_trial(Store(home), [config], glyphs, {"sweep": None})][-1] == "tested"
    SweepRecord(home, "tiny").put_proposal(Proposal(0, {"algorithm.inner_lr": 0.4}, "left of another search"))
    assert run_sweep(search(0.5), where)["trials"]["completed"] == 1

    with pytest.raises(SpecError, match="forget that one by --fresh"):
        run_sweep(search(0.75), where)
    done = run_sweep(search(0.75), where, fresh=True)
    assert (done["trials"]["completed"], done["trials"]["cached"]) == (1, 1)
    assert "0.75" in str(home.read("sweeps/tiny/spec.yaml"))
