"""MAML: every layer adapts, except those asked to stay frozen (Finn et al. 2017, algorithm 1)."""

from trainers.algorithms.algorithm import HEAD_LAYER, Algorithm

MAML = Algorithm(
    name="maml",
    adapted_layers=lambda body, frozen: tuple(layer for layer in (*body, HEAD_LAYER) if layer not in frozen),
)
