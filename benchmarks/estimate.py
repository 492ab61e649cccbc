"""What ``estimate_core_s`` says of small trials, beside what they take.

Every trial is run as a sweep runs it, records and all, but in this process: one thread, images of noise in the shape of
its dataset. Times are process CPU time. The estimate is made just before, for each trial by itself.

python benchmarks/estimate.py [--json]           two minutes
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from orchestrator.attempt import attempt_trial
from orchestrator.estimate import estimate_core_s
from orchestrator.home import open_home
from orchestrator.store import Store
from trainers.config import TrialConfig
from trainers.datasets import recipe_of
from trainers.datasets.image_file import PARTS, ImageClass, ImageTable
from trainers.memory import keep_freed_memory

CLASSES, IMAGES_A_CLASS = 20, 20
"""Of each part."""


def trial(
    dataset: str,
    algorithm: dict[str, Any],
    backbone: dict[str, Any],
    episodes: dict[str, int],
    training: tuple[int, int, int, int],
    evaluation: dict[str, Any],
) -> TrialConfig:
    """``training`` is (iterations, meta-batch, iterations between validations, validation episodes)."""
    names = ("iterations", "meta_batch", "validate_every", "validation_episodes")
    return TrialConfig.model_validate(
        {
            "dataset": {"name": dataset},
            "algorithm": algorithm,
            "backbone": backbone,
            "episodes": episodes,
            "training": dict(zip(names, training, strict=True)),
            "evaluation": evaluation,
        }
    )


MAML, MAML5 = {"name": "maml"}, {"name": "maml", "inner_steps": 5}
W64 = {"width": 64, "pooling": "stride"}
TRIALS: dict[str, tuple[TrialConfig, Sequence[dict[str, Any]]]] = {
    "glyphs, MAML 1 step, width 16": (
        trial("glyphs", MAML, {"width": 16}, {}, (200, 4, 50, 30), {"episodes": 200}),
        [{}],
    ),
    "glyphs, MAML 3 steps, many validations": (
        trial("glyphs", {"inner_steps": 3}, {"pooling": "stride"}, {}, (40, 4, 4, 40), {"episodes": 100}),
        [{}],
    ),
    "glyphs, MAML, 5 levels of frozen layers in the test": (
        trial("glyphs", MAML, {"pooling": "stride"}, {}, (40, 4, 20, 20), {"episodes": 200, "inner_steps": 3}),
        [{"frozen_layers": count} for count in range(5)],
    ),
    "omniglot, ANIL, width 64": (
        trial("omniglot", {"name": "anil"}, W64, {"queries": 5}, (60, 8, 20, 50), {"episodes": 200, "queries": 1}),
        [{}],
    ),
    "omniglot, 20-way, MAML 5 steps, width 64": (
        trial("omniglot", MAML5, W64, {"ways": 20, "queries": 1}, (8, 4, 4, 8), {"episodes": 20}),
        [{}],
    ),
    "cifar_fs, NIL, 5-shot": (
        trial("cifar_fs", {"name": "nil"}, {}, {"shots": 5, "queries": 5}, (40, 4, 20, 20), {"episodes": 60}),
        [{}, {"head": "linear"}],
    ),
    "cifar_fs, MAML 5 steps": (
        trial("cifar_fs", MAML5, {}, {"queries": 15}, (20, 4, 10, 20), {"episodes": 40}),
        [{}],
    ),
    "mini_imagenet, ANIL, width 48": (
        trial("mini_imagenet", {"name": "anil"}, {"width": 48}, {"queries": 15}, (6, 4, 3, 5), {"episodes": 10}),
        [{}],
    ),
    "mini_imagenet, MAML 5 steps": (
        trial("mini_imagenet", MAML5, {}, {"queries": 15}, (6, 2, 3, 4), {"episodes": 8, "inner_steps": 10}),
        [{}],
    ),
}
"""A training, and what is changed in its evaluation for every test of it."""


def noise(dataset: str) -> ImageTable:
    """A table in the shape of a dataset."""
    recipe = recipe_of(dataset)
    count = len(PARTS) * CLASSES
    shape = (count * IMAGES_A_CLASS, *recipe.image_shape)
    classes = [ImageClass(f"{index:02d}", "", IMAGES_A_CLASS * index, IMAGES_A_CLASS) for index in range(count)]
    parts = {part: tuple(range(CLASSES * place, CLASSES * (place + 1))) for place, part in enumerate(PARTS)}
    pixels = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    return ImageTable.build(
        dataset, pixels, np.zeros(len(pixels), np.int32), classes, {next(iter(recipe.splits)): parts}
    )


def measured_core_s(configs: Sequence[TrialConfig]) -> float:
    """CPU seconds of an attempt at a training and its evaluations."""
    data = noise(configs[0].dataset.name)
    with tempfile.TemporaryDirectory() as home:
        started = time.process_time()
        events = list(attempt_trial(Store(open_home(home)), configs, data, {}))
        seconds = time.process_time() - started
    assert [event["kind"] for event in events[-len(configs) :]] == ["tested"] * len(configs), events[-1]
    return seconds


def main() -> None:
    """Prints the table, or one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()
    out = sys.stderr if asked.json else sys.stdout
    measured_core_s(
        [trial("glyphs", MAML, {"width": 4}, {}, (2, 1, 1, 2), {"episodes": 2})]
    )  # loads what is loaded late
    print(f"{'':52s} {'estimated':>9s} {'measured':>9s} {'ratio':>6s}", file=out)
    rows = []
    for name, (config, tests) in TRIALS.items():
        its = config.evaluation
        configs = [config.model_copy(update={"evaluation": its.model_copy(update=changes)}) for changes in tests]
        estimated = estimate_core_s([(configs[0], configs)])
        measured = measured_core_s(configs)
        print(f"{name:52s} {estimated:7.1f} s {measured:7.1f} s {estimated / measured:6.2f}", file=out, flush=True)
        rows.append({"trial": name, "estimated_core_s": estimated, "measured_core_s": measured})
    if asked.json:
        print(json.dumps({"trials": rows}))


if __name__ == "__main__":
    main()
