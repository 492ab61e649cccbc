"""Adaptation of a policy to its tasks by policy gradients, and the derivative of what it ends in, both ways.

A step moves the parameters by the gradient of the mean of −log π · advantage over the steps of a task's own
trajectories (REINFORCE; Williams 1992), for all tasks at once and in closed form (``trainers.rl.perceptron``). The
derivative of a chain of such steps by where it starts is a product of matrices 1 − rate · Hessian; it is applied to a
direction, or its transpose to a gradient.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from trainers.algorithms.algorithm import HEAD_LAYER
from trainers.backbones import Params
from trainers.rl import perceptron
from trainers.rl.config import RLConfig
from trainers.rl.policy import LOG_STD, Likelihood, std_gate
from trainers.rl.sampling import Trajectories

STEPS_AT_ONCE = 4096
"""Of environments, on a CPU, whatever the number of tasks. In float32 the last bits depend on it, so changing it
changes the versions of trainer and evaluation."""


@dataclass(frozen=True)
class Experience:
    """What policies did on their tasks: the trajectories of a task one after the other."""

    observations: Tensor
    """[tasks, steps, size]"""
    actions: Tensor
    """[tasks, steps, size]"""
    advantages: Tensor
    """[tasks, steps]"""
    weights: Tensor
    """[tasks, steps]: 0 after the end of an episode, otherwise 1 / the steps of the task that are before one."""

    @classmethod
    def of(cls, trajectories: Trajectories, advantages: Tensor, device: str) -> Experience:
        """That of trajectories, with the advantages of their actions [tasks, trajectories, time]."""
        weights = trajectories.alive / trajectories.alive.sum((1, 2), keepdim=True)
        parts = (trajectories.observations, trajectories.actions, advantages, weights)
        return cls(*(part.flatten(1, 2).to(device) for part in parts))

    def split(self) -> list[Experience]:
        """The same by groups of tasks: on a CPU so few that what a layer gives for them stays in its caches."""
        tasks, steps = self.weights.shape
        together = max(1, STEPS_AT_ONCE // steps) if self.weights.device.type == "cpu" else tasks
        parts = (self.observations, self.actions, self.advantages, self.weights)
        return [Experience(*part) for part in zip(*(torch.split(part, together) for part in parts), strict=True)]


@dataclass(frozen=True)
class InnerLoop:
    """θ ← θ − inner_lr · ∇ L(θ) on some layers, some times (Finn et al. 2017, algorithm 3)."""

    layers: tuple[str, ...]
    """All layers of the policy, input first."""
    adapted: tuple[str, ...]
    """Those of them that adapt."""
    rates: Mapping[str, float]
    """Step size of every parameter that adapts, by its name."""
    steps: int
    """0 or more."""
    second_order: bool = True
    """Whether derivatives go through the steps; otherwise they are constants (first-order MAML)."""

    @classmethod
    def of_training(cls, config: RLConfig) -> InnerLoop:
        """The inner loop of a config's training and validation."""
        steps = config.algorithm.inner_steps if config.adapted_layers else 0
        return cls._of(config, config.adapted_layers, steps)

    @classmethod
    def of_test(cls, config: RLConfig) -> InnerLoop:
        """The inner loop of a config's test."""
        return cls._of(config, config.test_adapted_layers, config.test_inner_steps)

    @classmethod
    def _of(cls, config: RLConfig, adapted: tuple[str, ...], steps: int) -> InnerLoop:
        rates = {f"{layer}.{kind}": config.inner_lr[layer] for layer in adapted for kind in ("weight", "bias")}
        if config.policy.adapt_std and HEAD_LAYER in adapted:
            rates[LOG_STD] = config.inner_lr[HEAD_LAYER]
        return cls(config.layers, adapted, rates, steps, not config.algorithm.first_order)


