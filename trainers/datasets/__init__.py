"""The datasets: one file each, one line here."""

DATASETS = {
    "glyphs": "trainers.datasets.glyphs:GLYPHS",
    "omniglot": "trainers.datasets.omniglot:OMNIGLOT",
}
