"""What a proposal costs after many trials: ours beside Optuna by ask and tell and Ray Tune's OptunaSearch."""

from __future__ import annotations

import json
import random
import time
import tracemalloc
import warnings
from collections.abc import Callable, Mapping
from functools import partial
from statistics import median
from typing import Any

import optuna

from orchestrator.search.domains import distribution, value_at
from orchestrator.search.proposals import Outcome, Proposal
from orchestrator.search.searcher import Searcher
from orchestrator.spec import SearchSpec
from searches.contestants import OBJECTIVE, optuna_sampler, our_sweep
from searches.table import read_table
from trainers.config import TrialConfig

WINDOW = 8
COUNTS = (100, 1_000, 10_000)
ADDED = ("tpe", "gp")
"""Samplers whose earlier trials are given to Optuna, as asking for them would take hours; others are asked for."""
ROUNDS = 9

Step = Callable[[], object]


def points(search: SearchSpec, count: int) -> list[tuple[dict[str, Any], float]]:
    """Random values and results, the same at each call."""
    draws = random.Random(0)
    return [
        ({path: value_at(parameter, draws.random()) for path, parameter in search.space.items()}, draws.random())
        for _ in range(count)
    ]


def ours(search: SearchSpec, count: int) -> Step:
    """A step of our searcher: propose, then take the proposal and a result."""
    searcher = Searcher(search, TrialConfig(), WINDOW)
    draws = random.Random(1)
    for number, (values, result) in enumerate(points(search, count)):
        searcher.add(Proposal(number, values, ""))
        searcher.end(Outcome(number, "complete", (result,)))

    def step() -> Proposal:
        proposal = searcher.propose()
        searcher.add(proposal)
        searcher.end(Outcome(proposal.number, "complete", (draws.random(),)))
        return proposal

    return step


def direct(search: SearchSpec, count: int) -> Step:
    """A step of Optuna: ask, suggest, tell, with as many trials running as our window leaves untold."""
    domains = {path: distribution(parameter) for path, parameter in search.space.items()}
    study = optuna.create_study(direction="maximize", sampler=optuna_sampler(search.sampler, 0))
    draws = random.Random(1)
    running: list[optuna.Trial] = []

    def step() -> None:
        running.append(study.ask(domains))
        if len(running) == WINDOW:
            study.tell(running.pop(0), draws.random())

    if search.sampler in ADDED:
        study.add_trials(
            [
                optuna.trial.create_trial(value=result, params=values, distributions=domains)
                for values, result in points(search, count)
            ]
        )
    else:
        for _ in range(count):
            step()
    for _ in range(WINDOW):
        step()
    return step


def ray_tune(search: SearchSpec, count: int) -> Step:
    """A step of Ray Tune's OptunaSearch with its own TPE: suggest, then tell a result."""
    from ray.tune.search.optuna import OptunaSearch

    domains = {path: distribution(parameter) for path, parameter in search.space.items()}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        asked = OptunaSearch(domains, metric=OBJECTIVE, mode="max", seed=0)
    draws = random.Random(1)
    for values, result in points(search, count):
        asked.add_evaluated_point(values, result)
    numbers = iter(range(10**9))
    running: list[str] = []

    def step() -> None:
        running.append(str(next(numbers)))
        asked.suggest(running[-1])
        if len(running) == WINDOW:
            asked.on_trial_complete(running.pop(0), {OBJECTIVE: draws.random()})

    for _ in range(WINDOW):
        step()
    return step


def cpu_ms(steps: Mapping[str, Step], rounds: int) -> dict[str, float]:
    """Median CPU time of this thread for a step of each, all once a round; the first round does not count."""
    found: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(rounds + 1):
        for name, step in steps.items():
            began = time.thread_time()
            step()
            found[name].append((time.thread_time() - began) * 1e3)
    return {name: median(values[1:]) for name, values in found.items()}


def held_mb(make: Callable[[], Step]) -> float:
    """MB that Python holds for a search with its trials, after a proposal."""
    tracemalloc.start()
    step = make()
    step()
    held = tracemalloc.get_traced_memory()[0] / 1e6
    tracemalloc.stop()
    return held


def cost_table(as_json: bool, quick: bool) -> None:
    """Prints the table."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    table, rows = read_table(), []
    for sampler in ("tpe", "random", "nsga2", "qmc", "gp"):
        search = our_sweep(table, sampler, 0, 1, reduction=None).search
        assert search is not None
        for count in COUNTS[: 2 if quick else 3]:
            if sampler == "gp" and count > 100:
                continue  # a minute and more a proposal, whoever asks
            steps = {"ours": ours(search, count), "Optuna": direct(search, count)}
            if sampler == "tpe":
                steps["Ray Tune"] = ray_tune(search, count)
            row: dict[str, Any] = {
                "sampler": sampler,
                "trials": count,
                "ms": cpu_ms(steps, 3 if sampler == "gp" else ROUNDS),
            }
            if sampler == "tpe":
                row["mb"] = {
                    "ours": held_mb(partial(ours, search, count)),
                    "Optuna": held_mb(partial(direct, search, count)),
                }
            rows.append(row)
    if as_json:
        print(json.dumps({"cost": rows}))
    else:
        show_cost(rows)


def show_cost(rows: list[dict[str, Any]]) -> None:
    """Prints the rows as a table."""
    print("CPU time of a proposal and of telling a result, ms, medians; memory that a search holds, MB.\n")
    print("| sampler | trials | ours | Optuna | Ray Tune | Optuna / ours | ours, MB | Optuna, MB |")
    print("|---|---|---|---|---|---|---|---|")
    for row in rows:
        ms, mb = row["ms"], row.get("mb")
        tune = f"{ms['Ray Tune']:.2f}" if "Ray Tune" in ms else ""
        memory = f"{mb['ours']:.1f} | {mb['Optuna']:.1f}" if mb else " | "
        print(
            f"| {row['sampler']} | {row['trials']:,} | {ms['ours']:.2f} | {ms['Optuna']:.2f} | {tune} "
            f"| {ms['Optuna'] / ms['ours']:.2f} | {memory} |"
        )
