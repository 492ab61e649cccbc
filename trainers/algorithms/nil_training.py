"""NIL training: no head in training either, the loss is that of the NIL head (Raghu et al. 2020, Table 5).

The cosine similarities of a query to the support features, through a softmax without temperature, weight the support's
labels, and the cross-entropy of that prediction is minimised. The linear head stays as it was initialised.
"""

from trainers.algorithms.algorithm import Algorithm, no_layers

NILTraining = Algorithm(name="nil_training", adapted_layers=no_layers, head="nil", objective="nil")
