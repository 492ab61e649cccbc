"""A real MLflow server for tests, and all that a store holds."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

from orchestrator.tracking import Point, default_uri

LIMIT_S = 150
"""For what takes seconds on a machine that is not busy."""


def until(condition) -> None:
    end = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < end, "took too long"
        time.sleep(0.02)


class Read:
    """Everything in a store's experiment, by MLflow's own client."""

    def __init__(self, uri: str, experiment: str = "metasweep") -> None:
        from mlflow import MlflowClient

        self.client = MlflowClient(tracking_uri=uri)
        self.experiment = self.client.get_experiment_by_name(experiment)
        runs = list(self.client.search_runs([self.experiment.experiment_id]))
        self.parents = [run for run in runs if "mlflow.parentRunId" not in run.data.tags]
        self.children = sorted(
            (run for run in runs if "mlflow.parentRunId" in run.data.tags),
            key=lambda run: int(run.data.tags["metasweep.number"]),
        )

    def points(self, run) -> list[Point]:
        history = [m for key in run.data.metrics for m in self.client.get_metric_history(run.info.run_id, key)]
        return sorted(Point(m.key, m.step, m.value, m.timestamp) for m in history)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Server:
    """A real ``mlflow server`` on 127.0.0.1, in a process group of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, free_port()
        self.uri = f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", default_uri(self.folder)]
        command += ["--artifacts-destination", str(self.folder / "a"), "--workers", "1", "--port", str(self.port)]
        quiet = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
        with (self.folder / "server.log").open("ab") as log:
            self.process = subprocess.Popen(
                command, cwd=self.folder, env=os.environ | quiet, stdout=log, stderr=log, start_new_session=True
            )
        until(self._up)

    def _up(self) -> bool:
        with contextlib.suppress(OSError), urllib.request.urlopen(f"{self.uri}/health", timeout=2) as answer:
            return answer.status == 200
        return False

    def stop(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
