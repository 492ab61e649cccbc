"""How alike two representations of the same points are, and how far weights have moved. Calculated in float64.

A representation is a matrix [points, neurons]; both of a pair have the same points in the same order, and may have
different neurons. Scores lie in [0, 1], and neither shifting, rotating nor scaling a representation as a whole changes
them. A representation that is the same at every point has nothing in common with any: its scores are 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property

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


class Representation:
    """Activations [points, neurons], prepared once for being compared with several others.

    Raises:
        ValueError: no matrix; numbers that are not finite.
    """

    def __init__(self, activations: Activations) -> None:
        matrix = torch.as_tensor(activations).detach().double()
        if matrix.dim() != 2:
            raise ValueError(f"a representation is a matrix [points, neurons], got shape {tuple(matrix.shape)}")
        if not matrix.isfinite().all():
            raise ValueError("activations must be finite")
        self._centred = _centred(matrix)
        self.points, self.neurons = matrix.shape

    @cached_property
    def basis(self) -> Tensor:
        """Orthonormal basis [points, rank] of the centred columns, by singular value decomposition.

        Directions below ``RANK_TOLERANCE`` are left out, as those of a neuron that never fires.
        """
        basis: Tensor
        basis, values, _ = torch.linalg.svd(self._centred, full_matrices=False)
        return basis[:, values > RANK_TOLERANCE * values[0]] if len(values) else basis

    @cached_property
    def scaled(self) -> Tensor:
        """The centred matrix with a largest entry of 1, so that no square over- or underflows."""
        largest = self._centred.abs().max()
        return self._centred / largest if largest > 0 else self._centred

    @cached_property
    def inner_products(self) -> Tensor:
        """XᵀX [neurons, neurons] of the scaled matrix."""
        return self.scaled.T @ self.scaled

    @cached_property
    def gram(self) -> Tensor:
        """XXᵀ [points, points] of the scaled matrix."""
        return self.scaled @ self.scaled.T


def cca(x: Activations | Representation, y: Activations | Representation) -> float:
    """Mean canonical correlation: the mean of the singular values of QxᵀQy (Raghu et al. 2020, section 3.2).

    Qx and Qy are the ``Representation.basis`` of each. There are as many correlations as the smaller of the two ranks.
    Few points for many neurons raise the score of whatever is compared: with one point more than neurons it is 1.

    Raises:
        ValueError: not more points than neurons; other points; numbers that are not finite.
    """
    x, y = _pair(x, y)
    for its in (x, y):
        if its.points <= its.neurons:
            raise ValueError(f"cca: needs more points than neurons, got {its.points} points and {its.neurons} neurons")
    correlations = torch.linalg.svdvals(x.basis.T @ y.basis)
    return correlations.clamp(max=1.0).mean().item() if len(correlations) else 0.0


def linear_cka(x: Activations | Representation, y: Activations | Representation) -> float:
    """Linear CKA: ‖YᵀX‖²_F / (‖XᵀX‖_F ‖YᵀY‖_F) of centred X and Y (Kornblith et al. 2019, section 3).

    Where there are fewer points than neurons, by the same of the Gram matrices: ⟨XXᵀ, YYᵀ⟩ / (‖XXᵀ‖_F ‖YYᵀ‖_F).

    Raises:
        ValueError: other points; numbers that are not finite.
    """
    x, y = _pair(x, y)
    if x.points < max(x.neurons, y.neurons):
        alone = x.gram.norm() * y.gram.norm()
        common = (x.gram * y.gram).sum()
    else:
        alone = x.inner_products.norm() * y.inner_products.norm()
        common = (y.scaled.T @ x.scaled).square().sum()
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


def _pair(x: Activations | Representation, y: Activations | Representation) -> tuple[Representation, Representation]:
    x, y = (one if isinstance(one, Representation) else Representation(one) for one in (x, y))
    if x.points != y.points:
        raise ValueError(f"both must have the same points, got {x.points} and {y.points}")
    return x, y


def _centred(x: Tensor) -> Tensor:
    """Each neuron minus its mean; 0 where that leaves rounding only."""
    centred = x - x.mean(0)
    return centred.where(centred.abs().amax(0) > ROUNDING * x.abs().amax(0), 0.0) if len(x) else x
