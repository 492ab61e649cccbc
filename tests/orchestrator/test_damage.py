"""Damaged records: set aside, made again and said by who writes, passed over and said by who reads."""

from __future__ import annotations

import itertools
import logging
import os
import random
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from crash_points import Killed, crash_points
from in_process import BETWEEN, GRID, SEARCH, files, opened, outcome, run_here, sweep_file, validations

from orchestrator import continuing
from orchestrator.curves import StoredCurve, stored_curve
from orchestrator.errors import HomeError, InputError, SpecError
from orchestrator.home import open_home
from orchestrator.home_objects import Home
from orchestrator.record import SweepRecord, sweep_names
from orchestrator.results import load_study
from orchestrator.search.proposals import Proposal
from orchestrator.spec_file import load_spec
from orchestrator.store import Store
from orchestrator.sweep_state import status

SWEEPS = {"grid": GRID, "search": SEARCH, "between": BETWEEN}

MUST_BE_FOUND = ("manifest.json", "spec.yaml", "datasets.json", "proposals/", "evaluations/", "analyses/")
"""Records that every run of a sweep reads. The others it reads when it needs them, or puts anew."""

DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "a bit": lambda data: _flipped(data, random.Random(len(data)).randrange(len(data) * 8)),
    "half": lambda data: data[: len(data) // 2],
    "nothing": lambda data: b"",
}


def _flipped(data: bytes, bit: int) -> bytes:
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def replace(path: Path, data: bytes) -> None:
    """Other content in a file of its own, whatever it was linked with."""
    path.unlink()
    path.write_bytes(data)


@pytest.fixture(params=SWEEPS)
def done(request: pytest.FixtureRequest, fresh: Callable[[Any], Path], tmp_path: Path) -> tuple[Path, Path]:
    """A sweep file, and the home in which it has run."""
    file, home = sweep_file(tmp_path, request.param, SWEEPS[request.param]), fresh("done")
    assert run_here(file, str(home)) == []
    return file, home


def refused(read: Callable[[], Any]) -> str:
    try:
        read()
    except InputError as error:
        return str(error)
    return ""


def said_by_readers(home: Path, name: str, caplog: pytest.LogCaptureFixture) -> list[str]:
    """What reading commands say; checks that they write nothing."""
    before = files(home)
    caplog.clear()
    with caplog.at_level(logging.WARNING, "metasweep"):
        problems = [refused(lambda: status(opened(home), name)), refused(lambda: load_study(name, str(home)))]
    assert "\n" not in "".join(problems)
    assert files(home) == before
    return caplog.messages


