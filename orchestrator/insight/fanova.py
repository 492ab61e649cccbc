"""Functional ANOVA of a regression tree: which share of its variance over a space is due to which parameters.

A function f on a product space with a distribution on each axis is a sum of effects, one of every set of parameters,
and its variance is the sum of theirs (Sobol' 1993; of forests over hyperparameters: Hutter, Hoos and Leyton-Brown
2014). A tree is constant on boxes, so the variances are finite sums over pairs of boxes, and nothing is sampled.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from sklearn.tree import DecisionTreeRegressor

Array = NDArray[np.float64]
RANGE = 0
"""Instead of a number of levels: the axis is the interval [0, 1], uniform."""


@dataclass(frozen=True)
class Effects:
    """Variances over the space, in the unit of the values squared."""

    total: float
    """Of the function itself."""
    alone: Array
    """Of E[f | parameter], [parameters]: first-order effects."""
    pairs: Array
    """Of E[f | both], [parameters, parameters], less what each of the two does alone; 0 on the diagonal."""
    involved: Array
    """[parameters]: all effects in which a parameter has a part, alone or together with others (total effects)."""


def columns(axes: Sequence[int]) -> int:
    """How many columns the points have: one a range, one a level."""
    return sum(levels or 1 for levels in axes)


def tree_effects(tree: DecisionTreeRegressor, axes: Sequence[int]) -> Effects:
    """The effects of what a fitted tree predicts.

    With a_l = value × size of box l, and Q_k(l, m) = the overlap of boxes l and m along axis k by the product of their
    sizes there, Var E[f | U] = Σ_lm a_l a_m Π_{k in U} Q_k(l, m), the values taken from their mean.

    Args:
        tree: fitted on points of ``columns(axes)`` columns.
        axes: of each parameter ``RANGE``, or a number of equally likely levels, each a column that is 1 at that level.
    """
    low, high, values = _boxes(tree, columns(axes))
    sizes, overlaps = _along_axes(low, high, axes)
    volumes = sizes.prod(0)
    weights = (values - volumes @ values) * volumes
    ratios = overlaps / (sizes[:, :, None] * sizes[:, None, :])
    products = np.outer(weights, weights)
    flat = ratios.reshape(len(axes), -1)
    alone = flat @ products.ravel()
    pairs = (flat * products.ravel()) @ flat.T - alone[:, None] - alone
    np.fill_diagonal(pairs, 0.0)
    before, after = _products_before(ratios), _products_before(ratios[::-1])[::-1]
    total = float((before[-1] * ratios[-1] * products).sum())
    involved = total - (before * after).reshape(len(axes), -1) @ products.ravel()
    return Effects(total, alone, pairs, involved)


def _products_before(ratios: Array) -> Array:
    """[k]: the product of ratios 0 … k - 1."""
    return np.cumprod(np.concatenate([np.ones_like(ratios[:1]), ratios[:-1]]), axis=0)


def _boxes(tree: DecisionTreeRegressor, width: int) -> tuple[Array, Array, Array]:
    """Low and high ends [leaves, columns] of the boxes on which the tree is constant, and its values [leaves]."""
    its = tree.tree_
    left, right, feature, threshold = its.children_left, its.children_right, its.feature, its.threshold
    ends = np.zeros((its.node_count, 2, width))
    ends[0, 1] = 1.0
    for node in range(its.node_count):  # parents come before their children
        if left[node] != right[node]:
            ends[left[node]] = ends[right[node]] = ends[node]
            ends[left[node], 1, feature[node]] = ends[right[node], 0, feature[node]] = threshold[node]
    leaves = left == right
    return ends[leaves, 0], ends[leaves, 1], its.value[leaves, 0, 0]


def _along_axes(low: Array, high: Array, axes: Sequence[int]) -> tuple[Array, Array]:
    """Sizes of the boxes along each axis, [axes, boxes], and of the overlaps of any two, [axes, boxes, boxes]."""
    sizes, overlaps, column = [], [], 0
    for levels in axes:
        its = slice(column, column + (levels or 1))
        if levels == RANGE:
            a, b = low[:, column], high[:, column]
            sizes.append(b - a)
            overlaps.append(np.maximum(0.0, np.minimum(b[:, None], b) - np.maximum(a[:, None], a)))
        else:  # a level is in a box where its own column may be 1 and all others may be 0
            must, may = low[:, its] > 0, high[:, its] >= 1
            holds = (may & (must.sum(1, keepdims=True) - must == 0)).astype(np.float64)
            sizes.append(holds.mean(1))
            overlaps.append(holds @ holds.T / levels)
        column = its.stop
    return np.stack(sizes), np.stack(overlaps)
