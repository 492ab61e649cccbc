"""Kills parts of running sweeps at random moments, runs them again to their end, compares them with undisturbed ones.

python benchmarks/chaos.py --kills 60 --seed 0          Markdown tables; --json for programs; half an hour on two cores

A grid and a search, one and two trials at once. Victims: the worker of a trial, the driver, Ray's raylet. Every third
kill waits for a short phase (saving, evaluating, proposing) to begin; the others come at any moment of the running
phase. What was hit is read from records and open files while the victim stands still.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import yaml

from orchestrator.data import data_folder, ensure_dataset

ORCHESTRATE = str(Path(sys.executable).parent / "orchestrate")
VICTIMS = ("worker", "worker", "driver", "raylet")
SHORT_PHASES = ("saving", "evaluating", "proposing")
PHASES = ("training", *SHORT_PHASES, "between trials")
PATIENCE_S = 600
GO_ON = (1, 3)
"""Exit codes after which the same command goes on."""
WINDOW = 2

ITERATIONS = 200

TRIAL = {
    "dataset": {"name": "glyphs"},
    "episodes": {"ways": 3, "shots": 1, "queries": 2},
    "backbone": {"width": 8, "pooling": "stride"},
    "algorithm": {"name": "anil"},
    "training": {"iterations": ITERATIONS, "validate_every": 10, "meta_batch": 2, "validation_episodes": 5},
    "evaluation": {"episodes": 600},
}
PLANS: dict[str, dict[str, Any]] = {
    "grid": {"grid": {"train": {"algorithm.inner_lr": [0.1, 0.2, 0.4]}, "seeds": 2}},
    "search": {"search": {"trials": 6, "window": WINDOW, "space": {"algorithm.inner_lr": {"loguniform": [0.05, 1.0]}}}},
}


@dataclass
class Tally:
    """What came of all kills."""

    kills: Counter[tuple[str, str]] = field(default_factory=Counter)
    """(victim, phase) -> how many."""
    in_startup: int = 0
    sweeps: int = 0
    lost: int = 0
    doubled: int = 0
    differing: int = 0
    again: Counter[str] = field(default_factory=Counter)
    """Iterations done again, by victim; estimated."""
    trained: int = 0
    """Iterations of all sweeps, had nothing been killed."""


class Sweep:
    """One plan in a home of its own, started as often as it takes."""

    def __init__(self, folder: Path, plan: str, at_once: int, datasets: Path) -> None:
        self.name, self.at_once, self.home = plan, at_once, folder / "home"
        self.home.mkdir(parents=True)
        shutil.copytree(datasets, self.home / "datasets", copy_function=os.link)
        self._spec = folder / f"{plan}.yaml"
        self._spec.write_text(yaml.safe_dump({"trial": TRIAL, **PLANS[plan]}))
        self._log = folder / "log"
        self._family: dict[int, psutil.Process] = {}
        self._drivers: list[int] = []
        self.driver: psutil.Popen

    def start(self) -> None:
        """Begins, or continues."""
        command = [ORCHESTRATE, "sweep", str(self._spec), "--home", str(self.home), "--json"]
        command += ["--max-concurrent", str(self.at_once)]
        with self._log.open("ab") as log:
            self.driver = psutil.Popen(command, stdout=log, stderr=log)
        self._drivers.append(self.driver.pid)

    def finish(self, again: int = 0) -> None:
        """Runs to the end, undisturbed; so often ``again`` where kills have ended it, or failed a trial."""
        while (code := self.driver.wait(PATIENCE_S)) in GO_ON and again > 0:
            again -= 1
            self.start()
        if code != 0:
            raise SystemExit(f"chaos: {self.name}: exit code {code}\n{self._log.read_text()[-3000:]}")

    def end(self) -> None:
        """Waits for a driver that was killed, or lost its cluster. Workers may outlive it, and go on."""
        self.look()
        _, left = psutil.wait_procs([self.driver], timeout=60)
        if left:
            raise SystemExit(f"chaos: {self.name}: the driver hangs\n{self._log.read_text()[-3000:]}")

    def close(self) -> None:
        """Ends what is left of it."""
        self.look()
        for process in [self.driver, *self._family.values()]:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        for session in (folder for pid in self._drivers for folder in Path("/tmp/ray").glob(f"session_*_{pid}")):
            shutil.rmtree(session, ignore_errors=True)

    def look(self) -> list[psutil.Process]:
        """The driver's descendants, which stay known when it is gone."""
        with suppress(psutil.NoSuchProcess):
            self._family |= {child.pid: child for child in self.driver.children(recursive=True)}
        return [process for process in self._family.values() if process.is_running()]

    # --- what stands in the records

    def attempts(self) -> list[dict[str, Any]]:
        """Every attempt's record, with its training's key."""
        paths = self.home.glob("trainings/*/attempts/*/attempt.json")
        return [json.loads(path.read_text()) | {"key": path.parts[-4], "folder": str(path.parent)} for path in paths]

    def running(self) -> list[dict[str, Any]]:
        """The attempts that the present run has not ended."""
        with suppress(FileNotFoundError):
            run = json.loads((self.home / "sweeps" / self.name / "run.json").read_text())
            if run["pid"] == self.driver.pid:
                asked = [one for one in self.attempts() if one["asked_by"]["run"] == run["run"]]
                return [one for one in asked if one["state"] == "running" and psutil.pid_exists(one["pid"])]
        return []

    def files(self, pattern: str) -> dict[str, bytes]:
        """Path in the home -> content."""
        return {str(path.relative_to(self.home)): path.read_bytes() for path in sorted(self.home.glob(pattern))}

    def trained(self) -> dict[str, list[str]]:
        """Training key -> sha256 of what it left, whatever attempt that was."""
        found = self.files("trainings/*/manifest.json")
        return {path.split("/")[1]: sorted(json.loads(data)["files"].values()) for path, data in found.items()}

    def bits(self) -> dict[str, Any]:
        """All that must not depend on kills."""
        proposals = self.files(f"sweeps/{self.name}/proposals/*.json")
        return {**self.trained(), **self.files("trainings/*/evaluations/*.arrow"), **proposals}

    def pace(self) -> float:
        """Iterations that a trial does in a second."""
        attempts = self.attempts()
        return ITERATIONS * len(attempts) / sum(one["train_seconds"] for one in attempts)

    def proposing(self) -> bool:
        """Whether a search knows what its next proposal waits for, and has not stored it."""
        made = len(self.files(f"sweeps/{self.name}/proposals/*.json"))
        planned = PLANS["search"]["search"]["trials"]
        tested = len(self.files("trainings/*/evaluations/*.arrow"))
        return self.name == "search" and WINDOW <= made < planned and tested > made - WINDOW


