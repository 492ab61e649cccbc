"""When Ray is started, and a trial tried on a GPU: once there is work, and not before."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from in_process import GRID, run_here, sweep_file

from orchestrator import gpu_share, place
from orchestrator.cluster import nodes
from orchestrator.inputs import Where
from orchestrator.place import Place
from orchestrator.placement import Machine
from orchestrator.spec_file import load_spec


def ignore(*_: object) -> None:
    pass


def test_a_gpu_is_tried_once_there_is_work(
    tmp_path: Path, fresh: Callable[[Any], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[int] = []

    def probe(*_: object) -> None:
        tried.append(1)  # torch can't use it: the trial runs on a processor

    @contextmanager
    def with_gpu(address: str | None) -> Iterator[list[Machine]]:
        yield [{"CPU": 1.0, "GPU": 1.0}]

    monkeypatch.setattr(place, "has_gpu_driver", lambda: True)
    monkeypatch.setattr(gpu_share, "probed_trials", probe)
    monkeypatch.setattr("in_process.one_node", with_gpu)
    home = fresh("place")
    file = sweep_file(tmp_path, "place", GRID)
    run_here(file, str(home))
    assert tried == [1]
    run_here(file, str(home))
    assert tried == [1], "all trials are stored"


def test_machines_are_seen_as_they_come_and_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    there: list[Machine] = [{"CPU": 0.0}, {"CPU": 2.0}]
    time_s = [100.0]

    @contextmanager
    def cluster(address: str | None) -> Iterator[list[Machine]]:
        yield list(there)

    monkeypatch.setattr(place, "cluster", cluster)
    monkeypatch.setattr(place, "startable", list)
    monkeypatch.setattr(nodes, "machines", lambda: list(there))
    monkeypatch.setattr(nodes, "startable", list)
    looking = nodes.capacity
    monkeypatch.setattr(place, "capacity", lambda *its: looking(*its, clock=lambda: time_s[0]))
    spec = load_spec(sweep_file(tmp_path, "place", GRID))
    with ExitStack() as stack:
        its = Place(spec, Where(address="10.0.0.1:6379"), stack, ignore, ignore)
        placed = its.start()
        assert (placed.slots, its.look()[0]) == (2, there)
        assert placed.capacity is not None
        assert placed.capacity() == 2
        there[1:] = [{"CPU": 4.0}, {"CPU": 4.0}]
        placed.capacity()
        assert its.look()[0] != there  # the head is not asked for every trial
        time_s[0] += nodes.LOOK_EVERY_S
        assert placed.capacity() == 8
        assert its.look()[0] == there
