"""Reinforcement learning as a problem: tasks are Markov decision processes, judged by the return after adaptation."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from trainers.problem import Problem, Score
from trainers.rl.canonical import (
    EVALUATION_VERSION,
    TRAINER_VERSION,
    environment_fingerprint,
    evaluation_identity,
    resolved_training,
    training_identity,
)
from trainers.rl.config import RLConfig
from trainers.rl.environments import check_installed, entry_of

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from torch import Tensor

    from trainers.snapshots import Progress


@dataclass(frozen=True)
class EnvironmentSource:
    """An environment as what tasks are made from."""

    name: str
    fingerprint: str


def environment_steps(config: RLConfig) -> int:
    """Of one iteration of a training, at most: an episode that ends before its horizon takes fewer."""
    rounds = 1 + (config.algorithm.inner_steps if config.adapted_layers else 0)
    episodes = config.training.meta_batch * config.sampling.trajectories
    return rounds * episodes * config.environment.resolved()


class ReinforcementLearning(Problem[RLConfig]):
    """What ``trainers.rl.trial`` does."""

    score = Score(
        "return", "returns", "return_after", "validation_return", "return_after", "return_after_ci95", "return"
    )
    metrics = (
        "validation_return",
        "return_before",
        "return_before_ci95",
        "return_after",
        "return_after_ci95",
        "test_tasks",
        "iterations",
        "environment_steps",
        "train_flops",
        "train_seconds",
    )
    tested = MappingProxyType(
        {
            "return_before": ("return_before", "return_before_ci95"),
            "return_after": ("return_after", "return_after_ci95"),
        }
    )
    count = "test_tasks"
    cost = ("environment_steps", "million steps", 1e6)
    tasks_word = "tasks"
    held_back = "tasks never seen in training"
    other_tasks = "tasks"
    source_word = "environment"
    sources_share_a_scale = False
    needs_dataset = False
    uses_gpus = False
    compares_trainings = False
    trainer_version = TRAINER_VERSION
    evaluation_version = EVALUATION_VERSION

    def source(self, name: str) -> EnvironmentSource:
        """The environment, by its name and version: no file."""
        check_installed(name)
        return EnvironmentSource(name, environment_fingerprint(name, entry_of(name).version))

    def training_identity(self, config: RLConfig) -> dict[str, Any]:
        """As ``trainers.rl.canonical``."""
        return training_identity(config)

    def evaluation_identity(self, config: RLConfig) -> dict[str, Any]:
        """As ``trainers.rl.canonical``."""
        return evaluation_identity(config)

    def resolved_training(self, config: RLConfig) -> dict[str, Any]:
        """As ``trainers.rl.canonical``."""
        return resolved_training(config)

    def train(
        self,
        config: RLConfig,
        source: Any,
        start: Progress | None = None,
        device: str = "cpu",
        due: Callable[[], bool] = lambda: False,
    ) -> Iterator[Progress]:
        """As ``trainers.rl.trial``."""
        from trainers.rl.trial import train

        return train(config, start, device, due)

    def tested_together(self, config: RLConfig) -> Hashable:
        """The same tasks, and as many trajectories of each."""
        return config.evaluation.tasks, config.test_trajectories

    def paired_by(self, config: RLConfig) -> Hashable:
        """Goal or direction of test task i."""
        return config.environment.name, config.environment.resolved(), config.evaluation.tasks

    def evaluate(
        self, configs: Sequence[RLConfig], params: Mapping[str, Tensor], source: Any, device: str = "cpu"
    ) -> list[dict[str, npt.NDArray[np.float64]]]:
        """As ``trainers.rl.trial``."""
        from trainers.rl.trial import evaluate

        return evaluate(configs, dict(params), device)

    def costs(self, config: RLConfig, iterations: int, flops: float, source_shape: Any) -> dict[str, float]:
        """Steps of environments if every episode goes on to its horizon, and operations of networks."""
        steps = iterations * environment_steps(config)
        return {"iterations": iterations, "environment_steps": steps, "train_flops": flops}