def phase_of(attempt: dict[str, Any]) -> str:
    """What the worker of an attempt does now, or did when it was stopped."""
    folder = Path(attempt["folder"])
    if (folder.parents[1] / "manifest.json").exists():
        return "evaluating"
    saving = any(name.startswith(".") for _, _, names in os.walk(folder) for name in names)
    return "saving" if saving else "training"


def phase_of_all(sweep: Sweep) -> str:
    """The rarest of the phases that the sweep is in."""
    if sweep.proposing():
        return "proposing"
    phases = {phase_of(attempt) for attempt in sweep.running()}
    return next((phase for phase in ("saving", "evaluating", "training") if phase in phases), "between trials")


def strike(sweep: Sweep, victim: str, aim: str | None, delay_s: float, pace: float) -> tuple[str, float] | None:
    """Kills once; gives the phase hit and the iterations lost (None: the sweep ended first).

    ``pace``: iterations a second, where an attempt has not shown its own.
    """
    if not until(lambda: bool(sweep.running()), sweep):
        return None
    time.sleep(delay_s)
    family = sweep.look()  # takes a while, and short phases do not wait
    if aim is not None and not until(lambda: phase_of_all(sweep) == aim, sweep, limit_s=20, pause_s=0.002):
        return None
    running = sweep.running()
    if victim == "driver":
        process = sweep.driver
    elif victim == "raylet":
        process = next((one for one in family if named(one, "raylet/raylet")), None)
    else:
        struck = [one for one in running if aim in (None, "proposing", phase_of(one))] or running
        process = psutil.Process(struck[0]["pid"]) if struck else None
    if process is None or not process.is_running():
        return "start-up", 0.0
    process.suspend()
    running = [one for one in sweep.running() if victim != "worker" or one["pid"] == process.pid]
    phase = phase_of_all(sweep) if victim != "worker" else next(map(phase_of, running), "between trials")
    lost = sum(iterations_since_save(attempt, pace) for attempt in running)
    process.kill()
    return phase, lost


def iterations_since_save(attempt: dict[str, Any], pace: float) -> float:
    """Estimated: time since the last save, at the attempt's own pace where it has validated; 0 once it has trained."""
    if phase_of(attempt) == "evaluating":
        return 0.0
    saved_s = (Path(attempt["folder"]) / "attempt.json").stat().st_mtime
    done = max(map(int, attempt["validated_ms"]), default=attempt["resumed_at"]) - attempt["resumed_at"]
    took_s = saved_s - attempt["started_ms"] / 1000
    return (time.time() - saved_s) * (done / took_s if done and took_s > 0 else pace)


def named(process: psutil.Process, name: str) -> bool:
    """Whether a process runs that program."""
    with suppress(psutil.Error):
        return name in process.cmdline()[0]
    return False


def until(condition: Callable[[], bool], sweep: Sweep, limit_s: float = PATIENCE_S, pause_s: float = 0.05) -> bool:
    """Waits; False where the driver has ended, or the time is over."""
    deadline = time.monotonic() + limit_s
    while sweep.driver.poll() is None and time.monotonic() < deadline:
        with suppress(FileNotFoundError, json.JSONDecodeError):
            if condition():
                return True
        time.sleep(pause_s)
    return False


