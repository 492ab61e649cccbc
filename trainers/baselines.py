"""The floor that a trained model must beat: nearest neighbour on raw pixels of the same test episodes."""

from __future__ import annotations

import numpy as np

from trainers.config import TrialConfig
from trainers.datasets.image_file import ImageTable
from trainers.episodes import Pixels, test_sampler


def nearest_neighbour_accuracy(config: TrialConfig, data: ImageTable) -> float:
    """Mean accuracy over the config's test episodes of the label of the nearest support image (Euclidean)."""
    sampler = test_sampler(config, data)
    correct = []
    for index in range(config.evaluation.episodes):
        episode = sampler.episode(index)
        support, query = _vectors(episode.support), _vectors(episode.query)
        # |q − s|² up to the constant |q|²
        distances = (support**2).sum(1) - 2 * query @ support.T
        predicted = distances.argmin(1) // episode.support.shape[1]
        labels = np.arange(len(episode.query)).repeat(episode.query.shape[1])
        correct.append((predicted == labels).mean())
    return float(np.mean(correct))


def _vectors(pixels: Pixels) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    ways, per_class = pixels.shape[:2]
    return pixels.reshape(ways * per_class, -1).astype(np.float64)
