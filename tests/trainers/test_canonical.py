"""Configs that mean the same share keys; configs that do not, don't. Keys of released versions never move."""

from __future__ import annotations

from typing import Any

import pytest

from trainers.canonical import evaluation_key, resolved_training, training_digest, training_key
from trainers.config import TrialConfig, flatten

DATA = "f" * 20


def config(**changes: Any) -> TrialConfig:
    sections: dict[str, dict[str, Any]] = {}
    for path, value in changes.items():
        section, _, name = path.partition("__")
        sections.setdefault(section, {})[name] = value
    return TrialConfig.model_validate(sections)


def training(**changes: Any) -> str:
    return training_key(config(**changes), DATA)


def evaluation(**changes: Any) -> str:
    return evaluation_key(config(**changes), DATA)


def test_keys_are_pinned() -> None:
    """Stored results rest on them: if this fails, old records are orphaned."""
    assert training() == PINNED_TRAINING
    assert evaluation() == PINNED_EVALUATION


PINNED_TRAINING = "ad7b6b85eb89a2755c48-500"
PINNED_EVALUATION = "b1a7801125f9eb4fc4aa"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"algorithm__name": "maml", "algorithm__frozen_layers": 4}, {"algorithm__name": "anil"}),
        ({"algorithm__name": "nil"}, {"algorithm__name": "anil"}),
        ({"algorithm__name": "anil", "algorithm__frozen_layers": 2}, {"algorithm__name": "anil"}),
        ({"algorithm__name": "boil"}, {"algorithm__frozen_layers": ("head",)}),
        ({"algorithm__frozen_layers": 2}, {"algorithm__frozen_layers": ("conv2", "conv1")}),
        ({"dataset__split": "scripts"}, {}),
        ({"dataset__rotations": False}, {}),
        ({"algorithm__inner_lr": 0.4, "training__seed": 0}, {}),
        ({"training__snapshots": (100, 500), "evaluation__weights": 100}, {}),
        ({"evaluation__measure": "similarity", "evaluation__flattening": "images"}, {}),
        ({"evaluation__episodes": 7, "evaluation__inner_steps": 3, "evaluation__head": "nil"}, {}),
        (
            {"algorithm__frozen_layers": ("conv1", "conv2", "conv3", "conv4", "head"), "algorithm__inner_lr": 0.1},
            {"algorithm__frozen_layers": ("conv1", "conv2", "conv3", "conv4", "head"), "algorithm__inner_steps": 3},
        ),
    ],
    ids=str,
)
def test_same_training(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert training(**one) == training(**other)


@pytest.mark.parametrize(
    "changes",
    [
        {"algorithm__name": "anil"},
        {"algorithm__frozen_layers": 1},
        {"algorithm__inner_lr": 0.41},
        {"algorithm__inner_steps": 2},
        {"algorithm__first_order": True},
        {"episodes__ways": 6},
        {"episodes__shots": 2},
        {"episodes__queries": 6},
        {"backbone__width": 33},
        {"backbone__pooling": "stride"},
        {"dataset__rotations": True},
        {"training__meta_batch": 8},
        {"training__meta_lr": 0.002},
        {"training__clip": None},
        {"training__validate_every": 50},
        {"training__validation_episodes": 99},
        {"training__seed": 1},
    ],
    ids=str,
)
def test_other_training(changes: dict[str, Any]) -> None:
    assert training(**changes).split("-")[0] != training().split("-")[0]


def test_length_is_outside_the_digest() -> None:
    short, long = config(training__iterations=100), config(training__iterations=900)
    assert training_digest(short, DATA) == training_digest(long, DATA)
    assert training_key(long, DATA) == training_digest(long, DATA) + "-900"


def test_other_data_other_keys() -> None:
    assert training_key(TrialConfig(), "0" * 20) != training()
    assert evaluation_key(TrialConfig(), "0" * 20) != evaluation()


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"evaluation__queries": 5}, {}),
        ({"evaluation__inner_steps": 1}, {}),
        ({"evaluation__frozen_layers": 0}, {}),
        ({"evaluation__head": "linear"}, {}),
        ({"evaluation__measure": "accuracy"}, {}),
        ({"evaluation__flattening": "images"}, {}),  # of nothing
        ({"evaluation__weights": 500}, {"evaluation__weights": "final"}),
        ({"training__snapshots": (100, 200)}, {}),
        # without a head there is no inner loop
        ({"evaluation__head": "nil", "evaluation__inner_steps": 9}, {"evaluation__head": "nil"}),
        ({"evaluation__head": "nil", "evaluation__frozen_layers": 2}, {"evaluation__head": "nil"}),
        # without steps it does not matter which layers would adapt
        (
            {"evaluation__inner_steps": 0, "evaluation__frozen_layers": 2},
            {"evaluation__inner_steps": 0},
        ),
    ],
    ids=str,
)
def test_same_evaluation(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert evaluation(**one) == evaluation(**other)


@pytest.mark.parametrize(
    "changes",
    [
        {"evaluation__episodes": 601},
        {"evaluation__queries": 6},
        {"evaluation__inner_steps": 2},
        {"evaluation__frozen_layers": 1},
        {"evaluation__head": "nil"},
        {"evaluation__weights": "final"},
        {"evaluation__weights": 100, "training__snapshots": (100,)},
        {"evaluation__measure": "similarity"},
        {"evaluation__measure": "cka"},
        {"algorithm__name": "nil"},
        {"algorithm__name": "multitask"},
    ],
    ids=str,
)
def test_other_evaluation(changes: dict[str, Any]) -> None:
    assert evaluation(**changes) != evaluation()


def test_keys_of_measures_and_snapshots_are_pinned() -> None:
    similarity = {"evaluation__measure": "similarity"}
    assert evaluation(**similarity) == PINNED_SIMILARITY
    assert evaluation(**similarity, evaluation__flattening="images") == PINNED_BY_IMAGES
    assert evaluation(evaluation__weights=100, training__snapshots=(100,)) == PINNED_SNAPSHOT
    assert len({PINNED_EVALUATION, PINNED_SIMILARITY, PINNED_BY_IMAGES, PINNED_SNAPSHOT}) == 4


def test_times_have_a_key_of_their_own_in_which_nothing_idle_is() -> None:
    asked = evaluation(evaluation__measure="speed")
    assert asked == PINNED_SPEED
    assert asked == evaluation(evaluation__measure="speed", evaluation__flattening="images")
    assert asked not in {PINNED_EVALUATION, PINNED_SIMILARITY}


PINNED_SPEED = "3ff39b221b535e2d5696"
PINNED_SIMILARITY = "48ea02c3177b654ba6e1"
PINNED_BY_IMAGES = "983ff0043928c5b93cc8"
PINNED_SNAPSHOT = "24b35a7a207f27014ca0"


def test_the_key_of_a_snapshot_is_that_of_the_shorter_training() -> None:
    """It is where a store looks for it."""
    long = config(training__snapshots=(100, 300), evaluation__weights=100, evaluation__measure="cka")
    shorter = long.shortened(100)
    assert TrialConfig.model_validate(shorter.model_dump()) == shorter
    assert training_key(shorter, DATA) == training_digest(long, DATA) + "-100"
    assert training_key(shorter, DATA) == training(training__iterations=100)


def test_a_rate_that_only_the_test_uses_is_in_the_evaluation_key() -> None:
    """A training without inner loop does not hold its inner_lr; a test that adapts does."""
    nothing = {"algorithm__frozen_layers": ("conv1", "conv2", "conv3", "conv4", "head")}
    adapts = {**nothing, "evaluation__frozen_layers": 0, "evaluation__inner_steps": 5}
    assert training(**adapts, algorithm__inner_lr=0.01) == training(**adapts)
    assert evaluation(**adapts, algorithm__inner_lr=0.01) != evaluation(**adapts)
    assert evaluation(**nothing, algorithm__inner_lr=0.01) == evaluation(**nothing)


def test_rates_by_layer_count_where_they_act() -> None:
    """One rate is five equal ones; the rates of layers that stand still are not in the key of a training."""
    assert training(algorithm__inner_lr=(0.4,) * 5) == training()
    assert training(algorithm__inner_lr=(0.1,) * 5) == training(algorithm__inner_lr=0.1) != training()
    assert training(algorithm__inner_lr=(0.1, 0.4, 0.4, 0.4, 0.4)) != training()
    anil, all_adapt = {"algorithm__name": "anil"}, {"evaluation__frozen_layers": 0}
    by_layer = {"algorithm__inner_lr": (0.1, 0.2, 0.3, 0.1, 0.4)}
    assert training(**anil, **by_layer) == training(**anil)
    assert evaluation(**anil, **by_layer) == evaluation(**anil)
    assert evaluation(**anil, **all_adapt, **by_layer) != evaluation(**anil, **all_adapt)
    assert config(**anil, **by_layer).inner_lr["conv3"] == 0.3


def test_nil_selects_its_weights_by_its_own_head() -> None:
    """A NIL trial and an ANIL trial tested without head share a training, but not the choice of the best weights."""
    nil, anil = {"algorithm__name": "nil"}, {"algorithm__name": "anil", "evaluation__head": "nil"}
    assert training(**nil) == training(**anil)
    assert evaluation(**nil) != evaluation(**anil)
    final = {"evaluation__weights": "final"}
    assert evaluation(**nil, **final) == evaluation(**anil, **final)


REGIMES = ("nil_training", "multitask", "multiclass", "random")
INNER_LOOP = {
    "algorithm__inner_lr": 0.1,
    "algorithm__inner_steps": 3,
    "algorithm__frozen_layers": 2,
    "algorithm__first_order": True,
}
OUTER_LOOP = {"training__meta_batch": 3, "training__meta_lr": 0.1, "training__clip": None}


@pytest.mark.parametrize("name", REGIMES)
def test_without_an_inner_loop_its_settings_make_no_other_training(name: str) -> None:
    assert training(algorithm__name=name, **INNER_LOOP) == training(algorithm__name=name)
    assert training(algorithm__name=name, evaluation__nil="cosine") == training(algorithm__name=name)
    for path, value in (OUTER_LOOP | {"episodes__shots": 2, "training__validate_every": 50}).items():
        same = training(algorithm__name=name, **{path: value}) == training(algorithm__name=name)
        assert same == (name == "random" and path in OUTER_LOOP), path


def test_every_regime_is_a_training_of_its_own() -> None:
    nothing_adapts = {"algorithm__frozen_layers": ("conv1", "conv2", "conv3", "conv4", "head")}
    keys = [training(algorithm__name=name) for name in REGIMES]
    assert len({*keys, training(), training(algorithm__name="anil"), training(**nothing_adapts)}) == 7
    assert keys == PINNED_REGIMES


PINNED_REGIMES = [
    "9769bcb064f11c757bf3-500",
    "6b22e01fd129336c2c82-500",
    "a4f759e5515881a37bcc-500",
    "7acc8404230b4b0b3a96-500",
]


@pytest.mark.parametrize("name", REGIMES)
def test_the_inner_loop_of_a_regime_is_in_the_key_of_a_linear_test(name: str) -> None:
    nil, linear = {"algorithm__name": name}, {"algorithm__name": name, "evaluation__head": "linear"}
    assert evaluation(**nil, algorithm__inner_lr=0.1, evaluation__inner_steps=9) == evaluation(**nil)
    for path, value in (("algorithm__inner_lr", 0.1), ("algorithm__inner_steps", 3), ("evaluation__inner_steps", 9)):
        assert evaluation(**linear, **{path: value}) != evaluation(**linear), path
    assert evaluation(**linear, evaluation__frozen_layers=4) == evaluation(**linear)
    assert evaluation(**linear, evaluation__frozen_layers=0) != evaluation(**linear)


def test_the_weights_of_the_nil_head_count_where_they_can_act() -> None:
    cosine = {"evaluation__nil": "cosine"}
    assert evaluation(**cosine) == evaluation(**cosine, episodes__shots=5) == evaluation()
    for name in ("nil", *REGIMES):
        for shots in (1, 5):
            its = {"algorithm__name": name, "episodes__shots": shots}
            assert (evaluation(**its, **cosine) == evaluation(**its)) == (shots == 1)
        assert evaluation(**its, **cosine, evaluation__head="linear") == evaluation(**its, evaluation__head="linear")


def test_a_record_spells_out_what_a_training_runs_with() -> None:
    assert resolved_training(config())["algorithm"] == {
        **{"inner_lr": 0.4, "inner_steps": 1, "first_order": False},
        "adapted_layers": ["conv1", "conv2", "conv3", "conv4", "head"],
    }
    multiclass, random = (resolved_training(config(algorithm__name=name)) for name in ("multiclass", "random"))
    assert (multiclass["algorithm"], random["algorithm"]) == ({"objective": "classes"}, {"objective": "none"})
    assert multiclass["training"] == resolved_training(config())["training"]
    assert multiclass["training"].keys() - random["training"].keys() == {"meta_batch", "meta_lr", "clip"}


def test_flatten_has_every_leaf_as_asked() -> None:
    leaves = flatten(config(algorithm__frozen_layers=("conv1",)))
    assert leaves["algorithm.frozen_layers"] == ["conv1"]
    assert leaves["dataset.split"] is None
    assert leaves["problem"] == "few_shot"
    assert len(leaves) == 33


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"training__iterations": 150}, "multiple of validate_every"),
        ({"algorithm__frozen_layers": 5}, "4 body layers"),
        ({"algorithm__frozen_layers": ("conv9",)}, "did you mean 'conv"),
        ({"algorithm__name": "mamal"}, "did you mean 'maml'"),
        ({"dataset__name": "omniglott"}, "did you mean 'omniglot'"),
        ({"dataset__split": "script"}, "did you mean 'scripts'"),
        ({"algorithm__inner_lr": float("nan")}, "inner_lr"),
        ({"algorithm__inner_lr": (0.4, 0.4)}, "got 2 values"),
        ({"algorithm__inner_lr": (0.4, 0.4, 0.4, 0.4, -1.0)}, "greater than 0"),
        ({"training__meta_batch": True}, "meta_batch"),
        ({"training__snapshots": (150,)}, "multiples of validate_every = 100 up to iterations = 500, got 150"),
        ({"training__snapshots": (100, 600)}, "up to iterations = 500, got 600"),
        ({"training__snapshots": (200, 100)}, "must increase, got 100 after 200"),
        ({"training__snapshots": (100, 100)}, "must increase, got 100 after 100"),
        ({"training__snapshots": (0,)}, "greater than or equal to 1"),
        ({"evaluation__weights": 100}, "no snapshot is kept at iteration 100, only at 500; add it to training.snap"),
        ({"evaluation__weights": 300, "training__snapshots": (100,)}, "at iteration 300, only at 100, 500"),
        ({"evaluation__weights": "last"}, "weights"),
        ({"evaluation__measure": "similar"}, "measure"),
    ],
    ids=str,
)
def test_bad_configs(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        config(**changes)
