"""The outer step: trust-region policy optimisation of the adapted policies (Schulman et al. 2015; Finn et al. 2017).

Minimised is the surrogate, mean over tasks of the mean over steps of −π(a)/π_old(a) · advantage, where π is what the
meta-parameters adapt to on the same inner trajectories, and π_old what they adapted to when the outer trajectories
were sampled. The bound is on the mean of KL(π_old ‖ π) over the same steps. All derivatives are those by the
meta-parameters, through the inner loop. Where π is π_old, the gradient of the KL by mean and log-std is zero, so its
Hessian is Jᵀ F J with the Fisher matrix F of Gaussians and the Jacobian J of the adapted policies.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from trainers.backbones import Params
from trainers.rl import perceptron
from trainers.rl.config import PolicyTrainingConfig
from trainers.rl.inner_loop import Experience, InnerLoop, InnerStep, adapt, pulled, pushed
from trainers.rl.policy import LOG_STD, Likelihood, kl_divergence, std_gate


@dataclass(frozen=True)
class Adapted:
    """Some tasks' adapted policies, where the derivatives are taken."""

    steps: Sequence[InnerStep]
    params: Params
    trace: perceptron.Trace
    likelihood: Likelihood
    outer: Experience
    loop: InnerLoop

    @classmethod
    def of(cls, loop: InnerLoop, params: Params, inner: Sequence[Experience], outer: Experience) -> Adapted:
        """Those that meta-parameters adapt to on the ``inner`` experience."""
        steps, adapted = adapt(loop, params, inner)
        trace = perceptron.forward(loop.layers, adapted, outer.observations)
        return cls(steps, adapted, trace, Likelihood.of(adapted, trace.output, outer.actions), outer, loop)

    def gradient(self) -> dict[str, Tensor]:
        """Of the surrogate, summed over tasks."""
        weights = self.outer.advantages * self.outer.weights
        return self._pulled(*self.likelihood.slopes(weights))

    def fisher_product(self, direction: Params) -> dict[str, Tensor]:
        """The Hessian of the KL divergence, summed over tasks, times a direction."""
        direction = pushed(self.steps, direction)
        gate = std_gate(self.params)
        moved = perceptron.tangent(self.loop.layers, self.params, self.trace, direction).output
        by_mean = self.outer.weights[..., None] * moved * (-2 * self.likelihood.log_std).exp()
        by_std = 2 * direction[LOG_STD] * gate * self.outer.weights.sum(1, keepdim=True)
        return self._pulled(by_mean, by_std)

    def _pulled(self, by_mean: Tensor, by_std: Tensor) -> dict[str, Tensor]:
        """Gradient by the meta-parameters, given those by the adapted policies' mean and log-std [tasks, actions]."""
        layers = self.loop.layers
        own = self.loop.adapted if self.steps else ()
        slopes = perceptron.slopes(layers, self.params, self.trace, by_mean, layers[0])
        gradient = perceptron.gradient(self.trace, slopes, layers, own)
        by_std = by_std * std_gate(self.params)
        gradient[LOG_STD] = by_std if self.steps and LOG_STD in self.loop.rates else by_std.sum(0)
        return pulled(self.steps, gradient)

    def compared(self, old: Adapted) -> tuple[Tensor, Tensor]:
        """Surrogate and KL divergence of these policies to the old ones, each summed over tasks."""
        ratio = (self.likelihood.log_density - old.likelihood.log_density).exp()
        surrogate = -(ratio * old.outer.advantages * old.outer.weights).sum()
        kl = kl_divergence(old.trace.output, old.likelihood.log_std, self.trace.output, self.likelihood.log_std)
        return surrogate, (kl * old.outer.weights).sum()


