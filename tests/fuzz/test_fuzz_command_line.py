"""Whatever is typed, the command works or says in a line what is wrong, and no record changes."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NoReturn

import pytest
from commands import assert_told, contents, orchestrate
from hypothesis import given
from hypothesis import strategies as st
from sweep_files import WORDS

from orchestrator.errors import InputError

NEEDS_HOME = True
STARTED = "would have started something"


@pytest.fixture(autouse=True)
def _nothing_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray, MLflow's server, a training, a download and the drawing of all glyphs: refused where they would begin."""

    def refuse(*_: Any, **__: Any) -> NoReturn:
        raise InputError(STARTED)

    for place in (
        *("orchestrator.sweep.run_sweep", "orchestrator.single.run_single", "orchestrator.dashboard.serve_dashboard"),
        *("orchestrator.download.fetch_archives", "trainers.datasets.glyphs.Glyphs.find"),
    ):
        monkeypatch.setattr(place, refuse)
    monkeypatch.setattr("orchestrator.environment.cpu_count", lambda: 1)  # no processes to decode images


odd = st.sampled_from(
    [
        *(
            "",
            " ",
            "-",
            "--",
            "--help",
            "-h",
            "-x",
            "=",
            "a=b",
            "0",
            "-1",
            "1",
            "2.5",
            "nan",
            "1e400",
            "9" * 5000,
            "🦜",
        ),
        *("a\nb", "\x1b[2J", "\udcff", "..", "../x", "../../etc/passwd", "/dev/null", "/proc/nope", "a" * 300, "%s"),
        *("home", "search", "grid", "search.yaml", "grid.yaml", "birds", "file", "absent.yaml", "~", "~nobody/x", "*"),
    ]
) | st.text(st.characters(blacklist_characters="\x00/", blacklist_categories=()), max_size=8)
homes = st.sampled_from(["home", "home", "home", "home/", "nowhere", "file/below", "", "~nobody/x", "nope://x", "file"])
overrides = st.builds("{}={}".format, st.sampled_from(WORDS) | odd, odd | st.sampled_from(["[1, 2]", "{a: 1}", "null"]))
numbers = st.integers(-2, 20).map(str) | odd
specs = st.sampled_from(["search.yaml", "grid.yaml", "quickstart", "paper/table1", "birds"]) | odd
names = st.sampled_from(["search", "grid", "serach"]) | odd
data_names = st.sampled_from(["folder.birds", "folder.x", "folder.", "folder", "omniglot", "cifar_fs", "../x"]) | odd
outputs = st.sampled_from(["out/a", "absent/dir/b", ".", "", "file/below", "a" * 300, "\udcff", "/proc/nope", "c\nd"])

Flags = dict[str, "st.SearchStrategy[str] | None"]
SHARED: Flags = {"--home": homes, "--json": None}
COMMANDS: dict[tuple[str, ...], tuple[st.SearchStrategy[str] | None, Flags]] = {
    ("sweep",): (
        specs,
        {
            **SHARED,
            **{"--name": odd, "--set": overrides, "--scale": odd | st.sampled_from(["smoke", "laptop"])},
            **{"--trials": numbers, "--seeds": numbers, "--max-concurrent": numbers, "--yes": None},
            **{"--address": st.sampled_from(["", "x", "127.0.0.1:1", ":", "[::1]:x", "ray://", "a:99999"])},
            **{"--tracking-uri": st.sampled_from(["", " ", "http:", "sqlite:///x/y", "http://127.0.0.1:1", "ftp://a"])},
            **{"--require-tracking": None, "--dry-run": None},
        },
    ),
    ("trial",): (specs, {**SHARED, "--set": overrides}),
    ("grid",): (
        st.sampled_from(["grid.yaml", "search.yaml"]) | odd,
        {
            **SHARED,
            **{"--set": overrides, "--scale": odd, "--seeds": st.integers(-1, 5).map(str) | odd},
            **{"--list": None, "--csv": None, "--yes": None},
        },
    ),
    ("status",): (names, SHARED),
    ("export",): (
        names,
        {"--home": homes, "--format": st.sampled_from(["csv", "json", "parquet"]) | odd, "--output": outputs},
    ),
    ("dashboard",): (None, {"--home": homes, "--host": odd, "--port": numbers}),
    ("data", "list"): (None, SHARED),
    ("data", "verify"): (data_names, SHARED),
    ("data", "fetch"): (data_names, {"--home": homes, "--from": odd}),
    ("data", "import"): (
        data_names,
        {
            "--home": st.sampled_from(["file/below", "", "other", "other2"]),
            **{"--source": odd, "--size": numbers, "--grey": None, "--split-file": odd},
        },
    ),
    ("data", "show"): (
        data_names,
        {
            **SHARED,
            **{"--png": outputs, "--part": odd | st.sampled_from(["train", "test"]), "--split": odd},
            **{"--episodes": numbers, "--ways": numbers, "--shots": numbers, "--queries": numbers, "--seed": numbers},
        },
    ),
}


@st.composite
def command_lines(draw: st.DrawFn) -> list[str]:
    """A command with its argument and up to four flags, in any order; now and then something foreign among them."""
    command = draw(st.sampled_from(sorted(COMMANDS)))
    argument, flags = COMMANDS[command]
    parts = [] if argument is None else [[draw(argument)]]
    for flag in draw(st.lists(st.sampled_from(sorted(flags)), max_size=4)):
        value = flags[flag]
        parts.append([flag] if value is None else [flag, draw(value)])
    if draw(st.integers(0, 9)) == 0:
        parts.append([draw(odd)])
    if command == ("data", "show") and "--png" not in (part[0] for part in parts):
        parts.append(["--png", "out/sheet.png"])  # else it lies beside the dataset
    words = [word for part in draw(st.permutations(parts)) for word in part]
    return [*command, *words]


@given(command_lines())
def test_a_command_line_is_obeyed_or_refused(folder: Path, small_home: Path, line: list[str]) -> None:
    (folder / "file").write_text("in the way")
    (folder / "out").mkdir(exist_ok=True)
    before = contents(small_home)
    outcome = orchestrate(*line)
    assert_told(outcome)
    assert outcome.code in (0, 2)
    assert contents(small_home) == before
