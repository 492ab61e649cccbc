"""How near the importance of parameters comes to the truth, and how often its intervals hold it.

Searches with random points and a known function of them, whose shares follow from sums over a grid.

python benchmarks/importance.py         two minutes; --searches for patience, --trials to choose
"""

from __future__ import annotations

import argparse
import itertools
import time
from collections.abc import Mapping
from typing import Any

import numpy as np

from orchestrator.insight.importance import Importance, importance
from orchestrator.space import Parameter, Space

SPACE: Space = {
    "algorithm.name": Parameter(choice=("maml", "anil", "boil")),
    "algorithm.inner_lr": Parameter(loguniform=(0.01, 1.0)),
    "algorithm.inner_steps": Parameter(int=(1, 5)),
    "algorithm.frozen_layers": Parameter(int=(0, 4), when={"algorithm.name": "maml"}),
    "training.meta_lr": Parameter(loguniform=(1e-4, 1e-2)),
    "training.clip": Parameter(uniform=(1.0, 9.0)),
}
SHOWN = ("algorithm.inner_lr", "algorithm.name", "training.meta_lr", "algorithm.frozen_layers", "training.clip")
PAIR = ("algorithm.name", "algorithm.inner_lr")
NOISE = 0.02


def accuracy(point: Mapping[str, Any]) -> float:
    """A rate that is too low costs a lot, most for one algorithm; the outer rate has its best in the middle."""
    low = max(0.0, -0.5 - np.log10(point["algorithm.inner_lr"])) * (0.2 if point["algorithm.name"] == "boil" else 0.1)
    frozen = 0.02 * point["algorithm.frozen_layers"] if point["algorithm.name"] == "maml" else 0.0
    return float(0.9 - low - frozen - 0.05 * abs(np.log10(point["training.meta_lr"]) + 3))


def exact_shares() -> dict[Any, float]:
    """First-order shares, and that of ``PAIR`` beyond them, from a full grid of the noiseless function."""
    middles = (np.arange(24) + 0.5) / 24
    values = {
        "algorithm.name": ["maml", "anil", "boil"],
        "algorithm.inner_lr": (10 ** (-2 + 2 * middles)).tolist(),
        "algorithm.frozen_layers": [0, 1, 2, 3, 4],
        "training.meta_lr": (10 ** (-4 + 2 * middles)).tolist(),
    }
    paths = list(values)
    table = np.array([accuracy(dict(zip(paths, point, strict=True))) for point in itertools.product(*values.values())])
    table = table.reshape([len(its) for its in values.values()])

    def closed(kept: set[str]) -> float:
        return float(table.mean(tuple(k for k, path in enumerate(paths) if path not in kept)).var() / table.var())

    found: dict[Any, float] = {path: closed({path}) if path in values else 0.0 for path in SHOWN}
    return found | {PAIR: closed(set(PAIR)) - sum(closed({path}) for path in PAIR)}


def drawn(count: int, generator: np.random.Generator) -> list[dict[str, Any]]:
    """Random points."""
    points = []
    for _ in range(count):
        point = {
            "algorithm.name": ("maml", "anil", "boil")[generator.integers(3)],
            "algorithm.inner_lr": float(10 ** generator.uniform(-2, 0)),
            "algorithm.inner_steps": int(generator.integers(1, 6)),
            "training.meta_lr": float(10 ** generator.uniform(-4, -2)),
            "training.clip": float(generator.uniform(1, 9)),
        }
        if point["algorithm.name"] == "maml":
            point["algorithm.frozen_layers"] = int(generator.integers(0, 5))
        points.append(point)
    return points


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--searches", type=int, default=12, help="of each size")
    parser.add_argument("--trials", type=int, nargs="+", default=[30, 100, 500])
    asked = parser.parse_args()
    exact = exact_shares()
    headings = [path.rpartition(".")[2] if path != "algorithm.name" else "algorithm" for path in SHOWN]
    print("| trials | told | s | skill |", *(f"{name} |" for name in (*headings, "algorithm × inner_lr")))
    print(f"|{'---|' * (5 + len(SHOWN))}")
    print("| exact | | | |", *(f"{100 * exact[path]:.1f} |" for path in (*SHOWN, PAIR)))
    for trials in asked.trials:
        found, begun = [], time.process_time()
        for search in range(asked.searches):
            generator = np.random.default_rng([trials, search])
            points = drawn(trials, generator)
            values = [accuracy(point) + NOISE * generator.normal() for point in points]
            told = importance(SPACE, points, values)
            if isinstance(told, Importance):
                found.append(told)
        seconds = (time.process_time() - begun) / asked.searches
        cells = []
        for path in (*SHOWN, PAIR):
            shares = [told.pairs[PAIR] if path == PAIR else told.alone[path] for told in found]
            mean = float(np.mean([share.value for share in shares]))
            held = sum(share.low <= exact[path] <= share.high for share in shares) / len(shares)
            cells.append(f"{100 * mean:.1f} ({100 * held:.0f}) |")
        skill = np.mean([told.skill for told in found])
        print(f"| {trials} | {len(found)} of {asked.searches} | {seconds:.1f} | {skill:.2f} |", *cells, flush=True)


if __name__ == "__main__":
    main()
