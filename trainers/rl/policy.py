"""The Gaussian policy: a perceptron gives the mean of the actions, a vector of its own their standard deviation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from trainers.algorithms.algorithm import HEAD_LAYER
from trainers.backbones import Params, uniform
from trainers.rl.config import PolicyConfig
from trainers.rl.perceptron import forward

LOG_STD = f"{HEAD_LAYER}.log_std"
"""Logarithm of the standard deviation, [actions], or [tasks, actions] where it has adapted."""

MIN_LOG_STD = math.log(1e-6)
"""A standard deviation does not fall below this one; nor does it then learn."""


def init(config: PolicyConfig, observation_size: int, action_size: int, seed: int) -> dict[str, Tensor]:
    """Parameters as a function of the seed: float32 on the CPU, in layer order. Glorot-uniform weights, zero biases."""
    generator = torch.Generator().manual_seed(seed)
    params: dict[str, Tensor] = {}
    sizes = (observation_size, *config.hidden, action_size)
    for layer, inputs, outputs in zip((*config.layers, HEAD_LAYER), sizes, sizes[1:], strict=False):
        params[f"{layer}.weight"] = uniform((outputs, inputs), math.sqrt(6.0 / (inputs + outputs)), generator)
        params[f"{layer}.bias"] = torch.zeros(outputs)
    params[LOG_STD] = torch.full((action_size,), math.log(config.initial_std))
    return params


def device_of(params: Params) -> str:
    """Where a policy calculates."""
    return str(next(iter(params.values())).device)


def log_std(params: Params) -> Tensor:
    """[tasks or 1, 1, actions], as used."""
    value = params[LOG_STD].clamp(min=MIN_LOG_STD)
    return value.view(-1, 1, value.shape[-1])


def std_gate(params: Params) -> Tensor:
    """1 where the standard deviation moves with its parameter, 0 where it is at its minimum."""
    return (params[LOG_STD] > MIN_LOG_STD).to(params[LOG_STD].dtype)


def act(layers: Sequence[str], params: Params, observations: Tensor, noise: Tensor) -> Tensor:
    """Actions of observations [tasks, n, size], with standard normal noise of the actions' shape."""
    return forward(layers, params, observations).output + log_std(params).exp() * noise


@dataclass(frozen=True)
class Likelihood:
    """The density of actions [tasks, n, size] under a policy, and what its derivatives need."""

    log_density: Tensor
    """[tasks, n]"""
    residual: Tensor
    """(action − mean) / standard deviation."""
    log_std: Tensor

    @classmethod
    def of(cls, params: Params, mean: Tensor, actions: Tensor) -> Likelihood:
        """That of a policy whose perceptron gave ``mean``."""
        spread = log_std(params)
        residual = (actions - mean) * (-spread).exp()
        constant = 0.5 * math.log(2 * math.pi) * actions.shape[-1]
        return cls(-(0.5 * residual.square() + spread).sum(-1) - constant, residual, spread)

    def slopes(self, weights: Tensor) -> tuple[Tensor, Tensor]:
        """Derivative of Σ −log density · weight by mean [tasks, n, actions] and log-std [tasks, actions].

        ``weights`` are [tasks, n].
        """
        weighted = weights[..., None]
        by_mean = -weighted * self.residual * (-self.log_std).exp()
        return by_mean, (weighted * (1 - self.residual.square())).sum(1)

    def slopes_tangent(self, weights: Tensor, mean: Tensor, log_std: Tensor | None) -> tuple[Tensor, Tensor]:
        """How ``slopes`` move with the mean by ``mean``, and the log-std by ``log_std`` [tasks or 1, 1, actions]."""
        weighted, scale = weights[..., None], (-self.log_std).exp()
        by_mean = weighted * mean * scale.square()
        by_std = 2 * weighted * self.residual * mean * scale
        if log_std is not None:
            by_mean = by_mean + 2 * weighted * self.residual * scale * log_std
            by_std = by_std + 2 * weighted * self.residual.square() * log_std
        return by_mean, by_std.sum(1)


def kl_divergence(mean: Tensor, log_std: Tensor, new_mean: Tensor, new_log_std: Tensor) -> Tensor:
    """KL(old ‖ new) of Gaussians with independent actions: [tasks, n]."""
    squares = (2 * log_std).exp() + (mean - new_mean).square()
    return (new_log_std - log_std + 0.5 * squares * (-2 * new_log_std).exp() - 0.5).sum(-1)
