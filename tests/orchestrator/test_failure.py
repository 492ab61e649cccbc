"""Kinds of failure, and what follows from them; processes that take too long or too much."""

from __future__ import annotations

import errno
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from in_process import GRID, TINY, opened, outcome, run_here, sweep_file

from orchestrator.cli_spec import asked_policy
from orchestrator.cluster.execute import Event, Request, run_request
from orchestrator.cluster.sharing import Shared
from orchestrator.errors import InterruptedSweep, TooManyFailures
from orchestrator.failure import ATTEMPTS_IN_A_RUN, Failure, FailureCount, FailurePolicy, failure_of
from orchestrator.store import Store
from trainers.errors import AdaptationDiverged, DatasetError, TrainingDiverged


def raises(error: Exception) -> Callable[[], Any]:
    def act() -> None:
        raise error

    return act


KINDS: dict[str, tuple[str, Callable[[], Any]]] = {
    "PyTorch on a CPU": ("memory", lambda: torch.empty(2**55)),
    "PyTorch on a GPU": ("memory", raises(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"))),
    "cuBLAS": ("memory", raises(RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate`"))),
    "NumPy": ("memory", lambda: np.empty(2**55)),
    "Python": ("memory", lambda: bytearray(2**55)),
    "the system": ("memory", raises(OSError(errno.ENOMEM, "Cannot allocate memory"))),
    "a full disk": ("disk", raises(OSError(errno.ENOSPC, "No space left on device"))),
    "a quota": ("disk", raises(OSError(errno.EDQUOT, "Disk quota exceeded"))),
    "a disk that can't be written": ("disk", raises(OSError(errno.EROFS, "Read-only file system"))),
    "a disk that fails": ("lost", raises(OSError(errno.EIO, "Input/output error"))),
    "a loss": ("diverged", raises(TrainingDiverged("the training loss is nan at iteration 3"))),
    "a test": ("diverged", raises(AdaptationDiverged("conv1 is not finite"))),
    "a bug": ("error", lambda: [][0]),
    "bad data": ("error", raises(DatasetError("too small"))),
}


@pytest.mark.parametrize(("kind", "act"), KINDS.values(), ids=KINDS)
def test_kinds_of_failure(kind: str, act: Callable[[], Any]) -> None:
    with pytest.raises(Exception) as caught:  # noqa: PT011 - whatever the library raises
        act()
    failure = failure_of(caught.value)
    assert failure.kind == kind
    assert failure.can_pass == (kind in ("lost", "disk", "memory", "timeout"))
    assert len(failure.cause.splitlines()) == 1
    assert failure.cause.startswith("out of memory: ") == (kind == "memory")
    assert Failure.of_event(failure.event("lost")) == failure


def test_what_can_pass_is_attempted_three_times_and_a_bug_once() -> None:
    count = FailureCount(FailurePolicy())
    lost = Failure("lost", "its worker was lost")
    assert ATTEMPTS_IN_A_RUN == 3
    assert count.try_again("trial 4", lost) == "trial 4: its worker was lost; attempt 2 of 3 follows"
    assert count.try_again("trial 5", lost) is not None  # each trial has its own
    assert count.try_again("trial 4", Failure("timeout", "too long")) == "trial 4: too long; attempt 3 of 3 follows"
    assert count.try_again("trial 4", lost) is None
    for final in (Failure("error", "a bug"), Failure("diverged", "nan"), None):
        assert count.try_again("trial 6", final) is None


def test_a_run_ends_with_as_many_failures_as_it_may_have() -> None:
    for _ in range(9):
        FailureCount(FailurePolicy()).failed("0", "why")
    with pytest.raises(TooManyFailures, match=r"^a trial failed, the last is trial 0: why$"):
        FailureCount(FailurePolicy(max_failures=1)).failed("0", "why")
    count = FailureCount(FailurePolicy(max_failures=2))
    count.failed("0", "why")
    with pytest.raises(TooManyFailures, match=r"^2 trials failed, the last is trial 3: else$"):
        count.failed("3", "else")


@pytest.mark.parametrize(("fail_fast", "given", "most"), [(True, None, 1), (False, 3, 3), (False, None, None)])
def test_how_many_failures_are_asked_for(fail_fast: bool, given: int | None, most: int | None) -> None:
    assert asked_policy(False, fail_fast, given, None) == FailurePolicy(max_failures=most)


def test_a_lost_worker_leaves_failed_attempts_and_the_next_one_ends_the_trial(
    fresh: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is killed on its way to the snapshot, so in two attempts at once, which nobody but the driver can end."""
    undisturbed, home = fresh("undisturbed"), fresh("lost")
    file, lost = sweep_file(tmp_path, "s", GRID), Failure("lost", "its worker was lost")
    assert run_here(file, str(undisturbed)) == []
    began: list[Event] = []

    def killed_once(request: Request, shared: Shared) -> Iterator[Event]:
        events = run_request(request, shared)
        if not began:
            began.append(next(events))
            events.close()
            yield lost.event("lost")
        yield from events

    monkeypatch.setattr("in_process.run_request", killed_once)
    assert run_here(file, str(home)) == ["trial 0: its worker was lost; attempt 2 of 3 follows"]
    assert outcome(opened(home), "s") == outcome(opened(undisturbed), "s")
    for key in opened(home).names("trainings"):
        first, second = Store(opened(home)).attempts(key)
        assert (first["state"], first["failure"], first["cause"]) == ("failed", "lost", lost.cause)
        assert (second["state"], second["failure"]) == ("complete", None)


def test_a_full_disk_ends_the_run(
    fresh: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    full, asked = Failure("disk", "h/x: No space left on device"), list[int]()

    def fails(request: Request, shared: Shared) -> Iterator[Event]:
        asked.append(request.number)
        yield full.event("lost")

    monkeypatch.setattr("in_process.run_request", fails)
    with pytest.raises(InterruptedSweep, match=r"the sweep stopped: h/x: No space left on device; mend that"):
        run_here(sweep_file(tmp_path, "s", {"trial": TINY, "grid": {"seeds": 2}}), str(fresh("h")))
    assert asked == [0]


def test_a_failure_of_an_earlier_run_is_none_of_this_one(fresh: Callable[[str], Path], tmp_path: Path) -> None:
    """It tests what was asked for since, of the same training."""
    trial = TINY | {"algorithm": {"name": "random", "inner_lr": 1e30}}
    home, policy = fresh("h"), FailurePolicy(max_failures=1)

    def file(*measures: str) -> Path:
        tests = {"evaluation.head": ["linear"], "evaluation.inner_steps": [2], "evaluation.frozen_layers": [0]}
        grid = {"test": tests | {"evaluation.measure": [*measures]}}
        return sweep_file(tmp_path, "s", {"trial": trial, "grid": grid})

    with pytest.raises(TooManyFailures, match=r"the last is trial 0: .* not finite"):
        run_here(file("cka"), str(home), policy=policy)
    events: list[Event] = []
    assert run_here(file("cka", "accuracy"), str(home), events, policy=policy) == []
    assert [event["kind"] for event in events] == ["tested"]


def python(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=200)


HANGS = """
import re
from orchestrator.cluster.deadline import deadline
with deadline(3600.0):
    pass
with deadline(None):
    pass
with deadline(0.2):
    re.match("(a+)+$", "a" * 80 + "b")  # for ever, in C, and nobody else gets the interpreter
"""


def test_a_call_that_never_lets_go_of_the_interpreter_ends_its_process() -> None:
    done = python(HANGS)
    assert done.returncode == 1
    assert "Timeout" in done.stderr
    assert "line 9" in done.stderr  # where it hung


IN_TIME = """
import time
from orchestrator.cluster.deadline import deadline
with deadline(1.0):
    pass
until = time.monotonic() + 1.2
while time.monotonic() < until:
    pass
"""


def test_a_block_that_was_left_in_time_ends_nothing() -> None:
    done = python(IN_TIME)
    assert (done.returncode, done.stderr) == (0, "")


SHORT_OF_MEMORY = """
import json, re, resource, sys
import torch
from orchestrator.attempt import attempt_trial
from orchestrator.home import open_home
from orchestrator.store import Store
from trainers.config import TrialConfig
from trainers.datasets.image_file import open_image_file

torch.set_num_threads(1)
file, home, large, small = sys.argv[1:]
data, store = open_image_file(file), Store(open_home(home))
used = 1024 * int(re.search(r"VmData:\\s+(\\d+)", open("/proc/self/status").read()).group(1))
resource.setrlimit(resource.RLIMIT_DATA, (used + 100 * 2**20,) * 2)
for config in large, small:
    asked_by = {"sweep": "s", "number": 0, "run": "r", "git_commit": None}
    *_, last = attempt_trial(store, [TrialConfig.model_validate_json(config)], data, asked_by)
    print(json.dumps(last))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="limits of data are Linux's")
def test_a_trial_that_needs_too_much_memory_is_one_failed_trial(
    glyphs_file: Path, tmp_path: Path, tiny_trial: dict[str, Any]
) -> None:
    large = {**tiny_trial, "backbone": {"width": 512}}
    done = python(SHORT_OF_MEMORY, str(glyphs_file), str(tmp_path / "home"), json.dumps(large), json.dumps(tiny_trial))
    failed, tested = (json.loads(line) for line in done.stdout.splitlines())
    assert (failed["kind"], failed["failure"]) == ("failed", "memory"), done.stderr
    assert failed["cause"].startswith("out of memory: ")
    assert tested["kind"] == "tested"