class OuterObjective:
    """Surrogate and KL divergence of a meta-batch as functions of the meta-parameters, and their derivatives where the
    trajectories were sampled. What is given and taken is one vector of all parameters; means are over tasks."""

    def __init__(self, loop: InnerLoop, params: Params, inner: Sequence[Experience], outer: Experience) -> None:
        """``params`` are the meta-parameters under which the experience was made."""
        self._loop, self._params = loop, params
        self._tasks = len(outer.weights)
        parts = [experience.split() for experience in (*inner, outer)]
        self._parts = [(its[:-1], its[-1]) for its in zip(*parts, strict=True)]
        self._old = [Adapted.of(loop, params, *part) for part in self._parts]

    def gradient(self) -> Tensor:
        """Of the surrogate."""
        return self._mean([old.gradient() for old in self._old])

    def fisher_product(self, vector: Tensor) -> Tensor:
        """The Hessian of the KL divergence times a vector."""
        direction = self.named(vector)
        return self._mean([old.fisher_product(direction) for old in self._old])

    def compared(self, params: Params) -> tuple[float, float]:
        """Surrogate and KL divergence at other meta-parameters."""
        old_ones = params is self._params
        new = self._old if old_ones else [Adapted.of(self._loop, params, *part) for part in self._parts]
        found = [its.compared(old) for its, old in zip(new, self._old, strict=True)]
        surrogate, kl = (torch.stack(values).sum().item() / self._tasks for values in zip(*found, strict=True))
        return surrogate, kl

    def named(self, vector: Tensor) -> dict[str, Tensor]:
        """The parts of a vector by parameter name."""
        parts = torch.split(vector, [value.numel() for value in self._params.values()])
        return {name: part.view_as(value) for (name, value), part in zip(self._params.items(), parts, strict=True)}

    def _mean(self, gradients: Sequence[Params]) -> Tensor:
        vectors = [torch.cat([its[name].flatten() for name in self._params]) for its in gradients]
        return torch.stack(vectors).sum(0) / self._tasks


def conjugate_gradient(product: Callable[[Tensor], Tensor], target: Tensor, iterations: int) -> tuple[Tensor, Tensor]:
    """x with product(x) ≈ target, for a symmetric positive definite product (Hestenes & Stiefel 1952), and
    target − product(x)."""
    x, residual, direction = torch.zeros_like(target), target, target
    square = residual @ residual
    for _ in range(iterations):
        if not square > 1e-10:  # solved, or not a number
            break
        image = product(direction)
        length = square / (direction @ image)
        x, residual = x + length * direction, residual - length * image
        before, square = square, residual @ residual
        direction = residual + square / before * direction
    return x, residual


@dataclass(frozen=True)
class OuterStep:
    """What a step came to."""

    params: Params
    """The new meta-parameters; the old ones where no length of the step was good."""
    surrogate: float
    """Of the new ones; the old ones have minus the mean advantage, about 0."""
    kl: float
    """Of the new ones to the old; 0 where the policy stayed."""


def outer_step(objective: OuterObjective, params: Params, config: PolicyTrainingConfig) -> OuterStep:
    """The natural gradient's direction, as far as the bound on the KL allows, shortened until the surrogate is better
    than before and the bound holds."""
    before, _ = objective.compared(params)
    gradient = objective.gradient()

    def damped(vector: Tensor) -> Tensor:
        return objective.fisher_product(vector) + config.damping * vector

    direction, missing = conjugate_gradient(damped, gradient, config.cg_iterations)
    curvature = (direction @ (gradient - missing)).item()
    if not (math.isfinite(before) and math.isfinite(curvature)):
        return OuterStep(params, math.nan, math.nan)
    length = math.sqrt(2 * config.max_kl / (max(curvature, 0) + 1e-8))
    for number in range(config.line_search_steps):
        step = objective.named(direction * (length * config.line_search_ratio**number))
        tried = {name: value - step[name] for name, value in params.items()}
        surrogate, kl = objective.compared(tried)
        if surrogate < before and kl <= config.max_kl:
            return OuterStep(tried, surrogate, kl)
    return OuterStep(params, before, 0.0)
