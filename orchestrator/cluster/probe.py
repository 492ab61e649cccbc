"""One trial tried on a GPU of the cluster, to see how much of its memory a trial takes."""

from __future__ import annotations

from typing import Any, NamedTuple

from orchestrator.errors import ClusterError
from orchestrator.failure import in_one_line
from orchestrator.placement import Machine, trials_on_a_gpu
from orchestrator.spec import Resources
from trainers.config import TrialConfig
from trainers.datasets.image_file import ImageTable

TIMEOUT_S = 300.0
"""For a worker to start, load its libraries, and do a few iterations and a test."""

STEPS = 2
"""Validations that the probe trains to. The first step on a GPU also captures what later ones replay."""


class Footprint(NamedTuple):
    """Bytes of a GPU."""

    gpu: int
    trial: int
    """At its peak, with what CUDA itself takes in each process."""


def probed_trials(config: TrialConfig, data: ImageTable, resources: Resources, machine: Machine) -> int | None:
    """How many trials like this one fit on a GPU of such a machine; None where torch can't use its GPUs.

    Raises:
        ClusterError: the trial does not run on a whole GPU either, or no GPU is free in time.
    """
    import ray

    try:
        task = ray.remote(num_cpus=resources.cpu, num_gpus=1, max_retries=0)(footprint)
        found: Footprint | None = ray.get(task.remote(config.model_dump_json(), data), timeout=TIMEOUT_S)
    except Exception as error:  # of Ray, of CUDA, of the trial
        cause = getattr(error, "cause", None) or error
        raise ClusterError(
            f"resources.gpu: auto: a trial could not be tried on a GPU ({in_one_line(cause)}); give resources.gpu, "
            "0 for none"
        ) from error
    return None if found is None else trials_on_a_gpu(found.gpu, found.trial, resources, machine)


def footprint(config_json: str, data: ImageTable) -> Footprint | None:
    """Trains and tests a little on this process's GPU; None where torch has none."""
    import torch

    from trainers.evaluation import evaluate
    from trainers.trial import train

    if not torch.cuda.is_available():
        return None
    config = _short(TrialConfig.model_validate_json(config_json))
    torch.zeros(1, device="cuda")
    free, total = torch.cuda.mem_get_info()
    own = torch.cuda.memory_reserved()
    *_, progress = train(config, data, device="cuda")
    evaluate([config], progress.params, data, "cuda")
    context = max(0, total - free - own)  # of this process; others on that GPU count too, to be on the safe side
    return Footprint(total, context + torch.cuda.max_memory_reserved())


def _short(config: TrialConfig) -> TrialConfig:
    values: dict[str, Any] = config.model_dump()
    every = values["training"]["validate_every"] = min(config.training.validate_every, 5)
    values["training"] |= {"iterations": STEPS * every, "snapshots": ()}
    values["evaluation"] |= {"weights": "final", "measure": "accuracy"}
    return TrialConfig.model_validate(values)
