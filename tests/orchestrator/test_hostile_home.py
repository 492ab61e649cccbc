"""Homes that somebody has put foreign things into: passed over, said where a record is meant, and never waited for."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest
from commands import assert_told, contents, orchestrate
from made_store import DATA, fail_trial, made_grid, made_search, put_curve
from processes import ORCHESTRATE
from terminal import Terminal
from test_record_shapes import damage

from orchestrator import home_objects
from orchestrator.data import list_datasets
from orchestrator.export import encode
from orchestrator.home import open_home
from orchestrator.record import SweepRecord, sweep_names
from orchestrator.rows import find_sweep
from orchestrator.store import Store
from orchestrator.stored_progress import progress_files
from trainers.snapshots import Progress, Validation

GRID = "trial: {dataset: {name: glyphs}}\ngrid: {train: {episodes.shots: [1, 2]}}\n"
BETWEEN = "trial: {dataset: {name: glyphs}}\ngrid: {seeds: 2, between: {measure: cka}}\n"
STOPPED = """\
trial: {dataset: {name: glyphs}, training: {iterations: 200, validate_every: 100}}
search:
  trials: 2
  space: {algorithm.inner_lr: {uniform: [0.1, 1.0]}}
  early_stopping: {name: asha, grace_iterations: 100}
