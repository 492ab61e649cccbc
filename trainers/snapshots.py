"""Weights and the state of a training as self-contained bytes: safetensors, with a digest of the content inside.

The same training gives the same bytes: no times, host names or ids are in them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from trainers.backbones import Params
from trainers.errors import MetaSweepError

HEADER = "metasweep"
"""The only key of the safetensors metadata: several would be written in an order that differs from run to run."""


class DamagedSnapshot(MetaSweepError):
    """Bytes that are not a whole snapshot."""


@dataclass(frozen=True)
class Validation:
    """One point of a training's curve. Accuracies are fractions."""

    iteration: int
    train_loss: float
    """Mean loss of the iterations since the validation before: on queries, or on images in multiclass training; NaN
    where nothing is trained."""
    train_accuracy: float
    """Of the same images."""
    validation_loss: float
    """Of the linear head; of the NIL head where only that one validates."""
    validation_accuracy: dict[str, float]
    """By head; of another problem than few-shot learning its score, see ``trainers.problem``."""
    others: dict[str, float] = field(default_factory=dict)
    """What else was measured, by name; left out of files where there is nothing."""

    def plain(self) -> dict[str, Any]:
        """As JSON."""
        return {name: value for name, value in asdict(self).items() if name != "others" or value}


@dataclass(frozen=True)
class Weights:
    """The parameters of a network after some iteration."""

    iteration: int
    params: Params = field(repr=False)

    def to_bytes(self) -> bytes:
        """One safetensors file."""
        return _encode(dict(self.params), {"iteration": self.iteration})

    @classmethod
    def from_bytes(cls, data: bytes) -> Weights:
        """The inverse of ``to_bytes``.

        Raises:
            DamagedSnapshot: cut off, changed, or something else.
        """
        tensors, header = _decode(data)
        return cls(header["iteration"], tensors)


@dataclass(frozen=True)
class Progress:
    """All that a training needs to go on from an iteration, and its whole curve."""

    iteration: int
    params: Params
    moments: Params
    """Adam's, see ``Adam.moments``."""
    best: Mapping[str, Weights]
    """By head: weights of the best validation so far (the first one, if several are equal); empty before the first."""
    curve: tuple[Validation, ...] = ()
    flops: int = 0
    """Counted floating-point operations of one iteration's meta-gradient."""
    losses: tuple[float, ...] = ()
    """Training loss of each iteration since the last validation, in order: the next point of the curve is made of
    them."""
    accuracies: tuple[float, ...] = ()
    """Training accuracy of the same iterations."""
    steps: tuple[float, ...] = ()
    """Environment steps of the same iterations, where there are environments."""

    @property
    def validated(self) -> bool:
        """Whether the last iteration ended in a validation."""
        return bool(self.curve) and self.curve[-1].iteration == self.iteration

    def to_bytes(self) -> bytes:
        """One safetensors file."""
        by_step = {weights.iteration: weights.params for weights in self.best.values()} | {self.iteration: self.params}
        tensors = {f"{step}/{name}": value for step, params in by_step.items() for name, value in params.items()}
        tensors |= {f"adam/{name}": value for name, value in self.moments.items()}
        if self.losses:  # left out at a validation, as in files that know no other moment
            names = ("losses", "accuracies", "steps") if self.steps else ("losses", "accuracies")
            tensors |= {f"since/{name}": _float64(getattr(self, name)) for name in names}
        header = {
            "iteration": self.iteration,
            "best": {head: weights.iteration for head, weights in self.best.items()},
            "curve": [point.plain() for point in self.curve],
            "flops": self.flops,
        }
        return _encode(tensors, header, by_itself=True)

    @classmethod
    def from_bytes(cls, data: bytes) -> Progress:
        """The inverse of ``to_bytes``.

        Raises:
            DamagedSnapshot: cut off, changed, or something else.
        """
        tensors, header = _decode(data)
        best = {head: Weights(step, _part(tensors, str(step))) for head, step in header["best"].items()}
        curve = tuple(Validation(**point) for point in header["curve"])
        params, moments = _part(tensors, str(header["iteration"])), _part(tensors, "adam")
        since = {name: tuple(value.tolist()) for name, value in _part(tensors, "since").items()}
        return cls(header["iteration"], params, moments, best, curve, header["flops"], **since)


def _float64(values: tuple[float, ...]) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def _encode(tensors: Mapping[str, Tensor], header: dict[str, Any], by_itself: bool = False) -> bytes:
    """One file; where its header is also read ``by_itself``, with a digest of that."""
    on_cpu = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    text = json.dumps(header, sort_keys=True)
    wrapper = {"sha256": _digest(on_cpu, text), "header": text}
    if by_itself:
        wrapper["header_sha256"] = hashlib.sha256(text.encode()).hexdigest()
    return safetensors.torch.save(on_cpu, {HEADER: json.dumps(wrapper)})


def _decode(data: bytes) -> tuple[dict[str, Tensor], dict[str, Any]]:
    try:
        tensors = safetensors.torch.load(data)
        length = int.from_bytes(data[:8], "little")
        wrapper = json.loads(json.loads(data[8 : 8 + length])["__metadata__"][HEADER])
        intact = wrapper["sha256"] == _digest(tensors, wrapper["header"])
        header: dict[str, Any] = json.loads(wrapper["header"])
    except (safetensors.SafetensorError, ValueError, KeyError, TypeError) as error:
        raise DamagedSnapshot(f"not a whole snapshot: {error}") from error
    if not intact:
        raise DamagedSnapshot("the content of a snapshot does not match its digest")
    return tensors, header


def _digest(tensors: Mapping[str, Tensor], header: str) -> str:
    digest = hashlib.sha256(header.encode())
    for name in sorted(tensors):
        digest.update(f"{name}{tuple(tensors[name].shape)}{tensors[name].dtype}".encode())
        digest.update(tensors[name].numpy().tobytes())
    return digest.hexdigest()


def _part(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    start = f"{prefix}/"
    return {name.removeprefix(start): value for name, value in tensors.items() if name.startswith(start)}
