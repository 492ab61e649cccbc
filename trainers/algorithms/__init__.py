"""The algorithms: one file each, one line here."""

ALGORITHMS = {
    "maml": "trainers.algorithms.maml:MAML",
    "anil": "trainers.algorithms.anil:ANIL",
    "nil": "trainers.algorithms.nil:NIL",
}
