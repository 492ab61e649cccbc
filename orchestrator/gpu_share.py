"""What a trial takes of a GPU where the sweep leaves that to us: as many share one as fit, by one probe."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from orchestrator.cluster.probe import probed_trials
from orchestrator.data import data_folder, ensure_dataset
from orchestrator.errors import SpecError
from orchestrator.inputs import configs_of
from orchestrator.placement import Machine, Startable, has_gpus, share_of_a_gpu
from orchestrator.spec import Resources, SweepSpec
from trainers.config import TrialConfig
from trainers.cost import flops, of_training
from trainers.datasets.image_file import open_image_file

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

    Where a trial runs is no part of what it is, so a probe that comes out otherwise next time changes no key.

    Raises:
        ClusterError: there are GPUs, and a trial fails on one.
        SpecError: the budget is in GPU-hours, and there are none.
    """
    resources = spec.resources
    if resources.gpu is not None:
        return resources
    if not has_gpus(machines, startable):
        return _without(spec)
    if resources.max_concurrent == 1:
        return resources.model_copy(update={"gpu": 1.0})
    config = max(configs_of(spec), key=_size)
    data = open_image_file(ensure_dataset(data_folder(home_url), config.dataset.name, on_build))
    kinds = [*machines, *(kind.machine for kind in startable)]
    machine = min((kind for kind in kinds if kind.get("GPU")), key=lambda kind: kind.get("CPU", 0.0) / kind["GPU"])
    trials = probed_trials(config, data, resources, machine)
    if trials is None:
        on_warning("resources.gpu: there are GPUs, but torch can't use them here (is it a build for processors?)")
        return _without(spec)
    on_warning(f"resources.gpu: {trials} trial{'s' if trials > 1 else ''} on each GPU, by a probe")
    return resources.model_copy(update={"gpu": share_of_a_gpu(trials)})


def _without(spec: SweepSpec) -> Resources:
    if spec.budget and spec.budget.gpu_hours is not None:
        raise SpecError("budget.gpu_hours: is never used, since no machine here has a GPU; give hours")
    return spec.resources.model_copy(update={"gpu": 0.0})


def _size(config: TrialConfig) -> int:
    """Operations of an iteration: what is largest in them is largest in memory, near enough."""
    costs = (flops(calculation) * config.training.meta_batch for calculation in of_training(config, SOME_IMAGE))
    return max(costs, default=0)
