"""What each iteration of a training learns from."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from trainers.config import TrialConfig
from trainers.datasets.image_file import ImageTable
from trainers.episodes import training_sampler
from trainers.image_batches import training_images
from trainers.tasks import Tasks, as_batch, as_tasks


def training_batches(config: TrialConfig, data: ImageTable, like: Tensor) -> Callable[[int], Tasks]:
    """Iteration, from 0 on -> its meta-batch of episodes, or its batch of images; on the device of ``like``."""
    if config.algorithm_entry.objective == "classes":
        images = training_images(config, data)
        return lambda iteration: as_batch(*images.batch(iteration), like)
    episodes, count = training_sampler(config, data), config.training.meta_batch
    return lambda iteration: as_tasks(episodes.episodes(range(iteration * count, (iteration + 1) * count)), like)
