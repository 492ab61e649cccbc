"""What reads the features: a linear layer, or similarity to the support set."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F  # noqa: N812 - the field's name for it
from torch import Tensor

from trainers.algorithms.algorithm import HEAD_LAYER
from trainers.backbones import Params, uniform
from trainers.config import NilWeights

CLASS_HEAD = "classes"
"""The layer that tells all training classes apart, beside ``head``; only multiclass training has it."""


def init_linear(feature_size: int, ways: int, generator: torch.Generator, layer: str = HEAD_LAYER) -> dict[str, Tensor]:
    """Glorot-uniform weights [ways, feature_size], zero bias [ways]."""
    bound = math.sqrt(6.0 / (feature_size + ways))
    return {f"{layer}.weight": uniform((ways, feature_size), bound, generator), f"{layer}.bias": torch.zeros(ways)}


def linear(params: Params, features: Tensor, layer: str = HEAD_LAYER) -> Tensor:
    """Logits […, images, ways] of features […, images, feature_size]."""
    return F.linear(features, params[f"{layer}.weight"], params[f"{layer}.bias"])


def nil(support: Tensor, labels: Tensor, query: Tensor, ways: int, weights: NilWeights = "softmax") -> Tensor:
    """Class weights […, queries, ways] of the NIL head (Raghu et al. 2020, section 5.1; Vinyals et al. 2016, eq. 1).

    The cosine similarities of a query to the support features weight the support's labels: through a softmax, so that
    the class weights are probabilities, or as they are.

    Args:
        support: features […, support images, feature_size].
        labels: [support images], in 0 … ways − 1.
        query: features […, query images, feature_size].
        ways: number of classes.
        weights: ``softmax`` or ``cosine``.
    """
    similarity = F.normalize(query, dim=-1) @ F.normalize(support, dim=-1).mT
    if weights == "softmax":
        similarity = similarity.softmax(dim=-1)
    return similarity @ F.one_hot(labels, ways).to(similarity.dtype)
