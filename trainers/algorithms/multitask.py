"""Multitask: no inner loop; one N-way head is shared by all tasks (Raghu et al. 2020, Table 5).

The labels of a class are those of its episode, so they differ from task to task. Only the query sets are learned from,
as in MAML without inner steps: the support set does not join.
"""

from trainers.algorithms.algorithm import Algorithm, no_layers

Multitask = Algorithm(name="multitask", adapted_layers=no_layers, head="nil", objective="shared")
