"""What a search proposes, and the samplers that choose it. The only importer of optuna."""
