"""How often the intervals of ``orchestrator.stats`` hold the true value, by simulation, beside those papers print.

python benchmarks/coverage.py           half a minute; --json for programs, --repeats for patience
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from orchestrator.stats import Estimate, Spread, estimate_cell, estimate_difference, seed_pseudo_values, t_quantile

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Setting:
    """Standard deviations in points; ``queries`` makes accuracies of so many query images, else they are normal."""

    seeds: int
    episodes: int
    seed_std: float
    episode_std: float
    residual_std: float
    queries: int = 0

    def cell(self, rng: np.random.Generator, of_episodes: Array | float | None = None) -> Array:
        """A cell [seeds, episodes] of true mean 0.6."""
        shared = rng.normal(0, self.episode_std, self.episodes) if of_episodes is None else of_episodes
        of_seeds = rng.normal(0, self.seed_std, (self.seeds, 1))
        points = of_seeds + shared + rng.normal(0, self.residual_std, (self.seeds, self.episodes))
        accuracies = 0.6 + points / 100
        if self.queries:
            return np.asarray(rng.binomial(self.queries, np.clip(accuracies, 0, 1)) / self.queries)
        return np.asarray(accuracies)


Experiment = Callable[[Setting, np.random.Generator], tuple[Estimate, float]]
"""Draws once: an estimate, and the true value."""


def of_cell(setting: Setting, rng: np.random.Generator) -> tuple[Estimate, float]:
    """The accuracy of one cell."""
    return estimate_cell(setting.cell(rng), unit=""), 0.6


def same_trainings(setting: Setting, rng: np.random.Generator) -> tuple[Estimate, float]:
    """The same weights tested in two ways: the setting is that of the difference."""
    baseline = rng.normal(0.6, 0.08, setting.episodes) + rng.normal(0, 0.005, (setting.seeds, 1))
    changed = baseline + setting.cell(rng) - 0.6
    return estimate_difference(changed, baseline, same_trainings=True, same_episodes=True, comparisons=1), 0.0


def other_trainings(setting: Setting, rng: np.random.Generator) -> tuple[Estimate, float]:
    """Two cells of other trainings on the same episodes; half of the episodes' variance is common to both."""
    common = rng.normal(0, setting.episode_std / math.sqrt(2), setting.episodes)
    a, b = (
        setting.cell(rng, common + rng.normal(0, setting.episode_std / math.sqrt(2), setting.episodes))
        for _ in range(2)
    )
    return estimate_difference(a, b, same_trainings=False, same_episodes=True, comparisons=1), 0.0


def of_pairs(setting: Setting, rng: np.random.Generator) -> tuple[Estimate, float]:
    """A score of every two trainings: each adds its own, and so does the pair, with the standard deviation of seeds."""
    pairs = list(itertools.combinations(range(setting.seeds), 2))
    own, of_pair = rng.normal(0, setting.seed_std, setting.seeds), rng.normal(0, setting.seed_std, len(pairs))
    shared = rng.normal(0, setting.episode_std, setting.episodes)
    points = [own[i] + own[j] + both + shared for (i, j), both in zip(pairs, of_pair, strict=True)]
    scores = 0.6 + (np.array(points) + rng.normal(0, setting.residual_std, (len(pairs), setting.episodes))) / 100
    return estimate_cell(seed_pseudo_values(scores, pairs), unit=""), 0.6


