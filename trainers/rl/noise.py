"""Random numbers by address: which ones an episode gets depends on what it is, not on what was drawn before it.

Philox 4×32-10 (Salmon et al. 2011), computed for many counters at once: a generator object of numpy an episode would
cost more than the steps of a small environment. The key is made of everything that a batch shares, the counter of task,
trajectory and place. Normal numbers by Box and Muller (1958).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from trainers.rl.environments.environment import Floats

VALIDATION_SEED = 1_000_003
"""Seed of the validation tasks and trajectories of every trial."""

TEST_SEED = 1_000_033
"""Seed of the test tasks and trajectories of every trial."""

Words = npt.NDArray[np.uint64]

_MULTIPLIERS = (np.uint64(0xD2511F53), np.uint64(0xCD9E8D57))
_KEY_STEPS = (0x9E3779B9, 0xBB67AE85)
_ROUNDS = 10
_WORD = np.uint64(0xFFFFFFFF)
_HALF = np.uint64(32)


@dataclass(frozen=True)
class Address:
    """Where the numbers of some tasks lie."""

    part: Literal["training", "validation", "test"]
    seed: int
    tasks: tuple[int, ...]
    """Indices of the tasks."""
    iteration: int = 0
    """Of meta-training; always 0 in validation and test, so that they see the same numbers each time."""
    inner_step: int = 0
    """Inner steps done before: 0 for the policy before adaptation."""


def uniform(key: str, tasks: Sequence[int], trajectories: int, count: int) -> Floats:
    """Numbers in (0, 1), [tasks, trajectories, count]: each a function of the key and its own three indices."""
    blocks = np.arange(-(-count // 4), dtype=np.uint64)
    rows = np.arange(trajectories, dtype=np.uint64)[:, None]
    low, high = (
        np.array([index >> shift & 0xFFFFFFFF for index in tasks], np.uint64)[:, None, None] for shift in (0, 32)
    )
    words = philox(np.stack(np.broadcast_arrays(blocks, rows, low, high)), _key_words(key))
    bits = np.moveaxis(words, 0, -1).reshape(len(tasks), trajectories, 4 * len(blocks))[..., :count]
    return (bits.astype(np.float64) + 0.5) * 2.0**-32


def normal(uniforms: Floats) -> Floats:
    """Standard normal numbers of uniform ones, [..., 2n] -> [..., 2n]: each pair of two neighbours."""
    radius = np.sqrt(-2 * np.log(uniforms[..., 0::2]))
    angle = 2 * np.pi * uniforms[..., 1::2]
    numbers = np.empty_like(uniforms)
    np.multiply(radius, np.cos(angle), out=numbers[..., 0::2])
    np.multiply(radius, np.sin(angle), out=numbers[..., 1::2])
    return numbers


def philox(counters: Words, key: tuple[int, int]) -> Words:
    """Philox 4×32-10 of counters [4, ...], each word below 2**32 -> as many words."""
    one, two, three, four = counters
    first, second = key
    for _ in range(_ROUNDS):
        product, other = one * _MULTIPLIERS[0], three * _MULTIPLIERS[1]
        one, three = other >> _HALF ^ two ^ np.uint64(first), product >> _HALF ^ four ^ np.uint64(second)
        two, four = other & _WORD, product & _WORD
        first, second = (first + _KEY_STEPS[0]) & 0xFFFFFFFF, (second + _KEY_STEPS[1]) & 0xFFFFFFFF
    return np.stack([one, two, three, four])


def _key_words(key: str) -> tuple[int, int]:
    digest = hashlib.sha256(key.encode()).digest()
    return int.from_bytes(digest[:4], "little"), int.from_bytes(digest[4:8], "little")
