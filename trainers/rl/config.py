"""RLConfig: everything that decides the result of one trial of reinforcement learning.

Imports neither torch nor gymnasium: a sweep file is checked in milliseconds. Defaults are those of Deleu's
pytorch-maml-rl where it has them, and never change once released: keys of stored results rest on them.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from trainers.algorithms import ALGORITHMS
from trainers.algorithms.algorithm import HEAD_LAYER, Algorithm
from trainers.config import Frozen, Layers, PositiveFloat, PositiveInt
from trainers.config_rules import (
    check_layers,
    check_periods,
    check_rates,
    check_weights,
    named_layers,
    rates_by_layer,
    steps_of_test,
)
from trainers.errors import ConfigError
from trainers.registry import lookup
from trainers.rl.environments import EnvironmentEntry, entry_of

Fraction = Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)]


class EnvironmentConfig(Frozen):
    """Which family of Markov decision processes the tasks are from."""

    name: str = "navigation_2d"
    horizon: Annotated[int, Field(ge=1, le=10**6)] | None = None
    """Steps after which an episode ends, if it has not before; the environment's usual number where left out."""

    @field_validator("name")
    @classmethod
    def _known(cls, name: str) -> str:
        entry_of(name)
        return name

    @property
    def entry(self) -> EnvironmentEntry:
        """What is known of the environment without importing it."""
        return entry_of(self.name)

    def resolved(self) -> int:
        """The horizon with the environment's usual value filled in."""
        return self.horizon or self.entry.horizon


class PolicyConfig(Frozen):
    """A Gaussian policy: its mean is a perceptron with ReLU, its standard deviation a vector that is learnt."""

    hidden: Annotated[tuple[Annotated[int, Field(ge=1, le=4096)], ...], Field(strict=False, min_length=1)] = (100, 100)
    """Width of each hidden layer, input first."""
    initial_std: PositiveFloat = 1.0
    """Of every action, whatever is observed."""
    adapt_std: bool = False
    """Whether the inner loop moves the standard deviation, too, wherever it moves the head."""

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of the body's layers, input first."""
        return tuple(f"hidden{number}" for number in range(1, len(self.hidden) + 1))


class SamplingConfig(Frozen):
    """What a policy is judged by."""

    trajectories: Annotated[int, Field(ge=1, le=10**5)] = 20
    """Episodes of each task, sampled before every inner step and after the last one."""
    discount: Fraction = 0.99
    gae_lambda: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] = 1.0
    """Of generalised advantage estimation (Schulman et al. 2016): 1 is the discounted sum of rewards less baseline."""


class PolicyAlgorithmConfig(Frozen):
    """The algorithm, and its inner loop in training."""

    name: str = "maml"
    inner_lr: PositiveFloat | Annotated[tuple[PositiveFloat, ...], Field(strict=False)] = 0.1
    """On the mean of −log π · advantage over the steps of a task; one, or one a layer."""
    inner_steps: int = Field(1, ge=1, le=1000)
    frozen_layers: Layers = 0
    """Layers without inner update in training: the first n body layers, or names. Only MAML's are chosen."""
    first_order: bool = False

    @field_validator("name")
    @classmethod
    def _adapts(cls, name: str) -> str:
        entry: Algorithm = lookup("algorithm", ALGORITHMS, name)
        if entry.objective != "adapted" or entry.head != "linear":
            raise ConfigError(f"{name} is for few_shot only; with problem: rl name maml, anil or boil")
        return name


class PolicyTrainingConfig(Frozen):
    """The outer loop: trust-region policy optimisation (Schulman et al. 2015) of the adapted policies."""

    iterations: PositiveInt = 500
    meta_batch: PositiveInt = 40
    """Tasks an iteration."""
    max_kl: PositiveFloat = 0.01
    """Bound of a step: mean KL divergence of the adapted policies after it from those before."""
    cg_iterations: int = Field(10, ge=1, le=1000)
    """Of conjugate gradient, for the direction of a step."""
    damping: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 1e-5
    """Added to the diagonal of the Fisher matrix."""
    line_search_steps: int = Field(15, ge=1, le=1000)
    """Lengths of a step that are tried; where none is good, the policy stays."""
    line_search_ratio: Annotated[float, Field(gt=0, lt=1)] = 0.8
    """Of each length to the one before."""
    validate_every: PositiveInt = 10
    """Iterations between validations; ``iterations`` is a multiple of it."""
    validation_tasks: PositiveInt = 20
    seed: int = Field(0, ge=0, lt=2**63)
    """Of initialisation, training tasks and their trajectories. Validation and test have seeds of their own."""
    snapshots: Annotated[tuple[PositiveInt, ...], Field(strict=False)] = ()
    """Iterations after which the policy is kept, for ``evaluation.weights``: multiples of ``validate_every``.

    They change nothing of the training, so they are not in its key, as with few-shot."""

    @model_validator(mode="after")
    def _whole_periods(self) -> PolicyTrainingConfig:
        check_periods(self.iterations, self.validate_every, self.snapshots)
        return self


