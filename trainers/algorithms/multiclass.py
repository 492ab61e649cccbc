"""Multiclass: ordinary classification over all training classes (Raghu et al. 2020, Table 5).

A head of its own, as wide as there are training classes, learns from batches of images (``trainers.image_batches``).
Where episodes rotate their classes, each image of a batch is turned by itself, and its label stays.
The N-way head stays as it was initialised, and is what a test with ``evaluation.head: linear`` starts from.
"""

from trainers.algorithms.algorithm import Algorithm, no_layers

Multiclass = Algorithm(name="multiclass", adapted_layers=no_layers, head="nil", objective="classes")
