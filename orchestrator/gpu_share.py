"""What a trial takes of a GPU where the sweep leaves that to us: as many share one as fit, by one probe."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from orchestrator.cluster.probe import probed_trials
from orchestrator.data import data_folder, ensure_dataset
from orchestrator.errors import SpecError
from orchestrator.inputs import configs_of
from orchestrator.placement import Machine, Startable, has_gpu, held, share_of_a_gpu
from orchestrator.spec import Resources, SweepSpec
from trainers.config import TrialConfig
from trainers.datasets.image_file import open_image_file
from trainers.problems import few_shot, problem_of

SOME_IMAGE = (1, 28, 28)
"""Channels, height, width: configs are compared on images of one size, whatever their datasets have."""


def settled(
    spec: SweepSpec,
    home_url: str,
    machines: Sequence[Machine],
    startable: Sequence[Startable],
    on_build: Callable[[int, int], None],
    on_warning: Callable[[str], None],
) -> Resources:
    """The resources of a sweep's trials with ``gpu`` as a number; where machines have GPUs, they are connected.

    Only a GPU that is there is probed: one that can be started may take long to come, or never does. Where there is
    none yet, trials take processors; or a whole GPU each, where no other machine can hold them.

    Where a trial runs is no part of what it is, so a probe that comes out otherwise next time changes no key.

    Raises:
        ClusterError: there are GPUs, and a trial fails on one.
        SpecError: the budget is in GPU-hours, and trials take none.
    """
    resources = spec.resources
    if resources.gpu is not None:
        return resources
    if not problem_of(spec.trial).uses_gpus:
        return _without(spec, f"trials with problem: {spec.trial.problem} run on processors")
    whole = resources.model_copy(update={"gpu": 1.0})
    with_gpus = [machine for machine in machines if held(whole, machine)]
    if not with_gpus:
        return _before_gpus_come(spec, machines, startable, on_warning)
    if resources.max_concurrent == 1:
        return whole
    config = max(map(few_shot, configs_of(spec)), key=_size)
    data = open_image_file(ensure_dataset(data_folder(home_url), config.source, on_build))
    machine = min(with_gpus, key=lambda machine: machine["CPU"] / machine["GPU"])
    trials = probed_trials(config, data, resources, machine)
    if trials is None:
        on_warning("resources.gpu: there are GPUs, but torch can't use them here (is it a build for processors?)")
        return _without(spec)
    on_warning(f"resources.gpu: {trials} trial{'s' if trials > 1 else ''} on each GPU, by a probe")
    return resources.model_copy(update={"gpu": share_of_a_gpu(trials)})


def _before_gpus_come(
    spec: SweepSpec,
    machines: Sequence[Machine],
    startable: Sequence[Startable],
    on_warning: Callable[[str], None],
) -> Resources:
    none, whole = (spec.resources.model_copy(update={"gpu": gpu}) for gpu in (0.0, 1.0))
    kinds = [kind.machine for kind in startable]
    if not any(held(whole, kind) for kind in kinds):
        return _without(spec)
    if any(held(none, kind) for kind in [*machines, *kinds] if not has_gpu(kind)):
        found = _without(spec, "trials take no GPU unless resources.gpu says how much")
        words = "no GPU is there yet, so trials run on processors; --set resources.gpu=1 starts machines with GPUs"
    else:
        found = whole
        words = "a whole one, since none is there yet for a probe; --set resources.gpu=0.5 puts two trials on each"
    on_warning(f"resources.gpu: {words}")
    return found


def _without(spec: SweepSpec, why: str = "no machine here has a GPU for a trial") -> Resources:
    if spec.budget and spec.budget.gpu_hours is not None:
        raise SpecError(f"budget.gpu_hours: is never used, since {why}; give hours")
    return spec.resources.model_copy(update={"gpu": 0.0})


def _size(config: TrialConfig) -> int:
    """Operations of an iteration: what is largest in them is largest in memory, near enough."""
    from trainers.cost import flops, of_training  # torch, seconds that a sweep without GPUs need not wait for

    costs = (flops(calculation) * config.training.meta_batch for calculation in of_training(config, SOME_IMAGE))
    return max(costs, default=0)
