"""Searches on a table of real trainings: how good, after how many iterations, and what a proposal costs.

python benchmarks/search.py                 regret and early stopping, 100 seeds: a quarter of an hour
python benchmarks/search.py --quick         five seeds: a minute
python benchmarks/search.py --stopping --samplers random    early stopping alone
python benchmarks/search.py --samplers gp --seeds 10        gp alone, whose proposals take long
python benchmarks/search.py --cost          ms and MB of a proposal after 100, 1,000 and 10,000 trials
python benchmarks/search.py --table HOME    makes the table anew from a home where search_table.yaml was run
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing.pool import Pool
from pathlib import Path
from statistics import mean, median
from typing import Any

import numpy as np
from searches.contestants import Contestant, Optuna, Ours, RayTune, our_sweep
from searches.cost import cost_table
from searches.figure import regret_figure
from searches.race import Run, race
from searches.table import FILE, read_table, write_table

from orchestrator.stats import t_quantile

TRIALS = 40
WORKERS = 2
WINDOW = 8
"""The default of a sweep with two workers."""
MOMENTS = (10, 20, 40)
TABLE = read_table()


@dataclass(frozen=True)
class Entry:
    """A way to search."""

    who: str
    sampler: str = "tpe"
    window: int | None = None
    reduction: int | None = None
    """Of ASHA, where it stops trials early."""

    @property
    def name(self) -> str:
        """As tables show it."""
        window = "" if self.window is None else f", window {self.window}"
        asha = "" if self.reduction is None else f" + ASHA, {self.reduction}"
        return f"{self.who} {self.sampler}{window}{asha}"

    def contestant(self, seed: int, trials: int) -> Contestant:
        """The search of one seed."""
        if self.window is not None:
            return Ours(TABLE, self.sampler, seed, trials, self.reduction, self.window)
        search = our_sweep(TABLE, "tpe", seed, trials, reduction=None).search
        assert search is not None
        return RayTune(search, seed) if self.who == "Ray Tune" else Optuna(search, self.sampler, seed, self.reduction)


REDUCTION = 2
"""The default of a sweep."""
SAMPLERS = ("tpe", "random", "nsga2", "qmc", "gp")


def entries_of(samplers: Sequence[str], reduction: int) -> list[Entry]:
    """All that are compared, early stopping with this reduction."""
    plain = [Entry("ours", sampler, WINDOW) for sampler in samplers]
    peers = [Entry("Optuna", sampler) for sampler in samplers]
    stopped = [Entry("ours", sampler, WINDOW, reduction) for sampler in samplers]
    if "tpe" in samplers:
        plain.append(Entry("ours", "tpe", WORKERS))
        peers.append(Entry("Ray Tune"))
        stopped.append(Entry("Optuna", reduction=reduction))
    return [*plain, *peers, *stopped]


DRAWN = (
    Entry("ours", "tpe", WINDOW),
    Entry("ours", "tpe", WORKERS),
    Entry("Optuna", "tpe"),
    Entry("ours", "random", WINDOW),
    Entry("ours", "qmc", WINDOW),
    Entry("ours", "nsga2", WINDOW),
)
LONG = tuple(
    Entry("ours", sampler, window, reduction)
    for sampler, window, reduction in (
        ("random", WINDOW, REDUCTION),
        ("random", WORKERS, REDUCTION),
        ("random", WINDOW, REDUCTION + 1),
        ("qmc", WINDOW, REDUCTION),
        ("tpe", WINDOW, REDUCTION),
    )
)
LONG_SEEDS = 40
LONG_TRIALS = (40, 100, 200)
"""The first 40 proposals of a search of 200 are a search of 40."""
A_POINT = 0.01


def one_run(entry: Entry, trials: int, budget: int | None, seed: int) -> Run:
    """A search of one seed, in a process of the pool."""
    return race(entry.contestant(seed, trials), TABLE, trials, WORKERS, budget)


def with_interval(values: Sequence[float]) -> tuple[float, float]:
    """Mean and half of its 95 % interval, by Student's t."""
    half = t_quantile(0.975, len(values) - 1) * float(np.std(values, ddof=1)) / len(values) ** 0.5
    return mean(values), half