EXPERIMENTS: dict[str, tuple[Experiment, list[Setting]]] = {
    "one cell": (
        of_cell,
        [
            *(Setting(seeds, episodes, 0.5, 7.5, 6) for seeds in (3, 5) for episodes in (100, 600, 1000)),
            *(Setting(3, 600, seed_std, 7.5, 6) for seed_std in (0, 0.3, 0.7)),
            *(Setting(seeds, 1000, 0.7, 5, 5) for seeds in (3, 5)),
            Setting(3, 600, 0.5, 10, 8),
            Setting(3, 600, 0.5, 7.5, 6, queries=5),
            Setting(5, 600, 0.5, 7.5, 6, queries=75),
        ],
    ),
    "difference, same trainings": (
        same_trainings,
        [
            *(Setting(seeds, episodes, 0.2, 2, 4) for seeds in (1, 2, 3, 5) for episodes in (600,)),
            *(Setting(3, episodes, 0.2, 2, 4) for episodes in (100, 2000)),
            Setting(3, 600, 0, 0, 4),
        ],
    ),
    "difference, other trainings": (
        other_trainings,
        [
            *(Setting(seeds, episodes, 0.5, 7.5, 6) for seeds in (3, 5) for episodes in (100, 600)),
            *(Setting(3, 600, seed_std, 7.5, 6) for seed_std in (0, 0.7)),
        ],
    ),
    "pairs of trainings": (
        of_pairs,
        [
            *(Setting(seeds, 100, 1, 2, 2) for seeds in (3, 4, 5, 8)),
            *(Setting(3, 100, seed_std, 2, 2) for seed_std in (0, 3)),
        ],
    ),
}


def satterthwaite(spread: Spread) -> float:
    """Half width with one t quantile for the whole variance."""
    of_seeds = max(0.0, spread.seeds - spread.residual)
    total = of_seeds + spread.episodes
    parts = [(of_seeds, spread.seeds_df), (spread.episodes, spread.episodes_df)]
    return t_quantile(0.975, total**2 / sum(part**2 / df for part, df in parts if df)) * math.sqrt(total)


def over_episodes(spread: Spread) -> float:
    """Half width as papers have it that print one over test episodes: seeds are not in it."""
    return 1.96 * math.sqrt(spread.episodes)


def over_seeds(spread: Spread) -> float:
    """Half width from the standard deviation over seeds, episodes left out; 1 seed has none."""
    return t_quantile(0.975, spread.seeds_df) * math.sqrt(spread.seeds) if spread.seeds_df else math.nan


OTHERS = {"one quantile": satterthwaite, "over episodes": over_episodes, "over seeds": over_seeds}


def simulated(experiment: Experiment, setting: Setting, repeats: int) -> dict[str, float | None]:
    """Coverage in per cent of our intervals and the others, and the mean half width of ours in points."""
    rng = np.random.default_rng(0)
    hits = dict.fromkeys(["ours", *OTHERS], 0)
    width = 0.0
    for _ in range(repeats):
        estimate, truth = experiment(setting, rng)
        half = (estimate.high - estimate.low) / 2
        width += 100 * half / repeats
        halves = {"ours": half, **{name: other(estimate.spread) for name, other in OTHERS.items()}}
        for name, value in halves.items():
            hits[name] += abs(estimate.value - truth) <= value
    shares: dict[str, float | None] = {name: 100 * count / repeats for name, count in hits.items()}
    return {**shares, "over seeds": shares["over seeds"] if setting.seeds > 1 else None, "half width": width}


def main() -> None:
    """Prints the table of ``docs/statistics.md``."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--json", action="store_true", help="print one JSON list")
    parser.add_argument("--repeats", type=int, default=4000, help="experiments a row (default 4000)")
    options = parser.parse_args()
    rows = []
    if not options.json:
        print("| of | seeds | episodes | std: seed, episode, residual | ours | ± | one quantile | episodes | seeds |")
        print("|---|---|---|---|---|---|---|---|---|")
    for name, (experiment, settings) in EXPERIMENTS.items():
        for setting in settings:
            found = simulated(experiment, setting, options.repeats)
            rows.append({"of": name, **vars(setting), **found})
            if not options.json:
                print(_line(name, setting, found), flush=True)
    if options.json:
        print(json.dumps(rows, indent=2))


def _line(name: str, setting: Setting, found: dict[str, float | None]) -> str:
    stds = f"{setting.seed_std:g}, {setting.episode_std:g}, {setting.residual_std:g}"
    stds += f"; {setting.queries} queries" if setting.queries else ""
    shares = ["–" if found[key] is None else f"{found[key]:.1f}" for key in ("ours", *OTHERS)]
    cells = [name, setting.seeds, setting.episodes, stds, f"**{shares[0]}**", f"{found['half width']:.2f}", *shares[1:]]
    return f"| {' | '.join(map(str, cells))} |"


if __name__ == "__main__":
    main()
