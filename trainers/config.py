"""TrialConfig: everything that decides the result of one trial, and the only config a worker sees.

Imports no torch: a sweep file is checked in milliseconds. Defaults are those of the original MAML code for Omniglot
5-way 1-shot where it has them, in our terms (mean cross-entropy), and never change once released: keys of stored
results rest on them.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from trainers.algorithms import ALGORITHMS
from trainers.algorithms.algorithm import HEAD_LAYER, Algorithm, Head
from trainers.config_rules import (
    check_layers,
    check_periods,
    check_rates,
    check_weights,
    named_layers,
    rates_by_layer,
    steps_of_test,
)
from trainers.datasets import recipe_of
from trainers.errors import ConfigError
from trainers.registry import lookup, nearest

PositiveInt = Annotated[int, Field(ge=1, le=10**9)]
PositiveFloat = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Layers = Annotated[int, Field(ge=0)] | Annotated[tuple[str, ...], Field(strict=False)]
"""The first n body layers, or layers by name."""
NilWeights = Literal["softmax", "cosine"]
Measure = Literal["accuracy", "similarity", "cka", "speed"]
Flattening = Literal["channels", "images"]


class Frozen(BaseModel):
    """Base of every config object: immutable, no unknown keys, no silent conversions between types."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class DatasetConfig(Frozen):
    """Which images, and how they are parted into training, validation and test classes."""

    name: str = "glyphs"
    split: str | None = None
    """Name of a split table; the dataset's usual one where left out."""
    rotations: bool | None = None
    """Rotate each class of each episode by a random quarter turn; as usual for the dataset where left out."""

    @model_validator(mode="after")
    def _known(self) -> DatasetConfig:
        recipe = recipe_of(self.name)
        if self.split is not None and self.split not in recipe.splits:
            raise ConfigError(f"unknown split {self.split!r} of {self.name}; {nearest(self.split, recipe.splits)}")
        return self

    def resolved(self) -> tuple[str, bool]:
        """(split, rotations) with the dataset's usual values filled in."""
        recipe = recipe_of(self.name)
        rotations = recipe.rotations if self.rotations is None else self.rotations
        return self.split or next(iter(recipe.splits)), rotations


class EpisodesConfig(Frozen):
    """Size of an episode in training and validation."""

    ways: int = Field(5, ge=2)
    shots: int = Field(1, ge=1)
    queries: int = Field(5, ge=1)
    """Query images a class."""