def regrets(run: Run) -> list[float]:
    """Points of accuracy below the best of the table, after as many trials as ``MOMENTS`` says."""
    return [100 * (TABLE.best - run.best(trials)) for trials in MOMENTS]


def regret_rows(runs: dict[Entry, list[Run]]) -> list[dict[str, Any]]:
    """What came of every entry, and its difference from Optuna's sampler of that name, stopping none."""
    rows = []
    for entry, its in runs.items():
        peer = runs[Entry("Optuna", entry.sampler)]
        last = [regrets(run)[-1] for run in its]
        apart = [one - regrets(other)[-1] for one, other in zip(last, peer, strict=True)]
        rows.append(
            {
                "search": entry.name,
                "seeds": len(its),
                "regret": [with_interval(column) for column in zip(*map(regrets, its), strict=True)],
                "minus_optuna": None if entry == Entry("Optuna", entry.sampler) else with_interval(apart),
                "not_worse": sum(one <= 1e-9 for one in apart) / len(apart),
                "iterations": median(run.spent_on(TRIALS) for run in its),
                "ms": mean(mean(run.ms) for run in its),
            }
        )
    return rows


def stopping_rows(runs: dict[Entry, list[Run]], trials: int) -> list[dict[str, Any]]:
    """By search: what ``trials`` trials take without early stopping, over what they take with ASHA, of all seeds and of
    those in which the best trial stays as good; and the same until both have completed a trial as good as the best of
    the search without. ASHA may begin more trials for that, as long as it has spent less."""
    rows = []
    for entry in (one for one in LONG if one in runs):
        pairs = list(zip(runs[replace(entry, reduction=None)], runs[entry], strict=True))
        row: dict[str, Any] = {"search": entry.name, "trials": trials, "seeds": len(pairs)}
        ratios = [plain.spent_on(trials) / asha.spent_on(trials) for plain, asha in pairs]
        apart = [100 * (asha.best(trials) - plain.best(trials)) for plain, asha in pairs]
        kept = [ratio for ratio, points in zip(ratios, apart, strict=True) if points >= 0]
        row["whole"], row["best"] = quartiles(ratios), with_interval(apart)
        row["same_best"] = {"reached": len(kept) / len(pairs), "fewer": quartiles(kept)}
        for name, short_of in (("until_best", 0.0), ("until_near", A_POINT)):
            until = []
            for plain, asha in pairs:
                goal = plain.best(trials) - short_of
                theirs, ours = plain.spent_until(goal), asha.spent_until(goal)
                if theirs and ours and ours <= plain.spent_on(trials):
                    until.append(theirs / ours)
            row[name] = {"reached": len(until) / len(pairs), "fewer": quartiles(until)}
        rows.append(row)
    return rows


def quartiles(values: Sequence[float]) -> list[float]:
    """Minimum, quartiles and maximum."""
    return [] if not values else [float(value) for value in np.quantile(values, [0, 0.25, 0.5, 0.75, 1])]


def show_regret(rows: list[dict[str, Any]]) -> None:
    """Prints the table of regrets."""
    print(
        f"\nSimple regret in points of accuracy: {len(TABLE.curves)} trainings, best {TABLE.best:.1%}; {TRIALS} trials,"
        f" {WORKERS} at once.\n"
    )
    heads = " | ".join(f"after {trials}" for trials in MOMENTS)
    print(f"| search | seeds | {heads} | minus Optuna's, after {TRIALS} | not worse | iterations | ms a proposal |")
    print("|---|---|" + "---|" * (len(MOMENTS) + 4))
    for row in rows:
        regret = " | ".join(f"{value:.2f} ± {half:.2f}" for value, half in row["regret"])
        apart = "" if row["minus_optuna"] is None else "{:+.2f} ± {:.2f}".format(*row["minus_optuna"])
        worse = "" if row["minus_optuna"] is None else f"{row['not_worse']:.0%}"
        cells = [row["search"], row["seeds"], regret, apart, worse, f"{row['iterations']:,.0f}", f"{row['ms']:.2f}"]
        print("| " + " | ".join(map(str, cells)) + " |")


