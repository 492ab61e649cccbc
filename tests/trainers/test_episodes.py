"""Episodes are pure functions of their address, and are paired across ways, shots and queries."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from trainers.config import TrialConfig
from trainers.datasets.image_file import ImageTable
from trainers.episodes import EpisodeSampler, _first, check_data, training_sampler, validation_sampler
from trainers.episodes import test_sampler as sampler_of_tests
from trainers.errors import DatasetError


@pytest.fixture
def sampler(strokes: ImageTable) -> EpisodeSampler:
    return EpisodeSampler(strokes, "scripts", "train", rotations=True, ways=5, shots=2, queries=3, seed=7)


def test_same_address_same_episode(sampler: EpisodeSampler) -> None:
    again = replace(sampler)
    for index in (0, 5, 10**6):
        one, other = sampler.episode(index), again.episode(index)
        assert np.array_equal(one.support, other.support)
        assert np.array_equal(one.query, other.query)


PINNED = {
    "support": [[68, 64], [107, 98], [39, 41], [15, 19], [48, 49]],
    "query": [[67, 71, 61], [105, 104, 103], [36, 45, 40], [21, 12, 17], [53, 57, 56]],
    "turns": [3, 3, 2, 1, 3],
}


def test_an_episode_is_pinned(sampler: EpisodeSampler) -> None:
    """Results of earlier versions rest on these rows; a change of them is a change of the trainer version."""
    support, query, turns = sampler.rows(3)
    assert support.tolist() == PINNED["support"]
    assert query.tolist() == PINNED["query"]
    assert turns.tolist() == PINNED["turns"]


@pytest.mark.parametrize("change", ["index", "seed", "part", "fingerprint"])
def test_every_part_of_the_address_matters(sampler: EpisodeSampler, strokes: ImageTable, change: str) -> None:
    base = [sampler.rows(index)[0].tolist() for index in range(3)]
    if change == "index":
        other = [sampler.rows(index + 3)[0].tolist() for index in range(3)]
    elif change == "seed":
        other = [replace(sampler, seed=8).rows(index)[0].tolist() for index in range(3)]
    elif change == "part":
        other = [(replace(sampler, part="validation").rows(index)[0] - 120).tolist() for index in range(3)]
    else:
        renamed = replace(sampler, data=replace(strokes, fingerprint="0" * 20))
        other = [renamed.rows(index)[0].tolist() for index in range(3)]
    assert all(one != two for one, two in zip(base, other, strict=True))


def test_shots_ways_and_queries_are_nested(sampler: EpisodeSampler) -> None:
    large = replace(sampler, ways=8, shots=5, queries=6)
    for index in range(20):
        (support, query, turns), (more_support, more_query, more_turns) = sampler.rows(index), large.rows(index)
        assert np.array_equal(support, more_support[:5, :2])
        assert np.array_equal(query, more_query[:5, :3])
        assert np.array_equal(turns, more_turns[:5])


def test_the_first_classes_are_those_of_a_stable_sort() -> None:
    rng = np.random.default_rng(3)
    for count in (1, 2, 7, 50):
        numbers = rng.integers(0, 30, 50, dtype=np.uint64)  # many are equal
        assert _first(numbers, count).tolist() == np.argsort(numbers, kind="stable")[:count].tolist()


def test_support_and_query_share_no_image_and_labels_are_classes(sampler: EpisodeSampler) -> None:
    full = replace(sampler, shots=5, queries=7)  # all twelve images of a class
    for index in range(50):
        support, query, _ = full.rows(index)
        rows = np.concatenate([support, query], axis=1)
        assert all(len(set(row)) == 12 for row in rows)
        classes = rows // 12
        assert (classes == classes[:, :1]).all()
        assert len(set(classes[:, 0])) == 5


def test_classes_images_and_turns_are_uniform(sampler: EpisodeSampler) -> None:
    single = replace(sampler, ways=2, shots=1)
    rows = [single.rows(index) for index in range(4000)]
    classes = np.bincount(np.concatenate([support[:, 0] // 12 for support, _, _ in rows]), minlength=10)
    images = np.bincount(np.concatenate([support[:, 0] % 12 for support, _, _ in rows]), minlength=12)
    turns = np.bincount(np.concatenate([turned for _, _, turned in rows]), minlength=4)
    for counts in (classes, images, turns):
        expected = counts.sum() / len(counts)
        chi_squared = ((counts - expected) ** 2 / expected).sum()
        assert chi_squared < 3 * len(counts) + 10  # far beyond the 99.9 % point of each


def test_rotation_turns_all_images_of_a_class_alike(sampler: EpisodeSampler, strokes: ImageTable) -> None:
    support, _, turns = sampler.rows(0)
    assert set(turns) != {0}
    for label, turn in enumerate(turns):
        for shot in range(2):
            expected = np.rot90(strokes.pixels[support[label, shot]], turn, axes=(0, 1))
            assert np.array_equal(sampler.episode(0).support[label, shot], expected)
    assert replace(sampler, rotations=False).rows(0)[2].tolist() == [0] * 5


def test_validation_and_test_do_not_depend_on_the_training_seed(strokes: ImageTable) -> None:
    one = TrialConfig.model_validate({"training": {"seed": 1}})
    two = TrialConfig.model_validate({"training": {"seed": 2}})
    assert validation_sampler(one, strokes) == validation_sampler(two, strokes)
    assert sampler_of_tests(one, strokes) == sampler_of_tests(two, strokes)
    assert training_sampler(one, strokes) != training_sampler(two, strokes)


@pytest.mark.parametrize("episodes", [{"ways": 11}, {"shots": 8}, {"queries": 12}])
def test_data_too_small_is_refused(strokes: ImageTable, episodes: dict[str, int]) -> None:
    check_data(TrialConfig(), strokes)
    with pytest.raises(DatasetError, match="strokes"):
        check_data(TrialConfig.model_validate({"episodes": episodes}), strokes)
