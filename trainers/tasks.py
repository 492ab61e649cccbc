"""Episodes as tensors on a device, many of one shape at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from trainers.episodes import Episode, Pixels


@dataclass(frozen=True)
class Task:
    """One episode as numbers in [0, 1]."""

    support: Tensor
    """[ways·shots, C, H, W]"""
    support_labels: Tensor
    """int64 [ways·shots], in 0 … ways − 1"""
    query: Tensor
    """[ways·queries, C, H, W]"""
    query_labels: Tensor
    """int64 [ways·queries]"""


@dataclass(frozen=True)
class Tasks:
    """Episodes of one shape. Pixels stay uint8 until a slice of the tasks is worked on."""

    support_pixels: Tensor
    """uint8 [tasks, ways·shots, H, W, C]"""
    query_pixels: Tensor
    """uint8 [tasks, ways·queries, H, W, C]"""
    support_labels: Tensor
    """int64 [ways·shots], the same in every task"""
    query_labels: Tensor
    """int64 [ways·queries]"""
    dtype: torch.dtype

    def __len__(self) -> int:
        return len(self.support_pixels)

    @property
    def tensors(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Pixels, then labels, of support and query."""
        return self.support_pixels, self.query_pixels, self.support_labels, self.query_labels

    def copy(self) -> Tasks:
        """The same in memory of its own."""
        support, query, support_labels, query_labels = (value.clone() for value in self.tensors)
        return Tasks(support, query, support_labels, query_labels, self.dtype)

    def __iter__(self) -> Iterator[Task]:
        for index in range(len(self)):
            one = slice(index, index + 1)
            yield Task(self.support(one)[0], self.support_labels, self.query(one)[0], self.query_labels)

    def __getitem__(self, part: slice) -> Tasks:
        pixels = self.support_pixels[part], self.query_pixels[part]
        return Tasks(*pixels, self.support_labels, self.query_labels, self.dtype)

    def support(self, part: slice = slice(None)) -> Tensor:
        """Images [tasks, ways·shots, C, H, W] in [0, 1]."""
        return self._images(self.support_pixels[part])

    def query(self, part: slice = slice(None)) -> Tensor:
        """Images [tasks, ways·queries, C, H, W] in [0, 1]."""
        return self._images(self.query_pixels[part])

    def _images(self, pixels: Tensor) -> Tensor:
        return pixels.permute(0, 1, 4, 2, 3).to(self.dtype, memory_format=torch.contiguous_format).div_(255.0)


def as_tasks(episodes: Sequence[Episode], like: Tensor) -> Tasks:
    """Episodes on the device, and for calculation in the dtype, of ``like``."""
    support, support_labels = _stack([episode.support for episode in episodes], like)
    query, query_labels = _stack([episode.query for episode in episodes], like)
    return Tasks(support, query, support_labels, query_labels, like.dtype)


def as_batch(images: Pixels, labels: npt.NDArray[np.int64], like: Tensor) -> Tasks:
    """Labelled images [images, H, W, C] as the query set of one task without support; device and dtype of ``like``."""
    query = torch.from_numpy(images).unsqueeze(0).to(like.device)
    none = torch.zeros(0, dtype=torch.int64, device=like.device)
    return Tasks(query[:, :0], query, none, torch.from_numpy(labels).to(like.device), like.dtype)


def _stack(pixels: Sequence[Pixels], like: Tensor) -> tuple[Tensor, Tensor]:
    ways, per_class = pixels[0].shape[:2]
    stacked = torch.from_numpy(np.stack(pixels)).flatten(1, 2).to(like.device)
    return stacked, torch.arange(ways, device=like.device).repeat_interleave(per_class)
