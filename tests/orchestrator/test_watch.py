"""A sweep watched from elsewhere: what its driver says in the home, and when a watcher takes it for ended."""

from __future__ import annotations

import errno
import itertools
import json
import multiprocessing
import os
import threading
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from made_home import local_home, put_sweep, remote_home
from processes import wait_for
from test_live import line, status

from orchestrator import live_record
from orchestrator.cli import cli
from orchestrator.environment import GIT_COMMIT, ROOT, git_commit
from orchestrator.home_objects import Home
from orchestrator.job_package import job_variables
from orchestrator.live_record import read_live, said_in_home
from orchestrator.record import SweepRecord
from orchestrator.status import Resources, SweepStatus
from orchestrator.watch import SILENT_S, watch

NODES = Resources(16, 48, 4, 8, ("10.0.0.1", "10.0.0.2"), 3_100_000_000, 15_600_000_000)


@pytest.fixture
def record(tmp_path: Path, tiny_trial: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> SweepRecord:
    home = local_home(tmp_path)
    put_sweep(home, tmp_path, "omniglot", tiny_trial, grid={"seeds": 40})
    monkeypatch.setattr(live_record, "EVERY_S", 0.02)
    return SweepRecord(home, "omniglot")


def watched(home: Home, *looks: Callable[[], object]) -> tuple[list[SweepStatus], float]:
    """What a watcher sees, and for how long, when this happens between its looks; afterwards nothing does."""
    seen: list[SweepStatus] = []
    now, left = [0.0], list(looks)

    def sleep(seconds: float) -> None:
        now[0] += seconds
        if left:
            left.pop(0)()

    watch(home, "omniglot", seen.append, lambda: now[0], sleep)
    return seen, now[0]


def test_it_comes_back_as_it_was_said(record: SweepRecord) -> None:
    said = status(
        line(3, "completed", test_accuracy=0.9),
        line(4, confirms=3),
        best=line(3, "completed"),
        compared=1,
        to_compare=2,
        iterations_per_s=12.5,
        resources=NODES,
    )
    with said_in_home(record, "run-1") as say:
        say(said)
        wait_for(lambda: (found := read_live(record)) and found.status, "nothing was said")
        found = read_live(record)
    assert found is not None
    assert found.status is not None
    assert (found.run, found.over) == ("run-1", False)
    assert found.status.elapsed_s >= said.elapsed_s, "its clocks go on"
    assert found.status.later(-(found.status.elapsed_s - said.elapsed_s)).trials[0] == said.trials[0]
    assert (found.status.best, found.status.resources, found.status.compared) == (said.best, NODES, 1)
    last = read_live(record)
    assert last is not None
    assert last.over
    assert last.beat > found.beat


def test_of_a_thousand_trials_the_last_ones_are_said(record: SweepRecord) -> None:
    done = [line(n, "completed") for n in range(1000)]
    with said_in_home(record, "run-1") as say:
        say(status(line(0, "failed", error="boom"), *done[1:], line(1000), line(1001)))
    found = read_live(record)
    assert found is not None
    assert found.status is not None
    numbers = [trial.number for trial in found.status.trials]
    assert numbers == [0, *range(980, 1002)], "the last failure, the last twenty, and all that run"
    assert found.status.completed == 999
    assert len(record.home.read(record.live_path) or b"") < 10_000


def test_a_damaged_one_is_none(record: SweepRecord) -> None:
    record.home.put(record.live_path, b"{")
    assert read_live(record) is None
    record.home.put_json(record.live_path, {"run": "r", "beat": 1, "over": False, "status": {"state": "\x1b[2J"}})
    assert read_live(record) is None


def test_a_sweep_that_nobody_drives_is_not_watched(record: SweepRecord) -> None:
    assert watched(record.home) == ([], 0.0)
    with said_in_home(record, "run-1") as say:
        say(status(line(1)))
    assert watched(record.home) == ([], 0.0)


def test_a_home_that_answers_no_more_holds_nobody_up(record: SweepRecord, monkeypatch: pytest.MonkeyPatch) -> None:
    asked, answers, waited = threading.Event(), threading.Event(), threading.Event()

    def mute(*_: object) -> None:
        asked.set()
        answers.wait(20)
        waited.set()

    monkeypatch.setattr(live_record, "END_TIMEOUT_S", 0.1)
    try:
        with said_in_home(record, "run-1"):
            monkeypatch.setattr(Home, "put_json", mute)
            assert asked.wait(60)
        assert not waited.is_set()
    finally:
        answers.set()


def test_what_goes_wrong_once_does_not_silence_a_driver(record: SweepRecord, monkeypatch: pytest.MonkeyPatch) -> None:
    wrong, put = threading.Event(), Home.put_json

    def once(home: Home, path: str, said: Any) -> None:
        if not wrong.is_set():
            wrong.set()
            raise RuntimeError("dictionary changed size during iteration")
        put(home, path, said)

    with said_in_home(record, "run-1"):
        monkeypatch.setattr(Home, "put_json", once)
        assert wrong.wait(60)
        wait_for(lambda: (found := read_live(record)) and found.beat > 1, "nothing more was said")
    last = read_live(record)
    assert last is not None
    assert last.over


def test_a_full_disk_is_for_others_to_say(record: SweepRecord, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Home, "put_json", full)
    with said_in_home(record, "run-1") as say:
        say(status(line(1)))
    assert read_live(record) is None


def _drive(folder: str, ready: multiprocessing.synchronize.Event, end: multiprocessing.synchronize.Event) -> None:
    record = SweepRecord(local_home(Path(folder)), "omniglot")
    with record.lock():
        ready.set()
        end.wait()


def test_a_driver_that_dies_ends_the_watch_at_once(record: SweepRecord, tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    ready, end = context.Event(), context.Event()
    driver = context.Process(target=_drive, args=(str(tmp_path), ready, end))
    driver.start()
    try:
        assert ready.wait(60)

        def kill() -> None:
            driver.kill()
            driver.join(30)

        with said_in_home(record, "run-1") as say:
            say(status(line(1)))
            wait_for(lambda: (found := read_live(record)) and found.status, "nothing was said")
            seen, seconds = watched(record.home, lambda: None, kill)
    finally:
        driver.kill()
    assert seen
    assert seconds == 2.0, "no waiting for a driver that may be slow: the lock tells"


def test_the_last_that_a_driver_says_is_seen(record: SweepRecord, monkeypatch: pytest.MonkeyPatch) -> None:
    """It says that and ends while a watcher is between its two looks: is it driven, and what does it say?"""
    looks, driving, locked = itertools.count(1), ExitStack(), SweepRecord.locked

    def say(beat: int) -> None:
        said = live_record.status_json(status(line(1, iteration=100 * beat)))
        record.home.put_json(record.live_path, {"run": "r", "beat": beat, "over": beat > 1, "status": said})

    def then_over(look: Callable[[SweepRecord], Any]) -> Callable[[SweepRecord], Any]:
        def looked(its: SweepRecord) -> Any:
            found = look(its)
            if next(looks) == 3:
                say(2)
                driving.close()
            return found

        return looked

    monkeypatch.setattr(SweepRecord, "locked", property(then_over(locked.__get__)))
    monkeypatch.setattr("orchestrator.watch.read_live", then_over(read_live))
    with driving:
        driving.enter_context(record.lock())
        say(1)
        seen, _ = watched(record.home)
    assert [one.trials[0].iteration for one in seen] == [100, 200]


def test_in_a_bucket_silence_ends_the_watch(tmp_path: Path, tiny_trial: dict[str, Any]) -> None:
    bucket = remote_home(tmp_path)
    put_sweep(bucket, tmp_path, "omniglot", tiny_trial, grid={"seeds": 40})
    path = SweepRecord(bucket, "omniglot").live_path
    said = {"run": "r", "over": False, "status": live_record.status_json(status(line(1)))}

    def beat(number: int, over: bool = False) -> Callable[[], None]:
        return lambda: bucket.put_json(path, said | {"beat": number, "over": over})

    beat(0)()
    seen, seconds = watched(bucket, beat(1), beat(2))
    assert len(seen) == 3
    assert SILENT_S <= seconds - 10 < SILENT_S + 10, "since it was heard last"
    beat(3)()
    seen, seconds = watched(bucket, beat(4), beat(5, over=True))
    assert (len(seen), seconds) == (3, 10.0)


def command(record: SweepRecord, *arguments: str) -> Result:
    return CliRunner().invoke(cli, ["status", *arguments, "--home", record.home.url])


def test_the_command_says_how_an_interrupted_sweep_goes_on(record: SweepRecord) -> None:
    found = command(record, "omniglot", "--watch")
    assert found.exit_code == 0
    assert found.output.startswith("omniglot: interrupted, ")
    assert f"orchestrate sweep {record.home.url}/sweeps/omniglot/spec.yaml --home {record.home.url}" in found.output
    assert json.loads(command(record, "omniglot", "--watch", "--json").output)["state"] == "interrupted"


def test_a_job_is_told_the_commit_of_its_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(GIT_COMMIT, raising=False)
    monkeypatch.chdir(tmp_path)
    assert job_variables().get(GIT_COMMIT) == git_commit(ROOT)


def test_one_that_was_submitted_goes_on_by_submitting_it(record: SweepRecord, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, text in job_variables().items():
        monkeypatch.setenv(name, text)
    found = command(record, "omniglot").output
    assert "the command that submitted it goes on from there" in found
    assert "orchestrate sweep" not in found


def test_which_sweep_must_be_said(record: SweepRecord) -> None:
    found = command(record, "--watch")
    assert found.exception is not None
    assert str(found.exception) == "--watch: which sweep? give its NAME, one of: omniglot"


def test_json_lines_leave_out_what_only_the_clock_changed(record: SweepRecord, monkeypatch: pytest.MonkeyPatch) -> None:
    views = [status(line(1)), status(line(1)).later(5), status(line(1, iteration=300)).later(9)]
    monkeypatch.setattr("orchestrator.watch.watch", lambda home, name, on_change: [on_change(one) for one in views])
    lines = [json.loads(each) for each in command(record, "omniglot", "--watch", "--json").output.splitlines()]
    assert [one["state"] for one in lines] == ["running", "running", "interrupted"]
    assert [one["lines"][0]["iteration"] for one in lines[:2]] == [200, 300]
    assert all(one["name"] == "omniglot" and one["trials"]["planned"] for one in lines)