@pytest.mark.parametrize("damage", DAMAGES)
def test_any_file(done: tuple[Path, Path], damage: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file, whole = done
    expected = outcome(opened(whole), file.stem, whole=False)
    for path in sorted(path for path in files(whole) if not path.startswith("datasets/") and ".lock" not in path):
        home = tmp_path / "home"
        shutil.copytree(whole, home, copy_function=os.link)
        changed = DAMAGES[damage]((whole / path).read_bytes())
        replace(home / path, changed)
        read = said_by_readers(home, file.stem, caplog)
        assert len(read) == len(set(read)) <= 1
        if path == "home.json":
            with pytest.raises(HomeError, match=r"home.json is damaged .* put a copy back, or remove it"):
                run_here(file, str(home))
        else:
            warned = run_here(file, str(home))
            assert outcome(opened(home), file.stem, whole=False) == expected, path
            aside = files(home / "damaged") if (home / "damaged").exists() else {}
            if path.endswith("progress.safetensors"):  # a curve that cut-offs rest on; who plans and who trains say so
                assert all(f"{path}: damaged" in line or "manifest.json: damaged (attempts/" in line for line in warned)
                assert {place.rpartition("/")[2] for place in aside} <= {"manifest.json", "progress.safetensors"}
            else:
                assert len(warned) == len(aside) <= 1
            if any(kind in path for kind in MUST_BE_FOUND):
                assert aside == {path: changed}
                assert f"home/{path}: damaged (" in warned[0]
                assert f"); set aside as damaged/{path}, and made again" in warned[0]
            assert run_here(file, str(home)) == []
        shutil.rmtree(home)


@pytest.mark.parametrize("damage", [*DAMAGES, "gone"])
def test_weights_behind_a_good_manifest(fresh: Callable[[Any], Path], tmp_path: Path, damage: str) -> None:
    trial = SEARCH["trial"] | {"evaluation": {"episodes": 2, "weights": "final"}}
    file = sweep_file(tmp_path, "two", {"trial": trial, "grid": {"test": {"evaluation.frozen_layers": [0, 4]}}})
    home = fresh("done")
    run_here(file, str(home))
    expected = outcome(opened(home), "two")
    (weights,) = home.glob("trainings/*/attempts/*/snapshots/2.safetensors")
    if damage == "gone":
        weights.unlink()
    else:
        replace(weights, DAMAGES[damage](weights.read_bytes()))
    assert run_here(file, str(home)) == []  # nothing needs them
    lost, kept = sorted(home.glob("trainings/*/evaluations/*"))
    lost.unlink()
    written_ns, events = kept.stat().st_mtime_ns, []
    (line,) = run_here(file, str(home), events)
    assert f"{weights.parents[3].name}/manifest.json: damaged (attempts/" in line
    assert validations(events) == 0  # it goes on from its own progress, which was whole
    assert outcome(opened(home), "two") == expected
    assert kept.stat().st_mtime_ns == written_ns  # what was evaluated counts again


def test_a_record_is_set_aside_once_for_each_damage(fresh: Callable[[Any], Path]) -> None:
    said: list[str] = []
    home = open_home(str(fresh("h")))
    for content in (b"one", b"two", b"one"):
        home.put("a/r.json", content)
        assert home.mending(said.append).read_json("a/r.json") is None
        assert home.read("a/r.json") is None
    aside = {path: data for path, data in files(Path(home.url)).items() if path.startswith("damaged/")}
    assert sorted(aside.values()) == [b"one", b"two"]
    assert aside["damaged/a/r.json"] == b"one"
    assert len(said) == 3


def test_a_name_in_a_foreign_home_commands_no_terminal(
    fresh: Callable[[Any], Path], caplog: pytest.LogCaptureFixture
) -> None:
    said: list[str] = []
    home = open_home(str(fresh("h")))
    home.put("a/\x1b[2J.json", b"torn")
    with caplog.at_level(logging.WARNING, "metasweep"):
        assert home.read_json("a/\x1b[2J.json") is None
    assert home.mending(said.append).read_json("a/\x1b[2J.json") is None
    for (line,) in (caplog.messages, said):
        assert "/a/\\x1b[2J.json: damaged (" in line
        assert line.isprintable()


def test_a_record_that_was_made_again_meanwhile_stays(fresh: Callable[[Any], Path]) -> None:
    said: list[str] = []
    home = open_home(str(fresh("h"))).mending(said.append)
    home.put("r.json", b"torn")

    def parse(data: bytes) -> bytes:
        if data == b"torn":
            home.put_json("r.json", {"a": 1})  # another process was faster
            raise ValueError("torn")
        return data

    assert home.read_record("r.json", parse) == home.read("r.json")
    assert home.read_json("r.json") == {"a": 1}
    assert said == []


def test_a_record_that_is_made_again_just_before_it_is_set_aside_stays(
    fresh: Callable[[Any], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    home = open_home(str(fresh("h"))).mending(said.append)
    home.put("r.json", b"torn")
    read, reads = Home.read, list[bytes | None]()

    def read_and_replaced(home: Home, path: str) -> bytes | None:
        reads.append(read(home, path))
        if reads == [b"torn", b"torn"]:  # it is damaged, and not just half read
            home.put_json("r.json", {"a": 1})  # by another process
        return reads[-1]

    monkeypatch.setattr(Home, "read", read_and_replaced)
    assert home.read_json("r.json") is None
    assert home.read_json("r.json") == {"a": 1}
    assert said == []


def test_a_kill_while_a_record_is_set_aside_loses_nothing(fresh: Callable[[Any], Path]) -> None:
    home = open_home(str(fresh("h"))).mending(lambda line: None)
    for at in itertools.count():
        damaged = f"torn {at}".encode()
        home.put("r.json", damaged)
        try:
            with crash_points(at):
                home.read_json("r.json")
            break
        except Killed:
            left = files(Path(home.url))
            assert damaged in {data for path, data in left.items() if "/." not in f"/{path}"}, at
            assert home.read_json("r.json") is None  # ends what was begun
        aside = [path for path, data in files(Path(home.url)).items() if data == damaged and "/." not in f"/{path}"]
        assert [path.partition("/")[0] for path in aside] == ["damaged"], at
    assert at > 3


def test_a_curve_with_another_digit_is_none(fresh: Callable[[Any], Path], tmp_path: Path) -> None:
    """It is read without the weights behind it, whose digest would tell."""
    file, home = sweep_file(tmp_path, "grid", GRID), fresh("h")
    assert run_here(file, str(home)) == []
    for path in home.glob("trainings/*/attempts/*/progress.safetensors"):
        key = path.parents[2].name
        assert stored_curve(Store(opened(home)), key).reached > 0
        data = bytearray(path.read_bytes())
        digit = next(at for at in range(data.index(b"train_loss"), len(data)) if chr(data[at]).isdigit())
        data[digit] ^= 1
        replace(path, bytes(data))
        assert stored_curve(Store(opened(home)), key) == StoredCurve()


def test_a_lost_spec_leaves_the_window_of_its_proposals(
    fresh: Callable[[Any], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which was chosen at the first run; another one would make other proposals."""
    search = SEARCH["search"] | {"window": None}
    file, home = sweep_file(tmp_path, "s", SEARCH | {"search": search}), fresh("h")
    run_here(file, str(home))
    spec = home / "sweeps" / "s" / "spec.yaml"
    whole = spec.read_bytes()
    replace(spec, _flipped(whole, 1000))
    monkeypatch.setattr(continuing, "default_window", lambda slots: 5)
    (line,) = run_here(file, str(home))
    assert "sweeps/s/spec.yaml: damaged (its bytes are not those that were sealed); set aside as" in line
    assert spec.read_bytes() == whole
    spec.unlink()
    other = sweep_file(tmp_path, "s", SEARCH | {"search": search | {"seed": 1}})
    with pytest.raises(SpecError, match=r"sweep 's': its spec.yaml is lost, and it has proposals of another search"):
        run_here(other, str(home))
    assert not spec.exists()


def test_a_proposal_under_the_number_of_another_is_none(fresh: Callable[[Any], Path]) -> None:
    said: list[str] = []
    home = open_home(str(fresh("h")))
    first = SweepRecord(home, "s").put_proposal(Proposal(0, {"algorithm.inner_lr": 0.1}, "told"))
    home.put("sweeps/s/proposals/1.json", home.read("sweeps/s/proposals/0.json") or b"")
    assert SweepRecord(home.mending(said.append), "s").proposals() == [first]
    (line,) = said
    assert "sweeps/s/proposals/1.json: damaged (it says that it is number 0); set aside as" in line


def test_a_sweep_is_there_once_its_data_is_known(fresh: Callable[[Any], Path], tmp_path: Path) -> None:
    home, spec = open_home(str(fresh("h"))), load_spec(sweep_file(tmp_path, "s", SEARCH))
    record, data = SweepRecord(home, "s"), {"glyphs": "0" * 20}
    for at in itertools.count():
        record.forget()
        try:
            with crash_points(at):
                record.put_spec(spec, data)
            break
        except Killed:
            assert sweep_names(home) == [] or record.fingerprints == data, at
    assert at > 3
    assert sweep_names(home) == ["s"]


def test_a_sweep_whose_data_is_not_known_any_more(fresh: Callable[[Any], Path], tmp_path: Path) -> None:
    file, home = sweep_file(tmp_path, "s", SEARCH), fresh("h")
    run_here(file, str(home))
    (home / "sweeps" / "s" / "datasets.json").write_bytes(b"{")
    with pytest.raises(HomeError, match=r"sweeps/s/datasets.json: absent or damaged; the command that ran the sweep"):
        status(opened(home), "s")
    (own,) = (home / "datasets").iterdir()
    os.link(own, own.with_name(f"glyphs-{'0' * 20}.arrow"))
    with pytest.raises(InputError, match=r"its datasets.json is lost, and the home has 2 versions of glyphs \(0000"):
        run_here(file, str(home))


def a_folder(path: Path) -> None:
    path.mkdir()
    (path / "within").write_text("somebody's")


IN_THE_WAY: dict[str, Callable[[Path], None]] = {"folder": a_folder, "pipe": os.mkfifo}


@pytest.mark.parametrize("kind", IN_THE_WAY)
def test_what_is_no_file_counts_as_absent(
    done: tuple[Path, Path], kind: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file, whole = done
    expected = outcome(opened(whole), file.stem, whole=False)
    found = {path.rpartition("/")[2]: path for path in sorted(files(whole)) if not path.startswith("datasets/")}
    for path in (path for name, path in found.items() if name != "home.json"):  # of each kind one
        home = tmp_path / "home"
        shutil.copytree(whole, home, copy_function=os.link)
        (home / path).unlink()
        IN_THE_WAY[kind](home / path)
        before = sorted(home.rglob("*"))
        caplog.clear()
        with caplog.at_level(logging.WARNING, "metasweep"):
            refused(partial(status, opened(home), file.stem))
            refused(partial(load_study, file.stem, str(home)))
        assert len(caplog.messages) <= 1, path
        assert all(f"{path}: damaged (it is no file); passed over" in line for line in caplog.messages)
        assert sorted(home.rglob("*")) == before
        if ".lock" not in path:
            warned = run_here(file, str(home))
            assert outcome(opened(home), file.stem, whole=False) == expected, path
            if any(kind in path for kind in MUST_BE_FOUND):
                (line,) = warned
                assert f"home/{path}: damaged (it is no file); set aside as damaged/{path}, and made again" in line
                assert not (home / "damaged" / path).is_file()
            assert run_here(file, str(home)) == []
        shutil.rmtree(home)
