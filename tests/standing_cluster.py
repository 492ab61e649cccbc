"""A Ray cluster that stands before a sweep begins and after it has ended: one head on this machine, with a token."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import psutil
import yaml
from processes import command_of, environment, wait_for

HEAD_ID = "f" * 51 + "00000"
"""What Ray's provider of machines that are processes calls the head."""

LAUNCHER = "launcher.yaml"
"""In a cluster's folder, what its autoscaler was told."""


@dataclass(frozen=True)
class Head:
    """A head that runs."""

    address: str
    """For drivers: ``HOST:PORT``."""
    jobs: str
    """URL of its job server; empty where it has none."""
    token: Path
    """The file with its token."""
    process: psutil.Process
    """``ray start``, above all of its processes."""

    def workers(self) -> list[psutil.Process]:
        """The processes that run trials."""
        return [one for one in self.process.children(recursive=True) if "Trainable" in " ".join(command_of(one))]

    @property
    def variables(self) -> dict[str, str]:
        """Environment of whoever may use it."""
        return {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(self.token)}


def free_port() -> int:
    """One that nothing listens on, on 127.0.0.1."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def own_address() -> str:
    """The address that Ray takes for this machine's: it does not let anybody join by 127.0.0.1."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as route:
        route.connect(("192.0.2.1", 9))
        host: str = route.getsockname()[0]
        return host


def _launcher(address: str, most: int) -> dict[str, object]:
    """For Ray's autoscaler: up to so many machines, none of which it has to log in to."""
    worker = {"resources": {"CPU": 1, "object_store_memory": 100_000_000}, "max_workers": most, "node_config": {}}
    unused = {"auth": {}, "docker": {}, "file_mounts": {}, "file_mounts_sync_continuously": False}
    unused |= {key: [] for key in ("cluster_synced_files", "rsync_exclude", "rsync_filter", "initialization_commands")}
    unused |= {f"{part}setup_commands": [] for part in ("", "head_", "worker_")}
    unused |= {f"{part}_start_ray_commands": [] for part in ("head", "worker")}
    return unused | {
        "cluster_name": "grows",
        "max_workers": most,
        "upscaling_speed": 1.0,
        "idle_timeout_minutes": 5,
        "provider": {
            "type": "fake_multinode",
            "gcs_address": address,
            "head_node_id": HEAD_ID,
            "launch_multiple": True,
            "disable_node_updaters": True,
            "disable_launch_config_check": True,
            "worker_liveness_check": False,
        },
        "head_node_type": "ray.head.default",
        "available_node_types": {
            "ray.head.default": {"resources": {"CPU": 0}, "node_config": {}, "max_workers": 0},
            "worker": {"min_workers": 0, **worker},
        },
    }


@contextmanager
def standing_cluster(
    folder: Path,
    jobs: bool = False,
    cpus: int = 2,
    gpus: int = 0,
    variables: Mapping[str, str] = MappingProxyType({}),
    grows_by: int = 0,
) -> Iterator[Head]:
    """``ray start --head`` in its own process group. Sweeps must leave it running.

    Args:
        folder: for its token and its log.
        jobs: with a job server, on 127.0.0.1.
        cpus: processors that it says it has.
        gpus: GPUs that it says it has; there is none.
        variables: more of its environment, and that of its workers.
        grows_by: Ray's autoscaler starts up to so many machines of one processor, which are processes of this one.
    """
    port, dashboard, client = free_port(), free_port(), free_port()
    token = folder / "token"
    token.write_text(os.urandom(32).hex())
    token.chmod(0o600)
    variables = {**variables, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(token)}
    temp = Path("/tmp") / f"ray-{port}"
    served = "--include-dashboard=false"
    if jobs:  # an agent takes them, whose usual port may be another cluster's
        agent = free_port()
        served = f"--dashboard-host=127.0.0.1 --dashboard-port={dashboard} --dashboard-agent-listen-port={agent}"
    command = [
        str(Path(sys.executable).parent / "ray"),
        *f"start --head --port={port} --num-cpus={cpus} --num-gpus={gpus} --block --temp-dir={temp}".split(),
        *f"--ray-client-server-port={client} {served}".split(),  # else always of one number, as a second cluster's
    ]
    if grows_by:
        launcher = folder / LAUNCHER
        launcher.write_text(yaml.safe_dump(_launcher(f"{own_address()}:{port}", grows_by)))
        command.append(f"--autoscaling-config={launcher}")
        variables |= {"RAY_FAKE_CLUSTER": "1", "RAY_OVERRIDE_NODE_ID_FOR_TESTING": HEAD_ID}
    said = folder / "ray.log"
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # jobs run its python
    with said.open("wb") as log:
        process = psutil.Popen(
            command,
            env=environment() | variables | {"PATH": path},
            start_new_session=True,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:

        def up() -> bool:
            assert process.poll() is None, said.read_text()
            return "Ray runtime started" in said.read_text()

        wait_for(up, "ray start --head does not come up")
        jobs_at = f"http://127.0.0.1:{dashboard}" if jobs else ""
        yield Head(f"{own_address()}:{port}", jobs_at, token, psutil.Process(process.pid))
        assert process.poll() is None
    finally:
        parts = [process]
        with suppress(psutil.NoSuchProcess):  # it may have died early, and left what it had started
            parts += process.children(recursive=True)
        for part in [*parts, *(one for one in psutil.process_iter() if f"{temp}/" in " ".join(command_of(one)))]:
            with suppress(psutil.NoSuchProcess):
                part.kill()
        process.wait()
        shutil.rmtree(temp, ignore_errors=True)
