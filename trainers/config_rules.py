"""Rules that the configs of both problems obey, few-shot learning and reinforcement learning."""

from __future__ import annotations

from collections.abc import Sequence

from trainers.algorithms.algorithm import HEAD_LAYER
from trainers.errors import ConfigError
from trainers.registry import nearest


def check_periods(iterations: int, validate_every: int, snapshots: Sequence[int]) -> None:
    """Refuses a training that does not end with a validation, and snapshots elsewhere than at one, or out of order."""
    if iterations % validate_every:
        raise ConfigError(f"iterations must be a multiple of validate_every, got {iterations} and {validate_every}")
    for before, step in zip((0, *snapshots), snapshots, strict=False):
        if step % validate_every or step > iterations:
            raise ConfigError(
                f"snapshots: must be multiples of validate_every = {validate_every} up to iterations = "
                f"{iterations}, got {step}"
            )
        if step <= before:
            raise ConfigError(f"snapshots: must increase, got {step} after {before}")


def check_layers(place: str, network: str, body: Sequence[str], layers: int | Sequence[str] | None) -> None:
    """Refuses more layers than a network's body has, and names that it does not have; the head can be named, too."""
    if isinstance(layers, int) and layers > len(body):
        raise ConfigError(f"{place}: {network} has {len(body)} body layers, got {layers}")
    for layer in () if layers is None or isinstance(layers, int) else layers:
        if layer not in (*body, HEAD_LAYER):
            raise ConfigError(f"{place}: unknown layer {layer!r}; {nearest(layer, (*body, HEAD_LAYER))}")


def check_rates(rates: float | Sequence[float], layers: Sequence[str]) -> None:
    """Refuses inner learning rates by layer that are not as many as there are layers."""
    if isinstance(rates, Sequence) and len(rates) != len(layers):
        raise ConfigError(
            f"algorithm.inner_lr: one value, or one for each of {', '.join(layers)}, got {len(rates)} values"
        )


def named_layers(body: Sequence[str], layers: int | Sequence[str]) -> frozenset[str]:
    """Layers by name, given as such or as the first n of a network's body."""
    return frozenset(body[:layers] if isinstance(layers, int) else layers)


def rates_by_layer(rates: float | Sequence[float], layers: Sequence[str]) -> dict[str, float]:
    """Inner learning rate of every layer, given one, or one for each."""
    return dict(zip(layers, rates if isinstance(rates, Sequence) else [rates] * len(layers), strict=True))


def steps_of_test(adapted: Sequence[str], asked: int | None, of_training: int) -> int:
    """Inner steps of a test: as in training where none are asked for, 0 where nothing adapts."""
    if not adapted:
        return 0
    return of_training if asked is None else asked


def check_weights(asked: str | int, snapshots: Sequence[int], iterations: int) -> None:
    """Refuses weights of an iteration after which none are kept."""
    kept = (*snapshots, iterations)
    if isinstance(asked, int) and asked not in kept:
        known = ", ".join(map(str, kept))
        raise ConfigError(
            f"evaluation.weights: no snapshot is kept at iteration {asked}, only at {known}; add it to "
            "training.snapshots"
        )