class PolicyEvaluationConfig(Frozen):
    """The test. Values left out are as in training."""

    tasks: int = Field(100, ge=2, le=10**6)
    trajectories: Annotated[int, Field(ge=1, le=10**5)] | None = None
    inner_steps: int | None = Field(None, ge=0, le=1000)
    frozen_layers: Layers | None = None
    """Absolute: 0 adapts all layers, even those of a policy trained by ANIL."""
    weights: Literal["best", "final"] | PositiveInt = "best"
    """``best`` by validation, ``final``, or those after so many iterations: one of ``training.snapshots``."""


class RLConfig(Frozen):
    """One training of a policy and one evaluation of it."""

    problem: Literal["rl"] = "rl"
    environment: EnvironmentConfig = EnvironmentConfig()
    policy: PolicyConfig = PolicyConfig()
    sampling: SamplingConfig = SamplingConfig()
    algorithm: PolicyAlgorithmConfig = PolicyAlgorithmConfig()
    training: PolicyTrainingConfig = PolicyTrainingConfig()
    evaluation: PolicyEvaluationConfig = PolicyEvaluationConfig()

    @model_validator(mode="after")
    def _layers_exist(self) -> RLConfig:
        for place, layers in (
            ("algorithm.frozen_layers", self.algorithm.frozen_layers),
            ("evaluation.frozen_layers", self.evaluation.frozen_layers),
        ):
            check_layers(place, "the policy", self.policy.layers, layers)
        check_rates(self.algorithm.inner_lr, self.layers)
        return self

    @model_validator(mode="after")
    def _weights_are_kept(self) -> RLConfig:
        check_weights(self.evaluation.weights, self.training.snapshots, self.training.iterations)
        return self

    def shortened(self, iterations: int) -> RLConfig:
        """Of the same training the first ``iterations``, as one of its own."""
        training = self.training.model_copy(update={"iterations": iterations, "snapshots": ()})
        evaluation = self.evaluation.model_copy(update={"weights": "final"})
        return self.model_copy(update={"training": training, "evaluation": evaluation})

    @property
    def source(self) -> str:
        """Where the tasks are from."""
        return self.environment.name

    @property
    def layers(self) -> tuple[str, ...]:
        """All layers that can adapt, input first."""
        return (*self.policy.layers, HEAD_LAYER)

    @property
    def algorithm_entry(self) -> Algorithm:
        """What the chosen algorithm says of layers."""
        entry: Algorithm = lookup("algorithm", ALGORITHMS, self.algorithm.name)
        return entry

    @property
    def adapted_layers(self) -> tuple[str, ...]:
        """Layers that the inner loop updates in training and validation, input first."""
        frozen = named_layers(self.policy.layers, self.algorithm.frozen_layers)
        return self.algorithm_entry.adapted_layers(self.policy.layers, frozen)

    @property
    def inner_lr(self) -> dict[str, float]:
        """Inner learning rate of every layer, input first."""
        return rates_by_layer(self.algorithm.inner_lr, self.layers)

    @property
    def test_adapted_layers(self) -> tuple[str, ...]:
        """Layers that the inner loop updates in the test."""
        if self.evaluation.frozen_layers is None:
            return self.adapted_layers
        frozen = named_layers(self.policy.layers, self.evaluation.frozen_layers)
        return tuple(layer for layer in self.layers if layer not in frozen)

    @property
    def test_inner_steps(self) -> int:
        """Inner steps in the test; 0 where nothing adapts."""
        return steps_of_test(self.test_adapted_layers, self.evaluation.inner_steps, self.algorithm.inner_steps)

    @property
    def test_trajectories(self) -> int:
        """Episodes of each task in the test, before every inner step and after the last one."""
        return self.evaluation.trajectories or self.sampling.trajectories