"""
NOT_TEXT = os.fsdecode(b"caf\xe9")


@pytest.fixture(autouse=True)
def each_line_anew() -> None:
    """A line is said once a process."""
    home_objects._log_once.cache_clear()


@pytest.fixture
def reading(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> Callable[..., str]:
    """Gives what commands say of the home, having worked and changed nothing."""

    def read(*commands: str) -> str:
        before = contents(tmp_path / "home")
        for command in commands:
            output = ["--output", str(tmp_path / "report")] if command.startswith("report") else []
            ended = orchestrate(*command.split(), *output, "--home", str(tmp_path / "home"))
            assert ended.code == 0, ended
        assert contents(tmp_path / "home") == before
        return "\n".join(caplog.messages)

    return read


def a_folder(path: Path) -> None:
    path.mkdir()
    (path / "within").write_text("somebody's")


IN_THE_WAY: dict[str, Callable[[Path], None]] = {"folder": a_folder, "pipe": os.mkfifo}


def first(folder: Path, record: str) -> Path:
    return sorted((folder / "home").glob(record))[0]


def test_a_manifest_that_names_no_weights_counts_as_absent(tmp_path: Path, reading: Callable[..., str]) -> None:
    made_grid(tmp_path, BETWEEN)
    damage(first(tmp_path, "trainings/*/manifest.json"), "files", value={})
    said = reading("status made", "report made")
    assert "manifest.json: damaged (its files are none after 500 iterations); passed over" in said


def test_a_validation_at_no_iteration(tmp_path: Path, reading: Callable[..., str]) -> None:
    study = made_search(tmp_path, STOPPED, [{"algorithm.inner_lr": 0.2}, {"algorithm.inner_lr": 0.4}], [0.5, 0.5])
    path = first(tmp_path, "trainings/*/attempts/a/attempt.json")
    assert {row.state for row in study.rows} == {"planned"}  # without a curve nobody knows what becomes of them
    damage(path, "validated_ms", value={"abc": 1})
    assert f"{path}: damaged (validated_ms.abc" in reading("status made", "export made")


@pytest.mark.parametrize(
    ("record", "place", "value"),
    [
        ("manifest.json", ["final"], 10**300),
        ("manifest.json", ["final"], True),
        ("manifest.json", ["train_flops"], 10**400),
        ("manifest.json", ["train_flops"], -1),
        ("manifest.json", ["best", "linear", "validation_accuracy"], 10**300),
        ("manifest.json", ["best", "linear", "validation_accuracy"], float("nan")),
        ("attempts/a/attempt.json", ["after"], 10**400),
        ("attempts/a/attempt.json", ["ended_ms"], 10**400),
        ("attempts/a/attempt.json", ["validated_ms"], {"100": 10**400}),
        ("attempts/a/attempt.json", ["train_seconds"], 10**300),
        ("attempts/a/attempt.json", ["cpu_seconds"], float("inf")),
        ("attempts/a/attempt.json", ["environment", "threads"], 10**400),
    ],
)
def test_a_number_beyond_all_bounds(
    tmp_path: Path, record: str, place: list[str], value: object, reading: Callable[..., str]
) -> None:
    made_grid(tmp_path, GRID)
    path = first(tmp_path, f"trainings/*/{record}")
    damage(path, *place, value=value)
    said = reading("status made", "export made --format json", "export made")
    assert f"{path}: damaged ({'.'.join(place)}" in said


def test_a_training_of_more_operations_than_64_bits_count(tmp_path: Path, reading: Callable[..., str]) -> None:
    """The largest ones do take so many."""
    made_grid(tmp_path, GRID)
    damage(first(tmp_path, "trainings/*/manifest.json"), "train_flops", value=10**20)
    assert reading("status made", "export made", "export made --format parquet --output /dev/null", "report made") == ""


def test_an_accuracy_that_is_a_whole_number_stands_beside_others(tmp_path: Path, reading: Callable[..., str]) -> None:
    made_grid(tmp_path, GRID)
    damage(first(tmp_path, "trainings/*/manifest.json"), "best", "linear", "validation_accuracy", value=10**30)
    assert reading("export made") == ""


@pytest.mark.parametrize("kind", IN_THE_WAY)
@pytest.mark.parametrize("record", ["manifest.json", "attempts/a/progress.safetensors"])
def test_what_is_no_file_is_said_once(tmp_path: Path, kind: str, record: str, reading: Callable[..., str]) -> None:
    study = made_grid(tmp_path, GRID)
    put_curve(Store(open_home(str(tmp_path / "home"))), study.rows[0].config)
    path = tmp_path / "home" / "trainings" / study.rows[0].keys.training / record
    path.unlink()
    IN_THE_WAY[kind](path)
    said = reading("status made", "report made")
    assert said.count(f"{path}: damaged (it is no file); passed over") == 1


@pytest.mark.parametrize("kind", [*IN_THE_WAY, "link to nothing"])
def test_what_is_no_file_makes_way(tmp_path: Path, kind: str) -> None:
    (tmp_path / "home").mkdir()
    said: list[str] = []
    home = open_home(str(tmp_path / "home")).mending(said.append)
    for number, put in enumerate((home.put, home.put_first)):
        path = tmp_path / "home" / "a" / f"{number}.json"
        path.parent.mkdir(exist_ok=True)
        IN_THE_WAY.get(kind, lambda path: path.symlink_to("nowhere"))(path)
        put(f"a/{number}.json", b"1")
        assert home.read(f"a/{number}.json") == b"1"
        if kind == "folder":
            assert (tmp_path / "home" / "damaged" / "a" / f"{number}.json" / "within").read_text() == "somebody's"
            assert f"a/{number}.json: damaged (it is no file); set aside as damaged/a/{number}.json" in said[-1]


@pytest.mark.parametrize("kind", IN_THE_WAY)
def test_a_spec_that_is_no_file_is_a_damaged_one(tmp_path: Path, kind: str) -> None:
    made_grid(tmp_path, GRID)
    spec = tmp_path / "home" / "sweeps" / "made" / "spec.yaml"
    spec.unlink()
    IN_THE_WAY[kind](spec)
    ended = orchestrate("status", "made", "--home", str(tmp_path / "home"))
    assert ended.code == 2
    assert "its spec.yaml is damaged; its command makes it again, or forget it: orchestrate rm made" in ended.err
    ended = orchestrate("clean", "--home", str(tmp_path / "home"))
    assert ended.code == 2
    assert "orchestrate rm made" in ended.err
    assert orchestrate("rm", "made", "--home", str(tmp_path / "home")).code == 0
    assert not (tmp_path / "home" / "sweeps").exists()
    assert sweep_names(open_home(str(tmp_path / "home"))) == []
    assert orchestrate("clean", "--home", str(tmp_path / "home")).code == 0


def test_an_identity_that_is_no_file(tmp_path: Path) -> None:
    (tmp_path / "home" / "home.json").mkdir(parents=True)
    ended = orchestrate("status", "--home", str(tmp_path / "home"))
    assert_told(ended)
    assert "home.json is damaged (it is no file); put a copy back, or remove it" in ended.err


def test_a_lock_and_a_dataset_that_are_pipes_hold_nobody_up(tmp_path: Path) -> None:
    made_grid(tmp_path, GRID)
    os.mkfifo(tmp_path / "home" / "sweeps" / "made" / ".lock")
    (tmp_path / "home" / "datasets").mkdir()
    os.mkfifo(tmp_path / "home" / "datasets" / f"glyphs-{DATA}.arrow")
    assert not SweepRecord(open_home(str(tmp_path / "home")), "made").locked
    assert all(row.path is None for row in list_datasets(tmp_path / "home"))


@pytest.mark.parametrize("name", ["01.json", "1", "+1.json", "\u0661.json", f"{'9' * 200}.json"])
def test_a_proposal_counts_under_one_name(tmp_path: Path, name: str) -> None:
    rates = [{"algorithm.inner_lr": 0.2}, {"algorithm.inner_lr": 0.4}]
    made_search(tmp_path, STOPPED, [dict(one) for one in rates], [])
    folder = tmp_path / "home" / "sweeps" / "made" / "proposals"
    (folder / name).write_bytes((folder / "1.json").read_bytes())
    record = SweepRecord(open_home(str(tmp_path / "home")), "made")
    assert [proposal.number for proposal in record.proposals()] == [0, 1]


def test_a_foreign_folder_beside_a_training_is_passed_over(tmp_path: Path) -> None:
    study = made_grid(tmp_path, GRID)
    store, row = Store(open_home(str(tmp_path / "home"))), study.rows[0]
    put_curve(store, row.config)
    for length in ("abc", "", "1.5", "\u0661", "9" * 100):
        (tmp_path / "home" / "trainings" / f"{row.keys.digest}-{length}" / "attempts" / "a").mkdir(parents=True)
    assert [key for key, _, _ in progress_files(store, row.keys.digest, 500)] == [row.keys.training]


@pytest.mark.parametrize("folder", ["", "trainings", "sweeps", "datasets", "sweeps/made/proposals", "damaged"])
def test_a_name_that_is_no_text_is_passed_over(tmp_path: Path, folder: str, reading: Callable[..., str]) -> None:
    made_grid(tmp_path, GRID)
    (tmp_path / "home" / folder).mkdir(exist_ok=True, parents=True)
    (tmp_path / "home" / folder / NOT_TEXT).mkdir()
    (tmp_path / "home" / folder / NOT_TEXT / "file").touch()
    home = open_home(str(tmp_path / "home"))
    assert find_sweep(home, "made")
    assert NOT_TEXT not in home.names(folder)
    assert not [file for file in home.files(folder) if "caf" in file.path]
    said = reading("status made", "status", "clean --dry-run")
    lines = [line for line in said.splitlines() if "not UTF-8" in line]
    assert len(lines) == len(set(lines))


def test_an_export_commands_no_terminal(tmp_path: Path) -> None:
    study = made_grid(tmp_path, GRID)
    first(tmp_path, "trainings/*/manifest.json").unlink()
    store = Store(open_home(str(tmp_path / "home")))
    (config,) = (row.config for row in study.rows if store.manifest(row.keys.training) is None)
    fail_trial(store, config, "\x1b[2Jgone")
    command = [*ORCHESTRATE, "export", "made", "--home", str(tmp_path / "home")]
    with Terminal(200, 50) as terminal:
        subprocess.run(command, stdout=terminal.theirs, check=True)
        terminal.wait_drawn()
        assert b"\\x1b[2Jgone" in terminal.received
        assert b"\x1b[2J" not in terminal.received
    assert b"\x1b[2Jgone" in subprocess.run(command, capture_output=True, check=True).stdout


def test_a_curve_without_the_head_that_is_asked_for(tmp_path: Path, reading: Callable[..., str]) -> None:
    study = made_search(tmp_path, STOPPED, [{"algorithm.inner_lr": 0.2}, {"algorithm.inner_lr": 0.4}], [0.5, 0.5])
    store = Store(open_home(str(tmp_path / "home")))
    points = tuple(Validation(100 * number, 1.0, 0.5, 1.0, {"nil": 0.2}) for number in (1, 2))
    for row in study.rows:
        progress = Progress(200, {}, {}, {}, points)
        store.put_file(row.keys.training, "a", "progress.safetensors", progress.to_bytes())
    reading("status made", "export made", "report made")


def test_texts_command_no_terminal_and_stay_exact_elsewhere() -> None:
    table = pa.table({"number": [0, 1], "error": ["\x1b[2J é\n", None]})
    assert encode(table, "csv", for_terminal=True).decode().splitlines()[1:] == ['0,"\\x1b[2J é\\n"', "1,"]
    assert b"\x1b[2J" in encode(table, "csv")
