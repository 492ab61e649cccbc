"""ANIL: only the head adapts, in training and in testing (Raghu et al. 2020, section 4)."""

from trainers.algorithms.algorithm import HEAD_LAYER, Algorithm

ANIL = Algorithm(name="anil", adapted_layers=lambda body, frozen: (HEAD_LAYER,))
