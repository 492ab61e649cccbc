"""What reads the features: a linear layer, or similarity to the support set."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F  # noqa: N812 - the field's name for it
from torch import Tensor

from trainers.backbones import Params, uniform


def init_linear(feature_size: int, ways: int, generator: torch.Generator) -> dict[str, Tensor]:
    """Glorot-uniform weights [ways, feature_size], zero bias [ways]."""
    bound = math.sqrt(6.0 / (feature_size + ways))
    return {"head.weight": uniform((ways, feature_size), bound, generator), "head.bias": torch.zeros(ways)}


def linear(params: Params, features: Tensor) -> Tensor:
    """Logits [images, ways] of features [images, feature_size]."""
    return F.linear(features, params["head.weight"], params["head.bias"])


def nil(support: Tensor, labels: Tensor, query: Tensor, ways: int) -> Tensor:
    """Class weights […, queries, ways] of the NIL head (Raghu et al. 2020, section 5.1; Vinyals et al. 2016, eq. 1).

    The cosine similarities of a query to the support features, through a softmax, weight the support's labels.

    Args:
        support: features […, support images, feature_size].
        labels: [support images], in 0 … ways − 1.
        query: features […, query images, feature_size].
        ways: number of classes.
    """
    similarity = F.normalize(query, dim=-1) @ F.normalize(support, dim=-1).mT
    return similarity.softmax(dim=-1) @ F.one_hot(labels, ways).to(similarity.dtype)
