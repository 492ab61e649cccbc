"""BOIL: the body adapts and the head does not, in training and in testing (Oh et al. 2021); the opposite of ANIL."""

from trainers.algorithms.algorithm import Algorithm

BOIL = Algorithm(name="boil", adapted_layers=lambda body, frozen: tuple(layer for layer in body if layer not in frozen))
