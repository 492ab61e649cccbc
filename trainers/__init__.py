"""One trial of a meta-learning study: training by MAML, ANIL or NIL, and its tests. Knows nothing of a cluster."""
