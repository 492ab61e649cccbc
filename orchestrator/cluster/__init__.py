"""Where trials run: a Ray cluster, and Tune as nothing but an executor on it. The only importer of ray."""