def disturb(sweep: Sweep, quota: int, draw: random.Random, tally: Tally, pace: float) -> int:
    """Runs a sweep to its end through at most ``quota`` kills; gives how many hit it."""
    kills = 0
    sweep.start()
    while kills < quota:
        victim = draw.choice(VICTIMS)
        aim = draw.choice(SHORT_PHASES[: 3 if sweep.name == "search" else 2]) if draw.random() < 1 / 3 else None
        hit = strike(sweep, victim, aim, draw.uniform(0, 3), pace)
        if hit is None:
            if sweep.driver.poll() is None:
                continue  # what was aimed at did not come in time
            if sweep.driver.returncode in GO_ON:  # it had one trial lose its worker three times
                sweep.start()
                continue
            break
        phase, again = hit
        if phase == "start-up":
            tally.in_startup += 1
        else:
            kills += 1
            tally.kills[victim, phase] += 1
            tally.again[victim] += round(again)
        say(f"{sweep.name}, {sweep.at_once} at once: {victim} killed, {phase}")
        if victim != "worker":
            sweep.end()
            sweep.start()
    sweep.finish(again=3)
    return kills


def compare(sweep: Sweep, whole: Sweep, tally: Tally) -> None:
    """Adds what differs from the undisturbed sweep."""
    expected, found = whole.bits(), sweep.bits()
    tally.sweeps += 1
    tally.trained += ITERATIONS * len(whole.trained())
    tally.lost += len(expected.keys() - found.keys())
    tally.differing += sum(found[key] != expected[key] for key in expected.keys() & found.keys())
    complete = Counter(one["key"] for one in sweep.attempts() if one["state"] == "complete")
    tally.doubled += len(found.keys() - expected.keys()) + sum(count - 1 for count in complete.values())


def say(line: str) -> None:
    """Progress, for people."""
    print(line, file=sys.stderr, flush=True)


def experiment(kills: int, seed: int) -> Iterator[tuple[str, Tally]]:
    """The tally of each plan and number of trials at once."""
    draw = random.Random(seed)
    with tempfile.TemporaryDirectory(prefix="metasweep-chaos-") as folder:
        base = Path(folder)
        ensure_dataset(data_folder(str(base / "data")), "glyphs", lambda done, total: None)
        datasets = base / "data" / "datasets"
        cases = [(plan, at_once) for plan in PLANS for at_once in (1, 2)]
        for index, (plan, at_once) in enumerate(cases):
            if at_once == 1:
                whole = Sweep(base / f"{plan}-whole", plan, 2, datasets)
                whole.start()
                try:
                    whole.finish()
                finally:
                    whole.close()
                say(f"{plan}: undisturbed, done")
            tally, left = Tally(), kills // len(cases) + (index < kills % len(cases))
            while left > 0:
                sweep = Sweep(base / f"{plan}-{at_once}-{tally.sweeps}", plan, at_once, datasets)
                try:
                    left -= disturb(sweep, left, draw, tally, whole.pace())
                    compare(sweep, whole, tally)
                finally:
                    sweep.close()
            yield f"{plan}, {at_once} at once", tally


def table(tallies: dict[str, Tally]) -> str:
    """Markdown."""
    head = ["", "kills", *PHASES, "start-up", "sweeps", "lost", "doubled", "other bits", "done again"]
    lines = [head, ["---"] * len(head)]
    for name, its in tallies.items():
        phases = [sum(n for (_, hit), n in its.kills.items() if hit == phase) for phase in PHASES]
        again = sum(its.again.values())
        share = f"{again} of {its.trained} ({again / its.trained:.1%})"
        counts = [its.kills.total(), *phases, its.in_startup, its.sweeps, its.lost, its.doubled, its.differing, share]
        lines.append([name, *map(str, counts)])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def by_victim(tallies: dict[str, Tally]) -> str:
    """Markdown: who was killed in which phase, all cases together."""
    kills = sum((its.kills for its in tallies.values()), Counter[tuple[str, str]]())
    again = sum((its.again for its in tallies.values()), Counter[str]())
    lines = [["victim", *PHASES, "iterations done again"], ["---"] * (len(PHASES) + 2)]
    for victim in dict.fromkeys(VICTIMS):
        lines.append([victim, *(str(kills[victim, phase]) for phase in PHASES), str(again[victim])])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def as_json(tally: Tally) -> dict[str, Any]:
    """A tally for programs."""
    kills = {f"{victim}, {phase}": count for (victim, phase), count in sorted(tally.kills.items())}
    return vars(tally) | {"kills": kills, "again": dict(tally.again)}


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that folders and processes go with us
    tallies = {}
    for name, tally in experiment(options.kills, options.seed):
        tallies[name] = tally
        say(table(tallies))
    if options.json:
        print(json.dumps({name: as_json(tally) for name, tally in tallies.items()}, indent=1))
    else:
        print(f"{table(tallies)}\n\n{by_victim(tallies)}")
    if any(tally.lost + tally.doubled + tally.differing for tally in tallies.values()):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
