"""Random features: the body stays as it was initialised, and nothing is trained (Raghu et al. 2020, Table 5)."""

from trainers.algorithms.algorithm import Algorithm, no_layers

Random = Algorithm(name="random", adapted_layers=no_layers, head="nil", objective="none")
