"""Few-shot classification as a problem: episodes of a dataset, judged by accuracy on their query sets."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from trainers.canonical import (
    EVALUATION_VERSION,
    TRAINER_VERSION,
    evaluation_identity,
    resolved_training,
    training_identity,
)
from trainers.config import TrialConfig
from trainers.problem import Problem, Score

if TYPE_CHECKING:
    from torch import Tensor

    from trainers.datasets.image_file import ImageTable
    from trainers.evaluation import Scores
    from trainers.snapshots import Progress


class FewShot(Problem[TrialConfig]):
    """What ``trainers.trial`` and ``trainers.evaluation`` do."""

    score = Score("accuracy", "accuracies", "accuracy", "validation_accuracy", "test_accuracy", "test_ci95", "%")
    metrics = (
        "validation_accuracy",
        "test_accuracy",
        "test_ci95",
        "test_episodes",
        "iterations",
        "train_flops",
        "adapt_flops",
        "train_seconds",
    )
    tested = MappingProxyType({"accuracy": ("test_accuracy", "test_ci95")})
    count = "test_episodes"
    cost = ("train_flops", "training, GFLOP", 1e9)
    tasks_word = "episodes"
    held_back = "classes never seen in training"
    other_tasks = "episodes of the same test classes"
    source_word = "dataset"
    sources_share_a_scale = True
    needs_dataset = True
    uses_gpus = True
    compares_trainings = True
    trainer_version = TRAINER_VERSION
    evaluation_version = EVALUATION_VERSION

    def training_identity(self, config: TrialConfig) -> dict[str, Any]:
        """As ``trainers.canonical``."""
        return training_identity(config)

    def evaluation_identity(self, config: TrialConfig) -> dict[str, Any]:
        """As ``trainers.canonical``."""
        return evaluation_identity(config)

    def resolved_training(self, config: TrialConfig) -> dict[str, Any]:
        """As ``trainers.canonical``."""
        return resolved_training(config)

    def train(
        self,
        config: TrialConfig,
        source: ImageTable,
        start: Progress | None = None,
        device: str = "cpu",
        due: Callable[[], bool] = lambda: False,
    ) -> Iterator[Progress]:
        """As ``trainers.trial``."""
        from trainers.trial import train

        return train(config, source, start, device, due)

    def tested_together(self, config: TrialConfig) -> Hashable:
        """The same episodes."""
        return config.test_queries, config.evaluation.episodes

    def paired_by(self, config: TrialConfig) -> Hashable:
        """Classes and images of test episode i; shots and queries only add to them."""
        return config.dataset.name, config.dataset.resolved(), config.episodes.ways, config.evaluation.episodes

    def evaluate(
        self, configs: Sequence[TrialConfig], params: Mapping[str, Tensor], source: ImageTable, device: str = "cpu"
    ) -> list[Scores]:
        """As ``trainers.evaluation``."""
        from trainers.evaluation import evaluate

        return [{self.score.column: found} for found in evaluate(configs, dict(params), source, device)]

    def measure(
        self, config: TrialConfig, params: Mapping[str, Tensor], source: ImageTable, device: str = "cpu"
    ) -> Scores:
        """``evaluation.measure``: how layers change in the inner loop, or how long things take."""
        from trainers.layer_change import layer_changes
        from trainers.speed import speed

        times = speed(config, dict(params), source, device)
        return layer_changes(config, dict(params), source, device) | times

    def is_timed(self, config: TrialConfig) -> bool:
        """Where that is what is measured."""
        return config.evaluation.measure == "speed"

    def costs(self, config: TrialConfig, iterations: int, flops: float, source_shape: Any) -> dict[str, float]:
        """Of the training, and of adapting to one episode where the size of an image is known."""
        from trainers.adapt_cost import adapt_flops

        found: dict[str, float] = {"iterations": iterations, "train_flops": flops}
        return found if source_shape is None else found | {"adapt_flops": adapt_flops(config, source_shape)}
