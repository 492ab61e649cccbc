"""The algorithms: one file each, one line here."""

ALGORITHMS = {
    "maml": "trainers.algorithms.maml:MAML",
    "anil": "trainers.algorithms.anil:ANIL",
    "nil": "trainers.algorithms.nil:NIL",
    "boil": "trainers.algorithms.boil:BOIL",
    "nil_training": "trainers.algorithms.nil_training:NILTraining",
    "multitask": "trainers.algorithms.multitask:Multitask",
    "multiclass": "trainers.algorithms.multiclass:Multiclass",
    "random": "trainers.algorithms.random:Random",
}
