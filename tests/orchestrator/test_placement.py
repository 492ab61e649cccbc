"""How many trials machines hold, against counting by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from orchestrator import gpu_share
from orchestrator.cluster import nodes
from orchestrator.errors import ClusterError, SpecError
from orchestrator.gpu_share import settled
from orchestrator.placement import MAX_TRIALS_ON_A_GPU, Startable, concurrency, share_of_a_gpu, trials_on_a_gpu
from orchestrator.spec import Resources, SweepSpec
from orchestrator.spec_file import load_spec

SMALL, LARGE = {"CPU": 1.0}, {"CPU": 4.0, "GPU": 2.0}


def test_concurrency_counts_what_fits_on_each_machine() -> None:
    assert concurrency(Resources(gpu=0), [SMALL, LARGE]) == 5
    assert concurrency(Resources(gpu=0, cpu=2.0), [SMALL, SMALL, LARGE]) == 2
    assert concurrency(Resources(gpu=0.5), [SMALL, LARGE]) == 4
    assert concurrency(Resources(gpu=0.5, max_concurrent=3), [LARGE]) == 3
    assert concurrency(Resources(gpu=0, cpu=0.1), [SMALL]) == 10
    assert concurrency(Resources(gpu=0.6, cpu=0.1), [LARGE]) == 2  # 2.0 / 0.6 is 3, but a share lies on one GPU
    for impossible in (Resources(cpu=5.0), Resources(gpu=1.0, cpu=8.0)):
        with pytest.raises(ClusterError, match="no machine here has more"):
            concurrency(impossible, [SMALL, LARGE])
    with pytest.raises(ClusterError, match="ask for less"):
        concurrency(Resources(gpu=1.0), [SMALL])


def test_what_only_a_machine_to_come_can_hold_is_waited_for() -> None:
    head, kinds = {"CPU": 0.0}, [Startable({"CPU": 8.0}, 3), Startable({"CPU": 4.0, "GPU": 1.0}, 2)]
    assert concurrency(Resources(gpu=0), [head], kinds) == 3 * 8 + 2 * 4
    assert concurrency(Resources(gpu=1.0), [head], kinds) == 2
    assert concurrency(Resources(gpu=0, cpu=4), [LARGE, LARGE], [Startable(SMALL, 1)]) == 2  # more are there already
    with pytest.raises(ClusterError, match="nor any that the cluster can start, has more than 8 and 1"):
        concurrency(Resources(gpu=2.0), [head], kinds)


def test_trials_on_a_gpu_are_as_many_as_its_memory_and_the_processors_hold() -> None:
    one, machine = Resources(), {"CPU": 16.0, "GPU": 2.0}
    assert trials_on_a_gpu(80e9, 10e9, one, machine) == 7  # 72 of 80 GB
    assert trials_on_a_gpu(80e9, 1e9, one, machine) == 8  # 16 processors, 2 GPUs
    assert trials_on_a_gpu(80e9, 1e9, Resources(cpu=2), machine) == 4
    assert trials_on_a_gpu(80e9, 1e9, Resources(max_concurrent=3), machine) == 3
    assert trials_on_a_gpu(80e9, 75e9, one, machine) == 1
    assert trials_on_a_gpu(80e9, 1e6, one, {"CPU": 512.0, "GPU": 1.0}) == MAX_TRIALS_ON_A_GPU


@pytest.mark.parametrize("trials", range(1, MAX_TRIALS_ON_A_GPU + 1))
def test_so_many_shares_fill_a_gpu_and_no_more(trials: int) -> None:
    share = share_of_a_gpu(trials)
    assert trials * share <= 1 < (trials + 1) * share
    assert concurrency(Resources(gpu=share), [{"CPU": 100.0, "GPU": 3.0}]) == 3 * trials


def grid(spec_file: Any, **sections: Any) -> SweepSpec:
    return load_spec(spec_file(grid={"train": {"episodes.shots": [1], "algorithm.name": ["anil", "maml"]}}, **sections))


def ignore(*_: object) -> None:
    pass


def test_auto_is_no_gpu_where_no_machine_has_one(spec_file: Any) -> None:
    for resources in ({}, {"gpu": "auto", "cpu": "auto", "max_concurrent": "auto"}):
        spec = grid(spec_file, resources=resources)
        assert spec.resources == Resources()
        assert settled(spec, "", [SMALL], [], ignore, ignore) == Resources(gpu=0.0)
    with pytest.raises(SpecError, match=r"budget\.gpu_hours: is never used"):
        settled(grid(spec_file, budget={"gpu_hours": 1}), "", [SMALL], [], ignore, ignore)
    asked = grid(spec_file, resources={"gpu": 0.25})
    assert settled(asked, "", [LARGE], [], ignore, ignore) == asked.resources


def test_auto_is_a_share_by_one_probe_of_the_largest_config(
    spec_file: Any, glyphs_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    probed: list[Any] = []

    def probe(config: Any, data: Any, resources: Resources, machine: Any) -> int | None:
        probed.append((config.algorithm.name, data.image_shape, machine))
        return fits

    monkeypatch.setattr(gpu_share, "probed_trials", probe)
    said: list[str] = []
    fits: int | None = 3
    found = settled(grid(spec_file), str(glyphs_home), [SMALL, LARGE], [], ignore, said.append)
    assert (found.gpu, said) == (0.3333, ["resources.gpu: 3 trials on each GPU, by a probe"])
    assert probed == [("maml", (28, 28, 1), LARGE)]
    alone = grid(spec_file, resources={"max_concurrent": 1})
    assert settled(alone, str(glyphs_home), [LARGE], [], ignore, ignore).gpu == 1.0
    assert len(probed) == 1
    fits = None
    assert settled(grid(spec_file), str(glyphs_home), [LARGE], [], ignore, said.append).gpu == 0.0
    assert "torch can't use them" in said[-1]


def test_a_gpu_that_is_only_startable_is_never_probed(
    spec_file: Any, glyphs_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpu_share, "probed_trials", lambda *_: pytest.fail("it would wait for a machine to boot"))
    head, cpus, gpus = {"CPU": 0.0}, Startable({"CPU": 16.0}, 8), Startable({"CPU": 8.0, "GPU": 1.0}, 2)
    for machines, kinds, gpu, words in (
        ([head], [cpus, gpus], 0.0, ["--set resources.gpu=1 starts machines with GPUs"]),
        ([SMALL], [gpus], 0.0, ["--set resources.gpu=1 starts machines with GPUs"]),
        ([head], [gpus], 1.0, ["a whole one, since none is there yet"]),
        ([head], [cpus], 0.0, []),
        ([head, {"CPU": 0.0, "GPU": 1.0}], [cpus], 0.0, []),  # no processor beside it
    ):
        said: list[str] = []
        assert settled(grid(spec_file), str(glyphs_home), machines, kinds, ignore, said.append).gpu == gpu
        assert [word in line for line, word in zip(said, words, strict=True)] == [True] * len(words)
    with pytest.raises(SpecError, match=r"budget\.gpu_hours: is never used, since trials take no GPU unless"):
        settled(grid(spec_file, budget={"gpu_hours": 1}), "", [head], [cpus, gpus], ignore, ignore)


def test_capacity_follows_machines_that_come_and_go(monkeypatch: pytest.MonkeyPatch) -> None:
    there: list[Any] = [SMALL]
    time_s = 0.0
    monkeypatch.setattr(nodes, "machines", lambda: list(there))
    monkeypatch.setattr(nodes, "startable", list)
    capacity = nodes.capacity(Resources(gpu=0), clock=lambda: time_s)
    assert capacity() == 1
    there.append(LARGE)
    assert capacity() == 1  # the head is not asked for every trial
    time_s += nodes.LOOK_EVERY_S
    assert capacity() == 5
    there.clear()
    time_s += nodes.LOOK_EVERY_S
    assert capacity() == 1  # one trial waits for a machine
