"""What MLflow costs a sweep, and how far behind it is: a tracker as a sweep's driver has it, on real stores.

rate       trials of 100 points into a new SQLite file, and through a server: seconds, points, CPU a trial
cost       CPU of the driver for a trial of 200 points that comes in live, against the seconds that it trains
lag        from when a trial says something until MLflow answers with it
end        how long a sweep waits at its end: without tracking, for a server that answers every call 2 s late, for
           one that is gone; the three alternate

python benchmarks/tracking.py [--json] [--quick] [--trials N]
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from statistics import median
from typing import Any
from urllib.request import urlopen

from orchestrator.sweep import TRACKING_DOWN_TIMEOUT_S, TRACKING_END_TIMEOUT_S
from orchestrator.tracking import Point, SweepView, Tracker, TrialView, default_uri, write_all
from trainers.few_shot import FewShot

KEYS = ("train_loss", "train_accuracy", "validation_loss", "validation_accuracy", "validation_accuracy_nil")
TRIAL_S = 20.0
"""Seconds that the trial of ``cost`` trains: 40 validations, one each half second."""
LATE_S = 2.0
END_S = 1_700_000_000_000


def trial(number: int, points: int, state: Any = "completed") -> TrialView:
    """A trial with so many points, 30 params and 16 tags, about as many as a trial of a sweep has."""
    curve = [
        Point(KEYS[i % len(KEYS)], i // len(KEYS) + 1, (i * 7919 + number) % 1000 / 1000, END_S + i)
        for i in range(points)
    ]
    return TrialView(
        number=number,
        name=f"{number:03d} maml inner_lr=0.4",
        state=state,
        params={f"trial.section.key_{i}": i for i in range(30)},
        tags={f"version.package_{i}": "1.2.3" for i in range(16)},
        points=curve,
        metrics={"best_validation_accuracy": number / 1e4, "test_accuracy": 0.5},
        dataset=("glyphs", "0123456789abcdef0123", "datasets/glyphs.arrow"),
        started_ms=END_S,
        ended_ms=None if state == "running" else END_S + 60_000,
    )


def rate(uri: str, trials: int) -> dict[str, float]:
    """Writes trials of 100 points; MLflow's import, the database and a first trial come before the clock starts."""
    write_all(uri, "rate", SweepView("warm", "home", score=FewShot.score), [trial(0, 100)], "FINISHED")
    started, cpu = time.perf_counter(), time.process_time()
    write_all(
        uri, "rate", SweepView("rate", "home", score=FewShot.score), (trial(n, 100) for n in range(trials)), "FINISHED"
    )
    took_s, cpu_s = time.perf_counter() - started, time.process_time() - cpu
    return {
        "trials": trials,
        "seconds": took_s,
        "seconds_for_1000": 1000 * took_s / trials,
        "points_a_second": 100 * trials / took_s,
        "cpu_ms_a_trial": 1000 * cpu_s / trials,
    }


def cost(uri: str, trial_s: float) -> dict[str, float]:
    """One trial says 5 metrics 40 times over ``trial_s``; all CPU of this process meanwhile."""
    tracker = Tracker(uri, "cost", SweepView("cost", "home", score=FewShot.score))
    _wait(lambda: tracker.run_id)
    cpu = time.process_time()
    for said in range(1, 41):
        tracker.record(trial(0, 5 * said, "running"))
        time.sleep(trial_s / 40)
    tracker.record(trial(0, 200))
    tracker.finish("FINISHED", 600)
    used_s = time.process_time() - cpu
    return {"trial_s": trial_s, "cpu_ms": 1000 * used_s, "percent": 100 * used_s / trial_s}


def lag(uri: str, times: int) -> dict[str, float]:
    """Seconds from ``record`` until another client reads the point, while a trial speaks each 0.7 s."""
    from mlflow import MlflowClient

    tracker = Tracker(uri, "lag", SweepView(f"lag-{times}", "home", score=FewShot.score))
    _wait(lambda: tracker.run_id)
    client, seen = MlflowClient(uri), []
    said: dict[int, float] = {}
    stop = threading.Event()

    def speak() -> None:
        for step in range(1, 1000):
            said[step] = time.monotonic()
            tracker.record(trial(0, 5 * step, "running"))
            if stop.wait(0.7):
                return

    speaker = threading.Thread(target=speak, daemon=True)
    speaker.start()
    newest = 0
    while len(seen) < times:
        runs = client.search_runs([tracker.experiment_id], f"tags.`mlflow.parentRunId` = '{tracker.run_id}'")
        history = client.get_metric_history(runs[0].info.run_id, KEYS[0]) if runs else []
        now = time.monotonic()
        fresh = [one.step for one in history if one.step > newest]
        seen += [now - said[step] for step in fresh]
        newest = max([newest, *fresh])
        time.sleep(0.1)
    stop.set()
    speaker.join()
    tracker.finish("FINISHED", 600)
    return {"median_s": median(seen), "longest_s": max(seen)}


