"""Random numbers by address: against the generator's published answers, and whatever they are asked with."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from trainers.rl import noise
from trainers.rl.noise import normal, philox, uniform

# kat_vectors of Random123 (D. E. Shaw Research): counter, key, answer of philox4x32-10.
ANSWERS = [
    ("00000000 00000000 00000000 00000000", "00000000 00000000", "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
    ("ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff", "408f276d 41c83b0e a20bc7c6 6d5451fd"),
    ("243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0", "d16cfe09 94fdcceb 5001e420 24126ea1"),
]


def words(text: str) -> list[int]:
    return [int(word, 16) for word in text.split()]


@pytest.mark.parametrize(("counter", "key", "answer"), ANSWERS)
def test_philox_gives_the_published_answers(counter: str, key: str, answer: str) -> None:
    first, second = words(key)
    assert philox(np.array(words(counter), np.uint64), (first, second)).tolist() == words(answer)


def test_numbers_are_of_their_address_alone() -> None:
    whole = uniform("key", [3, 2**40, 8], 5, 11)
    np.testing.assert_array_equal(uniform("key", [8, 3], 2, 6), whole[[2, 0], :2, :6])
    assert len(np.unique(whole)) == whole.size
    assert not np.isin(uniform("other", [3, 2**40, 8], 5, 11), whole).any()


def test_an_index_beyond_32_bits_has_numbers_of_its_own() -> None:
    near, far = uniform("key", [8, 8 + 2**32], 1, 4)
    assert not np.isin(near, far).any()


def test_numbers_are_uniform_and_normal() -> None:
    numbers = uniform("key", range(20), 10, 500)
    assert numbers.min() > 0
    assert numbers.max() < 1
    assert stats.kstest(numbers.ravel(), "uniform").pvalue > 0.01
    assert stats.kstest(normal(numbers).ravel(), "norm").pvalue > 0.01
    pairs = normal(numbers).reshape(-1, 2)
    assert abs(np.corrcoef(pairs.T)[0, 1]) < 0.01


@pytest.mark.parametrize("word", [0, 2**32 - 1])
def test_no_word_gives_0_or_1(word: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(noise, "philox", lambda counters, key: np.full_like(counters, word))
    (number,) = uniform("key", [0], 1, 1).ravel()
    assert 0 < number < 1


def test_the_outermost_uniform_numbers_are_finite_normal_ones() -> None:
    edges = np.array([0.5, 2**32 - 0.5]) * 2.0**-32
    assert np.isfinite(normal(np.array([[low, high] for low in edges for high in edges]))).all()
