"""NIL: trained as ANIL; at test there is neither head nor inner loop (Raghu et al. 2020, section 5.1)."""

from trainers.algorithms.algorithm import HEAD_LAYER, Algorithm

NIL = Algorithm(name="nil", adapted_layers=lambda body, frozen: (HEAD_LAYER,), head="nil")
