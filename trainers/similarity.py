"""How alike two representations of the same points are, and how far weights have moved. Calculated in float64.

A representation is a matrix [points, neurons]; both of a pair have the same points in the same order, and may have
different neurons. Scores lie in [0, 1], and neither shifting, rotating nor scaling a representation as a whole changes
them. A representation that is the same at every point has nothing in common with any: its scores are 0.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from trainers.config import Flattening

Activations = Tensor | npt.NDArray[np.floating]

RANK_TOLERANCE = 1e-6
"""Directions with a singular value of less than this share of the largest are none of a representation's. What rounding
to float32 leaves of a neuron that depends on others lies below it: about 1e-7."""

ROUNDING = 1e-12
"""A neuron that varies by less than this share of its value does so by the rounding of its mean alone."""


def flatten(activations: Tensor, flattening: Flattening) -> Tensor:
    """Activations of a layer as [points, neurons].

    Args:
        activations: [images, channels, height, width], or [images, neurons], which stays as it is.
        flattening: ``channels`` are the neurons and every pixel of every image a point; or ``images`` are the points
            and every pixel of every channel a neuron.
    """
    if flattening == "channels" and activations.dim() == 4:
        return activations.permute(0, 2, 3, 1).flatten(0, 2)
    return activations.flatten(1)


def cca(x: Activations, y: Activations) -> float:
    """Mean canonical correlation: the mean of the singular values of QxᵀQy (Raghu et al. 2020, section 3.2).

    Qx and Qy are orthonormal bases of the centred columns, by singular value decomposition; directions below
    ``RANK_TOLERANCE`` are left out, as those of a neuron that never fires. There are as many correlations as the
    smaller of the two ranks. Few points for many neurons raise the score of whatever is compared: with one point more
    than neurons it is 1.

    Raises:
        ValueError: not more points than neurons; other points; numbers that are not finite.
    """
    x, y = _pair(x, y)
    for representation in (x, y):
        points, neurons = representation.shape
        if points <= neurons:
            raise ValueError(f"cca: needs more points than neurons, got {points} points and {neurons} neurons")
    correlations = torch.linalg.svdvals(_basis(x).T @ _basis(y))
    return correlations.clamp(max=1.0).mean().item() if len(correlations) else 0.0


def linear_cka(x: Activations, y: Activations) -> float:
    """Linear CKA: ‖YᵀX‖²_F / (‖XᵀX‖_F ‖YᵀY‖_F) of centred X and Y (Kornblith et al. 2019, section 3).

    Where there are fewer points than neurons, by the same of the Gram matrices: ⟨XXᵀ, YYᵀ⟩ / (‖XXᵀ‖_F ‖YYᵀ‖_F).

    Raises:
        ValueError: other points; numbers that are not finite.
    """
    x, y = (_scaled(one) for one in _pair(x, y))
    if len(x) < max(x.shape[1], y.shape[1]):
        gram_x, gram_y = x @ x.T, y @ y.T
        common = (gram_x * gram_y).sum()
    else:
        gram_x, gram_y = x.T @ x, y.T @ y
        common = (y.T @ x).square().sum()
    alone = gram_x.norm() * gram_y.norm()
    return float((common / alone).clamp(max=1.0)) if alone > 0 else 0.0


def euclidean_distance(before: Mapping[str, Tensor], after: Mapping[str, Tensor]) -> float:
    """‖after − before‖ of all parameters of a layer, as one vector."""
    return _norm({name: after[name].double() - value.double() for name, value in before.items()})


def relative_distance(before: Mapping[str, Tensor], after: Mapping[str, Tensor]) -> float:
    """‖after − before‖ / ‖before‖; 0 where nothing moved."""
    moved = euclidean_distance(before, after)
    return moved / _norm(before) if moved else 0.0


def _norm(params: Mapping[str, Tensor]) -> float:
    # In the order of their names: a file of weights gives them in another one each time, and sums round by order.
    return float(torch.cat([params[name].double().flatten() for name in sorted(params)]).norm())


def _pair(x: Activations, y: Activations) -> tuple[Tensor, Tensor]:
    """Both as float64, each neuron with mean 0."""
    x, y = (torch.as_tensor(one).detach().double() for one in (x, y))
    if x.dim() != 2 or y.dim() != 2 or len(x) != len(y):
        raise ValueError(
            f"needs two matrices [points, neurons] of the same points, got {tuple(x.shape)} and {tuple(y.shape)}"
        )
    if not (x.isfinite().all() and y.isfinite().all()):
        raise ValueError("activations must be finite")
    return _centred(x), _centred(y)


def _centred(x: Tensor) -> Tensor:
    """Minus the mean of each neuron; 0 where that leaves rounding only."""
    centred = x - x.mean(0)
    return centred.where(centred.abs().amax(0) > ROUNDING * x.abs().amax(0), 0.0) if len(x) else x


def _scaled(x: Tensor) -> Tensor:
    """With a largest entry of 1, so that no square over- or underflows."""
    largest = x.abs().max()
    return x / largest if largest > 0 else x


def _basis(x: Tensor) -> Tensor:
    """Orthonormal basis [points, rank] of the columns."""
    basis: Tensor
    basis, values, _ = torch.linalg.svd(x, full_matrices=False)
    return basis[:, values > RANK_TOLERANCE * values[0]] if len(values) else basis