def show_stopping(rows: list[dict[str, Any]]) -> None:
    """Prints the table of early stopping."""
    print(
        "\nIterations without early stopping over those with ASHA: median of the seeds (quartiles; range); and in how"
        "\nmany the best trial is as good, or one is reached with fewer iterations than the whole search without.\n"
    )
    print(
        "| search | trials | seeds | as many trials | best trial as good | best of them, points "
        "| until as good a trial | until within a point |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for row in rows:
        same, until, near = (
            f"{spread(row[name]['fewer'])}, {row[name]['reached']:.0%}"
            for name in ("same_best", "until_best", "until_near")
        )
        best = "{:+.2f} ± {:.2f}".format(*row["best"])
        cells = [row["search"], row["trials"], row["seeds"], spread(row["whole"]), same, best, until, near]
        print("| " + " | ".join(map(str, cells)) + " |")


def spread(values: Sequence[float]) -> str:
    """Median, quartiles and range of a ratio."""
    if not values:
        return "never"
    low, first, middle, third, high = values
    return f"**{middle:.1f}×** ({first:.1f}–{third:.1f}; {low:.1f}–{high:.1f})"


def run_all(pool: Pool, entries: Sequence[Entry], seeds: int) -> dict[Entry, list[Run]]:
    """Searches of ``TRIALS`` trials."""
    return {entry: pool.map(partial(one_run, entry, TRIALS, None), range(seeds), 1) for entry in entries}


def run_long(pool: Pool, samplers: Sequence[str], seeds: int) -> dict[Entry, list[Run]]:
    """Searches for the table of early stopping: with ASHA as many trials as the others' iterations allow."""
    last, entries = LONG_TRIALS[-1], [entry for entry in LONG if entry.sampler in samplers]
    plain = dict.fromkeys(replace(entry, reduction=None) for entry in entries)
    budget = last * TABLE.iterations
    return {entry: pool.map(partial(one_run, entry, last, None), range(seeds), 1) for entry in plain} | {
        entry: pool.map(partial(one_run, entry, budget, budget), range(seeds), 1) for entry in entries
    }


def main() -> None:
    """Reads the command line, runs, prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=100, help="of each search (100)")
    parser.add_argument("--samplers", nargs="+", choices=SAMPLERS, default=SAMPLERS[:-1], help="(all but gp)")
    parser.add_argument("--reduction", type=int, default=REDUCTION, help=f"of ASHA in the first table ({REDUCTION})")
    parser.add_argument("--quick", action="store_true", help="5 seeds; with --cost up to 1,000 trials")
    parser.add_argument("--stopping", action="store_true", help="early stopping alone")
    parser.add_argument("--cost", action="store_true", help="what a proposal costs, instead")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout, nothing else there")
    parser.add_argument("--figure", type=Path, metavar="FILE", help="write curves of the regret as SVG")
    parser.add_argument("--table", metavar="HOME", help=f"write {FILE.name} from this home, instead")
    asked = parser.parse_args()
    if asked.table:
        print(f"{FILE}: {write_table(asked.table)} trainings")
        return
    if asked.cost:
        cost_table(asked.json, asked.quick)
        return
    os.environ["OMP_NUM_THREADS"] = "1"  # of the processes to come
    seeds = 5 if asked.quick else asked.seeds
    found: dict[str, Any] = {"early_stopping": []}
    with multiprocessing.get_context("spawn").Pool(WORKERS) as pool:
        runs = {} if asked.stopping else run_all(pool, entries_of(asked.samplers, asked.reduction), seeds)
        found["regret"] = regret_rows(runs)
        if asked.stopping or {entry.sampler for entry in LONG} <= set(asked.samplers):
            longer = run_long(pool, asked.samplers, min(seeds, LONG_SEEDS))
            found["early_stopping"] = [row for trials in LONG_TRIALS for row in stopping_rows(longer, trials)]
    if asked.figure and runs:
        drawn = [entry for entry in runs if entry in DRAWN]
        curves = {
            one.name: [[run.best(trials) for trials in range(1, TRIALS + 1)] for run in runs[one]] for one in drawn
        }
        asked.figure.write_text(regret_figure(curves, TABLE.best))
    if asked.json:
        print(json.dumps(found))
        return
    if found["regret"]:
        show_regret(found["regret"])
    if found["early_stopping"]:
        show_stopping(found["early_stopping"])


if __name__ == "__main__":
    main()
