"""What an orchestrator takes from its trials: efficiency on trials of known length, ours and others', and our growth.

Trials sleep. Efficiency is the time slept, over the time that its slot was in use, from the slot's first trial's start
to its last one's end; what comes before the first of all is start-up. Ours runs with everything on: TPE, records of
every attempt, MLflow. Others:

    ray-tune           Ray Tune, OptunaSearch and its MLflow callback, a function as trainable
    ray-tune-reuse     the same with a class as trainable, and reuse_actors
    optuna-processes   a process a slot, a study in a journal file, no tracking

Then a grid of ours whose trials do not sleep: what a trial costs the driver (CPU time, memory) with all of its threads,
so MLflow included, as it grows; and the same grid once more, when every trial is stored.

python benchmarks/orchestration.py           about half an hour; grows to 10,000 trials with --grow 10000
python benchmarks/orchestration.py --quick   ten minutes
python benchmarks/orchestration.py --json    {"rows": […], "growth": […], "stored": {…}}
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent / "orchestrators"
SYSTEMS = {
    "metasweep": ["ours.py"],
    "ray-tune": ["ray_tune.py", "defaults"],
    "ray-tune-reuse": ["ray_tune.py", "reuse"],
    "optuna-processes": ["optuna_processes.py"],
}
CONCURRENT = (2, 8, 32)
TRIAL_S = (1, 10)
WAVES = {1: 6, 10: 3}
"""How many trials a slot runs one after the other, by their length in seconds."""
QUICK_WAVES = {1: 3, 10: 2}
GROWTH_AT_ONCE = 2


@dataclass(frozen=True)
class Row:
    """One system at one setting."""

    system: str
    concurrent: int
    trial_s: float
    trials: int
    efficiency: float
    overhead_s: float
    """Of a trial: what its slot had it for, less its own length."""
    start_up_s: float
    """From the start of the process to the start of the first trial."""


def measure(system: str, concurrent: int, trial_s: float, waves: int) -> Row:
    """Runs one system in a process and a folder of its own."""
    script, *more = SYSTEMS[system]
    trials = waves * concurrent
    with tempfile.TemporaryDirectory(prefix="metasweep-bench-") as folder:
        log = Path(folder) / "sleeps"
        command = [str(HERE / script), str(trials), str(concurrent), folder, *more]
        began = time.time()
        run(command, SLEEP_S=str(trial_s), SLEEP_LOG=str(log))
        sleeps = [tuple(map(float, line.split())) for line in log.read_text().splitlines()]
    assert len(sleeps) == trials, (system, len(sleeps))
    a_trial_s = sum(slot_times_s(sleeps, concurrent)) / trials
    start_up_s = min(start for start, _ in sleeps) - began
    return Row(system, concurrent, trial_s, trials, trial_s / a_trial_s, a_trial_s - trial_s, start_up_s)


def slot_times_s(sleeps: list[tuple[float, ...]], slots: int) -> list[float]:
    """How long each slot was in use, from its first trial's start to its last one's end.

    A trial is in the slot that has been free the longest: which process ran it says nothing, some systems make a new
    one for each.
    """
    used: list[list[float]] = []
    for start, end in sorted(sleeps):
        if len(used) < slots and all(last > start for _, last in used):
            used.append([start, end])
        else:
            min(used, key=lambda slot: slot[1])[1] = end
    return [last - first for first, last in used]


def run(command: list[str], **variables: str) -> str:
    """A script in a process of its own, whose children find the trial that sleeps."""
    root = HERE.parents[1]
    paths = [str(HERE / "sleeping"), str(root), os.environ.get("PYTHONPATH", "")]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths)), "RAY_USAGE_STATS_ENABLED": "0"}
    done = subprocess.run(
        [sys.executable, *command], env=environment | variables, cwd=root, capture_output=True, text=True
    )
    assert done.returncode == 0, (command, done.stdout[-2000:], done.stderr[-4000:])
    return done.stdout


def grow(trials: int) -> tuple[list[dict[str, float]], dict[str, float]]:
    """What the driver of so many trials costs, by tenths; then the time of the same sweep with all of them stored."""
    with tempfile.TemporaryDirectory(prefix="metasweep-bench-") as folder:
        lines = run([str(HERE / "growth.py"), str(trials), str(GROWTH_AT_ONCE), folder]).splitlines()
        sweep = [
            "-c",
            "from orchestrator.cli import main; main()",
            "sweep",
            f"{folder}/sleeping.yaml",
            "--home",
            f"{folder}/home",
            "--json",
        ]
        began = time.time()
        found = json.loads(run(sweep))
        wall_s = time.time() - began
    assert found["trials"]["cached"] == trials, found
    steps = [json.loads(line) for line in lines]
    return steps, {"trials": trials, "wall_s": wall_s}


def table(rows: list[Row]) -> str:
    """Markdown: a row a setting, a column a system."""
    lines = ["| trials of | at once | " + " | ".join(SYSTEMS) + " |", "|---" * (2 + len(SYSTEMS)) + "|"]
    for trial_s in TRIAL_S:
        for concurrent in CONCURRENT:
            its = {row.system: row for row in rows if (row.trial_s, row.concurrent) == (trial_s, concurrent)}
            cells = [f"{100 * its[s].efficiency:.1f} % ({its[s].start_up_s:.0f} s)" for s in SYSTEMS if s in its]
            lines.append(f"| {trial_s} s | {concurrent} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def growth_table(steps: list[dict[str, float]]) -> str:
    """Markdown: what each further tenth costs."""
    lines = ["| trials | driver, s of CPU | ms a trial, of the last tenth | MB | wall, s |", "|---|---|---|---|---|"]
    before: dict[str, Any] | None = None
    for step in steps:
        each = "" if before is None else f"{1000 * per_trial_s(before, step):.0f}"
        figures = f"{step['driver_cpu_s']:.1f} | {each} | {step['driver_mb']:.0f} | {step['wall_s']:.0f}"
        lines.append(f"| {step['trials']:,} | {figures} |")
        before = step
    return "\n".join(lines)


def per_trial_s(before: dict[str, Any], after: dict[str, Any]) -> float:
    """CPU time of the driver a trial, between two lines."""
    spent_s: float = after["driver_cpu_s"] - before["driver_cpu_s"]
    return spent_s / (after["trials"] - before["trials"])


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description="Efficiency and growth of a sweep, beside other orchestrators.")
    parser.add_argument("--quick", action="store_true", help="fewer trials of each row")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--grow", type=int, help="trials of the grid (1,000; with --quick 200)")
    parser.add_argument("--concurrent", type=int, nargs="*", default=CONCURRENT)
    parser.add_argument("--trial-s", type=int, nargs="*", default=TRIAL_S)
    parser.add_argument("--systems", nargs="*", choices=SYSTEMS, default=list(SYSTEMS))
    asked = parser.parse_args()
    waves = QUICK_WAVES if asked.quick else WAVES
    rows: list[Row] = []
    for trial_s in asked.trial_s:
        for concurrent in asked.concurrent:
            for system in asked.systems:  # one after the other, so that what the machine does meanwhile meets all
                rows.append(measure(system, concurrent, trial_s, waves[trial_s]))
                print(rows[-1], file=sys.stderr, flush=True)
    trials = asked.grow if asked.grow is not None else 200 if asked.quick else 1000
    steps, stored = grow(trials) if trials else ([], {})
    if asked.json:
        print(json.dumps({"rows": [asdict(row) for row in rows], "growth": steps, "stored": stored}, indent=1))
        return
    print(table(rows))
    if trials:
        print(f"\n{growth_table(steps)}\n\nThe same {trials:,} trials, all of them stored: {stored['wall_s']:.1f} s")


if __name__ == "__main__":
    main()