@dataclass(frozen=True)
class InnerStep:
    """One step of the inner loop, and what its derivatives need."""

    loop: InnerLoop
    params: Params
    """Before the step."""
    weights: Tensor
    """[tasks, steps]: of −log π in the loss."""
    trace: perceptron.Trace
    likelihood: Likelihood
    slopes: Mapping[str, Tensor]

    @classmethod
    def at(cls, loop: InnerLoop, params: Params, experience: Experience) -> InnerStep:
        """The step from ``params``, which are shared by the tasks or each task's own."""
        trace = perceptron.forward(loop.layers, params, experience.observations)
        likelihood = Likelihood.of(params, trace.output, experience.actions)
        weights = experience.advantages * experience.weights
        by_mean, _ = likelihood.slopes(weights)
        slopes = perceptron.slopes(loop.layers, params, trace, by_mean, loop.adapted[0])
        return cls(loop, params, weights, trace, likelihood, slopes)

    def result(self) -> dict[str, Tensor]:
        """The parameters after it: a task's own where they adapt."""
        gradient = perceptron.gradient(self.trace, self.slopes, self.loop.adapted, self.loop.adapted)
        if LOG_STD in self.loop.rates:
            gradient[LOG_STD] = self.likelihood.slopes(self.weights)[1] * std_gate(self.params)
        return stepped(self.params, self.loop, gradient)

    def hessian(self, direction: Params, wanted: Sequence[str], per_task: Sequence[str]) -> dict[str, Tensor]:
        """The Hessian of the loss times a direction, for the parameters of the ``wanted`` layers; summed over tasks
        but for those in ``per_task``."""
        layers, gate = self.loop.layers, std_gate(self.params)
        moved = perceptron.tangent(layers, self.params, self.trace, direction)
        of_std = _as_log_std(direction[LOG_STD] * gate) if LOG_STD in direction else None
        by_mean, by_std = self.likelihood.slopes_tangent(self.weights, moved.output, of_std)
        found = perceptron.gradient_tangent(
            layers, self.params, self.trace, self.slopes, moved, direction, by_mean, wanted, per_task
        )
        if HEAD_LAYER in wanted:
            own = HEAD_LAYER in per_task and LOG_STD in self.loop.rates
            found[LOG_STD] = (by_std if own else by_std.sum(0)) * gate
        return found


def stepped(params: Params, loop: InnerLoop, change: Params) -> dict[str, Tensor]:
    """params − rate · change, for those that adapt."""
    return {
        name: value - loop.rates[name] * change[name] if name in loop.rates else value for name, value in params.items()
    }


def one_step(loop: InnerLoop, params: Params, experience: Experience) -> Params:
    """The parameters after one step of the inner loop; nothing is kept for derivatives."""
    found, first = [], 0
    for part in experience.split():
        tasks = slice(first, first := first + len(part.weights))
        own = {name: value[tasks] if is_own(name, value) else value for name, value in params.items()}
        found.append(InnerStep.at(loop, own, part).result())
    return {
        name: torch.cat([its[name] for its in found]) if name in loop.rates else value for name, value in params.items()
    }


def adapt(loop: InnerLoop, params: Params, experience: Sequence[Experience]) -> tuple[list[InnerStep], Params]:
    """The steps of the inner loop from meta-parameters, one for each experience, and the parameters after them."""
    steps = []
    for its in experience:
        steps.append(InnerStep.at(loop, params, its))
        params = steps[-1].result()
    return steps, params


def pushed(steps: Sequence[InnerStep], direction: Params) -> Params:
    """How the adapted parameters move with the meta-parameters: d θ_m / d θ · direction."""
    for step in steps:
        if step.loop.second_order:
            change = step.hessian(direction, step.loop.adapted, step.loop.adapted)
            direction = stepped(direction, step.loop, change)
    return direction


def pulled(steps: Sequence[InnerStep], gradient: Params) -> dict[str, Tensor]:
    """The gradient by the meta-parameters, given that by the adapted ones: (d θ_m / d θ)ᵀ · gradient, summed over
    tasks; ``gradient`` has each task's own for layers that adapt, and the sum for the others."""
    found = dict(gradient)
    for number, step in reversed(list(enumerate(steps))):
        if not step.loop.second_order:
            return {name: value.sum(0) if name in step.loop.rates else value for name, value in found.items()}
        scaled = {name: rate * found[name] for name, rate in step.loop.rates.items()}
        per_task = step.loop.adapted if number else ()
        change = step.hessian(scaled, step.loop.layers, per_task)
        for name, value in change.items():
            known = found[name]
            found[name] = (known.sum(0) if known.dim() > value.dim() else known) - value
    return found


def is_own(name: str, value: Tensor) -> bool:
    """Whether a parameter is each task's own, so that its first dimension are tasks."""
    return value.dim() > (2 if name.endswith(".weight") else 1)


def _as_log_std(value: Tensor) -> Tensor:
    return value.view(-1, 1, value.shape[-1])