def end(uri: str | None) -> float:
    """Seconds that a sweep of 20 trials waits at its end, after half a minute or less in which MLflow could write."""
    if uri is None:
        return 0.0
    tracker = Tracker(uri, "end", SweepView("end", "home", score=FewShot.score))
    longest_s = 0.0
    for number in range(20):
        started = time.perf_counter()
        tracker.record(trial(number, 100))
        longest_s = max(longest_s, time.perf_counter() - started)
        time.sleep(0.4)
    started = time.perf_counter()
    tracker.finish("FINISHED", TRACKING_END_TIMEOUT_S, TRACKING_DOWN_TIMEOUT_S)
    return longest_s + time.perf_counter() - started


def _wait(condition: Any, limit_s: float = 180) -> None:
    until = time.monotonic() + limit_s
    while not condition():
        if time.monotonic() > until:
            raise TimeoutError("MLflow does not come up")
        time.sleep(0.05)


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """A real ``mlflow server`` on a folder."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    uri = f"http://127.0.0.1:{port}"
    command = [
        sys.executable,
        "-m",
        "mlflow",
        "server",
        "--backend-store-uri",
        default_uri(folder),
        "--port",
        str(port),
    ]
    command += ["--artifacts-destination", str(folder / "artifacts"), "--workers", "1"]
    quiet = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(
            command, cwd=folder, env=os.environ | quiet, stdout=log, stderr=log, start_new_session=True
        )
    try:
        _wait(lambda: _answers(uri))
        yield uri
    finally:
        with suppress(ProcessLookupError):
            os.killpg(server.pid, 9)
        server.wait()


def _answers(uri: str) -> bool:
    with suppress(OSError), urlopen(f"{uri}/health", timeout=2) as answer:
        return bool(answer.status == 200)
    return False


@contextmanager
def delayed(uri: str) -> Iterator[str]:
    """An address whose every answer comes ``LATE_S`` late."""
    host, port = uri.removeprefix("http://").split(":")
    listener = socket.create_server(("127.0.0.1", 0))

    def serve(client: socket.socket) -> None:
        with suppress(OSError), client, socket.create_connection((host, int(port))) as server:
            back = threading.Thread(target=_pass, args=(server, client, LATE_S), daemon=True)
            back.start()
            _pass(client, server, 0.0)
            back.join()

    def accept() -> None:
        with suppress(OSError):
            while True:
                threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        listener.close()


def _pass(source: socket.socket, target: socket.socket, late_s: float) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            time.sleep(late_s)
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)


def main() -> None:
    """Prints the table, or one JSON object."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--quick", action="store_true", help="a tenth of it: whether it works, no numbers to keep")
    parser.add_argument("--trials", type=int, help="of the rate; default 1000, a fifth of them through a server")
    asked = parser.parse_args()
    trials = asked.trials or (20 if asked.quick else 1000)
    found: dict[str, Any] = {"cpus": os.cpu_count(), "machine": platform.machine()}

    def say(line: str) -> None:
        print(line, file=sys.stderr if asked.json else sys.stdout, flush=True)

    say(f"{os.cpu_count()} CPUs, {platform.machine()}; trials of 100 points, 30 params and 16 tags")
    with tempfile.TemporaryDirectory() as name:
        files, server_files = Path(name, "file"), Path(name, "server")
        files.mkdir()
        server_files.mkdir()
        with served(server_files) as server:
            stores = {"SQLite": default_uri(files), "server": server}
            for store, uri in stores.items():
                of = found.setdefault(store, {})
                one = of["rate"] = rate(uri, trials if store == "SQLite" else max(trials // 5, 5))
                say(
                    f"{store:8s} rate  1,000 trials in {one['seconds_for_1000']:.0f} s ({one['trials']} written), "
                    f"{one['points_a_second']:.0f} points/s, {one['cpu_ms_a_trial']:.0f} ms of CPU a trial"
                )
                one = of["cost"] = cost(uri, TRIAL_S / 4 if asked.quick else TRIAL_S)
                say(
                    f"{store:8s} cost  {one['cpu_ms']:.0f} ms of CPU, a trial of 200 points in {one['trial_s']:.0f} s: "
                    f"{one['percent']:.2f} % of one core"
                )
                one = of["lag"] = lag(uri, 4 if asked.quick else 40)
                say(f"{store:8s} lag   {one['median_s']:.1f} s in the median, {one['longest_s']:.1f} s at most")
            with delayed(server) as slow:
                addresses = {"none": None, "slow": slow, "gone": "http://127.0.0.1:9"}
                ends: dict[str, list[float]] = {kind: [] for kind in addresses}
                for _ in range(1 if asked.quick else 3):
                    for kind, address in addresses.items():
                        ends[kind].append(end(address))
        found["end_s"] = ends
        for kind, waits in ends.items():
            say(f"end      {kind:5s} {median(waits):.1f} s in the median, {max(waits):.1f} s at most")
    if asked.json:
        print(json.dumps(found))


if __name__ == "__main__":
    main()
