"""A small home with every kind of record that a sweep leaves, made without a training."""

from __future__ import annotations

from pathlib import Path

from miniature import folder as class_folders
from miniature import write_folder

from orchestrator.attempt_record import record_lost
from orchestrator.data import make_dataset
from orchestrator.failure import Failure
from orchestrator.grid import expand
from orchestrator.home import open_home
from orchestrator.record import SweepRecord
from orchestrator.search.proposals import Proposal
from orchestrator.single import run_single
from orchestrator.spec_file import load_spec
from orchestrator.store import Store, keys_of
from trainers.datasets.image_file import open_image_file

TRIAL = """\
trial:
  dataset: {name: folder.birds}
  episodes: {ways: 2, shots: 1, queries: 1}
  backbone: {width: 2, pooling: stride}
  training: {iterations: 4, validate_every: 2, meta_batch: 1, validation_episodes: 2, snapshots: [2]}
  evaluation: {episodes: 4}
"""
SEARCH = TRIAL + "search:\n  trials: 3\n  space:\n    algorithm.inner_lr: {uniform: [0.1, 1.0]}\n"
GRID = TRIAL + "grid:\n  test: {evaluation.frozen_layers: [0, 4]}\n"


def make_home(folder: Path) -> Path:
    """A home with imported images, a search of three trials (the last one diverged) and a grid of two cells; beside it
    the files of both, and the images in ``birds``."""
    home, source = folder / "home", write_folder(folder / "birds", class_folders())
    data = make_dataset(home, "folder.birds", source, lambda done, total: None)
    fingerprint = open_image_file(data).fingerprint
    for name, text in {"search": SEARCH, "grid": GRID}.items():
        path = folder / f"{name}.yaml"
        path.write_text(text)
        spec = load_spec(path)
        record = SweepRecord(open_home(str(home)), name)
        record.put_spec(spec, {"folder.birds": fingerprint})
        if spec.search is not None:
            proposed = [Proposal(number, {"algorithm.inner_lr": 0.2 + number / 10}, "told") for number in range(3)]
            configs = [record.put_proposal(proposal).config(spec.trial) for proposal in proposed]
            key = keys_of(configs.pop(), fingerprint).training
            store = Store(record.home)
            diverged = Failure("diverged", "the loss is not finite")
            record_lost(store, key, (), {"sweep": name, "number": 2, "run": "r"}, diverged)
            store.put_failure(key, "a", "the loss is not finite")
        else:
            configs = [point.config for point in expand(spec)]
        for config in configs:
            run_single(config, str(home), lambda done, total: None, lambda line: None)
        record.begin_run()
        record.home.put_json(f"sweeps/{name}/tracking.json", {"uri": None, "synced": False})
    return home