class BackboneConfig(Frozen):
    """The body: four blocks of 3×3 convolution, batch norm, ReLU, and pooling (or stride 2 in the convolution)."""

    name: Literal["conv4"] = "conv4"
    width: int = Field(32, ge=1, le=1024)
    pooling: Literal["max", "stride"] = "max"
    """``max``: 2×2 max-pool after each block, features flattened. ``stride``: stride-2 convolutions, spatial mean."""

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of the body's layers, input first."""
        return ("conv1", "conv2", "conv3", "conv4")

    def map_sizes(self, height: int, width: int) -> list[int]:
        """Pixels of every layer's output, for images of this size: a max-pool drops an odd row, a stride keeps it."""
        sizes = []
        for _ in self.layers:
            height, width = (side // 2 if self.pooling == "max" else -(-side // 2) for side in (height, width))
            sizes.append(height * width)
        return sizes


class AlgorithmConfig(Frozen):
    """The algorithm, and its inner loop in training; regimes without one only use it in a test of the linear head."""

    name: str = "maml"
    inner_lr: PositiveFloat | Annotated[tuple[PositiveFloat, ...], Field(strict=False)] = 0.4
    """On the *mean* cross-entropy of the support set (the original code sums over ways); one, or one a layer."""
    inner_steps: int = Field(1, ge=1, le=1000)
    frozen_layers: Layers = 0
    """Layers without inner update in training: the first n body layers, or names. Only MAML's are chosen."""
    first_order: bool = False

    @field_validator("name")
    @classmethod
    def _known(cls, name: str) -> str:
        lookup("algorithm", ALGORITHMS, name)
        return name


class TrainingConfig(Frozen):
    """The outer loop."""

    iterations: PositiveInt = 500
    meta_batch: PositiveInt = 16
    """Episodes an iteration; multiclass training takes as many images as they have."""
    meta_lr: PositiveFloat = 0.001
    """Adam's."""
    clip: PositiveFloat | None = 10.0
    """Meta-gradients are clipped elementwise to ±clip; null does not clip."""
    validate_every: PositiveInt = 100
    """Iterations between validations; ``iterations`` is a multiple of it."""
    validation_episodes: PositiveInt = 100
    seed: int = Field(0, ge=0, lt=2**63)
    """Of initialisation and training episodes. Validation and test episodes have seeds of their own."""
    tf32: bool = False
    """On CUDA, in training and test: round the inputs of convolutions and matrix products to TF32, which is faster."""
    snapshots: Annotated[tuple[PositiveInt, ...], Field(strict=False)] = ()
    """Iterations after which the weights are kept, for ``evaluation.weights``: multiples of ``validate_every``.

    They change nothing of the training, so they are not in its key. The weights after s iterations are those that a
    training of s iterations ends with, so that is what a snapshot is: the same training, s long, with a record of its
    own. A longer training goes on from it. Hence one that was recorded without snapshots gets them later, and what is
    asked for twice, or before a kill, is there."""

    @model_validator(mode="after")
    def _whole_periods(self) -> TrainingConfig:
        check_periods(self.iterations, self.validate_every, self.snapshots)
        return self


class EvaluationConfig(Frozen):
    """The test. Values left out are as in training."""

    episodes: int = Field(600, ge=2, le=10**6)
    queries: PositiveInt | None = None
    inner_steps: int | None = Field(None, ge=0, le=1000)
    frozen_layers: Layers | None = None
    """Absolute: 0 adapts all layers, even those of a model trained by ANIL. As trained; only the head adapts where the
    training had no inner loop."""
    head: Head | None = None
    """``linear``: the trained N-way head, adapted; where none was trained, the one of the training's initialisation.
    ``nil``: no head; cosine similarity to the support, no inner loop."""
    nil: NilWeights = "softmax"
    """How the NIL head weights the support's labels: by the cosines through a softmax, or by the cosines themselves.
    The paper does not say. Of tests only: training and validation have the softmax."""
    weights: Literal["best", "final"] | PositiveInt = "best"
    """``best`` by validation, ``final``, or those after so many iterations: one of ``training.snapshots``."""
    measure: Measure = "accuracy"
    """What is recorded beside the accuracy. ``similarity``: CCA and CKA of every layer's representation of the query
    set before and after the inner loop, and the distance that its weights move. ``cka``: the same without CCA, which
    needs more points than neurons. ``speed``: ms of a training iteration and of an inference, as often as there are
    episodes. Times are not decided by a config: the record holds those of the first attempt, and its environment."""
    flattening: Flattening = "channels"
    """What the neurons of a convolution are: its ``channels``, every pixel of every image being a point; or every pixel
    of every channel, the ``images`` being the points. Acts where a similarity is measured."""

    @property
    def compares_layers(self) -> bool:
        """Whether layers are compared before and after the inner loop."""
        return self.measure in ("similarity", "cka")


class Between(Frozen):
    """What is compared between different trainings: representations of the test's query sets. No part of a trial."""

    measure: Literal["similarity", "cka"] = "similarity"
    """``similarity``: CCA and CKA of every layer. ``cka``: without CCA, which needs more points than neurons."""
    adapted: bool = False
    """Before the inner loop of each one's test, or after it."""


class TrialConfig(Frozen):
    """One training and one evaluation of it."""

    problem: Literal["few_shot"] = "few_shot"
    dataset: DatasetConfig = DatasetConfig()
    episodes: EpisodesConfig = EpisodesConfig()
    backbone: BackboneConfig = BackboneConfig()
    algorithm: AlgorithmConfig = AlgorithmConfig()
    training: TrainingConfig = TrainingConfig()
    evaluation: EvaluationConfig = EvaluationConfig()

    @model_validator(mode="after")
    def _layers_exist(self) -> TrialConfig:
        for place, layers in (
            ("algorithm.frozen_layers", self.algorithm.frozen_layers),
            ("evaluation.frozen_layers", self.evaluation.frozen_layers),
        ):
            check_layers(place, self.backbone.name, self.backbone.layers, layers)
        check_rates(self.algorithm.inner_lr, self.layers)
        return self

    @model_validator(mode="after")
    def _weights_are_kept(self) -> TrialConfig:
        check_weights(self.evaluation.weights, self.training.snapshots, self.training.iterations)
        return self

    @model_validator(mode="after")
    def _can_be_compared(self) -> TrialConfig:
        if self.evaluation.compares_layers and self.test_head == "nil":
            raise ConfigError(
                f"evaluation.measure: {self.evaluation.measure} compares before and after the inner loop, and the nil "
                "head has none; set evaluation.head: linear, or leave the measure out"
            )
        return self

    @model_validator(mode="after")
    def _can_be_timed(self) -> TrialConfig:
        if self.evaluation.measure == "speed" and self.algorithm_entry.objective == "none":
            raise ConfigError(
                f"evaluation.measure: speed times an iteration of the training, and {self.algorithm.name} trains "
                "nothing; name another algorithm, or leave the measure out"
            )
        return self

    def shortened(self, iterations: int) -> TrialConfig:
        """Of the same training the first ``iterations``, as one of its own."""
        training = self.training.model_copy(update={"iterations": iterations, "snapshots": ()})
        evaluation = self.evaluation.model_copy(update={"weights": "final"})
        return self.model_copy(update={"training": training, "evaluation": evaluation})

    @property
    def source(self) -> str:
        """Name of what its tasks are made from: the dataset."""
        return self.dataset.name

    @property
    def layers(self) -> tuple[str, ...]:
        """All layers that can adapt, input first."""
        return (*self.backbone.layers, HEAD_LAYER)

    @property
    def algorithm_entry(self) -> Algorithm:
        """What the chosen algorithm says of layers and heads."""
        entry: Algorithm = lookup("algorithm", ALGORITHMS, self.algorithm.name)
        return entry

    @property
    def adapted_layers(self) -> tuple[str, ...]:
        """Layers that the inner loop updates in training and validation, input first."""
        frozen = named_layers(self.backbone.layers, self.algorithm.frozen_layers)
        return self.algorithm_entry.adapted_layers(self.backbone.layers, frozen)

    @property
    def inner_lr(self) -> dict[str, float]:
        """Inner learning rate of every layer, input first."""
        return rates_by_layer(self.algorithm.inner_lr, self.layers)

    @property
    def validation_heads(self) -> tuple[Head, ...]:
        """Heads that every validation tries. Only a body that never adapts is trained for a test without head; a
        training without inner loop has no other."""
        if self.algorithm_entry.objective != "adapted":
            return ("nil",)
        return ("linear", "nil") if self.adapted_layers == (HEAD_LAYER,) else ("linear",)

    @property
    def test_head(self) -> Head:
        """The head that predicts in the test."""
        return self.evaluation.head or self.algorithm_entry.head

    @property
    def test_adapted_layers(self) -> tuple[str, ...]:
        """Layers that the inner loop updates in the test; none where the NIL head predicts."""
        if self.test_head == "nil":
            return ()
        if self.evaluation.frozen_layers is None:
            return self.adapted_layers if self.algorithm_entry.objective == "adapted" else (HEAD_LAYER,)
        frozen = named_layers(self.backbone.layers, self.evaluation.frozen_layers)
        return tuple(layer for layer in self.layers if layer not in frozen)

    @property
    def test_inner_steps(self) -> int:
        """Inner steps in the test; 0 where nothing adapts."""
        return steps_of_test(self.test_adapted_layers, self.evaluation.inner_steps, self.algorithm.inner_steps)

    @property
    def test_nil(self) -> NilWeights:
        """The NIL head's weights in the test. With one shot, or without that head, they make no difference."""
        acts = self.test_head == "nil" and self.episodes.shots > 1
        return self.evaluation.nil if acts else "softmax"

    @property
    def test_queries(self) -> int:
        """Query images a class in the test."""
        return self.evaluation.queries or self.episodes.queries


def flatten(config: Frozen) -> dict[str, Any]:
    """Every leaf of the config as asked, under its dotted path: ``{"algorithm.inner_lr": 0.4, …}``."""
    leaves: dict[str, Any] = {}
    for section, value in config.model_dump(mode="json").items():
        if isinstance(value, dict):
            leaves.update({f"{section}.{key}": leaf for key, leaf in value.items()})
        else:
            leaves[section] = value
    return leaves
