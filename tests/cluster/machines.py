"""Machines of one cluster on one machine: a namespace each for network, mounts, processes and the host's name.

Home folder, temporary files and shared memory of each are file systems of its own, so a home has to be a URL and data
travel through Ray. Only the programs are shared.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from orchestrator.cluster.connect import START_ATTEMPTS

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
NETWORK = "10.213.7"
PORT = 6379
STORE_BYTES = 100_000_000
TOKEN = "0123456789abcdef" * 4

_NEW = ["unshare", "--net", "--mount", "--uts", "--pid", "--fork", "--kill-child", "--mount-proc"]
_QUICK_HEALTH_CHECKS = {  # Ray takes half a minute to call a node dead; a test need not
    "RAY_health_check_initial_delay_ms": "2000",
    "RAY_health_check_period_ms": "3000",  # a raylet that waits for a processor is not dead
    "RAY_health_check_timeout_ms": "10000",
    "RAY_health_check_failure_threshold": "3",
}
_TOOLS = ("unshare", "nsenter", "ip", "mount", "hostname")


@dataclass(frozen=True)
class Machine:
    """One of them. ``private`` is the folder that each sees its own of."""

    number: int
    pid: int
    private: Path

    @property
    def name(self) -> str:
        return f"node{self.number}"

    @property
    def address(self) -> str:
        return f"{NETWORK}.{self.number}"

    def inside(self, path: Path) -> Path:
        """Where this process finds a path of the machine's."""
        return Path(f"/proc/{self.pid}/root") / path.relative_to("/")

    def start(self, *command: str | Path, **options: int) -> subprocess.Popen[str]:
        """A command there, in the background."""
        inside = ["nsenter", "--target", str(self.pid), "--net", "--mount", "--uts", "--pid"]
        return subprocess.Popen([*inside, *command], env=self._environment(), cwd=ROOT, text=True, **options)

    def run(self, *command: str | Path, timeout_s: float = 150, may_fail: bool = False) -> str:
        """A command there; its stdout."""
        started = self.start(*command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        try:
            out, err = started.communicate(timeout=timeout_s)
        finally:
            started.kill()
        assert may_fail or started.returncode == 0, (command, out, err)
        return out

    def start_ray(self, *options: str, **variables: str) -> None:
        """Makes it a node of the cluster, with one CPU; the first is the head. Its workers have the variables."""
        if self.number == 1:
            place = ["--head", f"--port={PORT}", "--include-dashboard=false", f"--temp-dir={self.private}/ray"]
        else:
            place = [f"--address={NETWORK}.1:{PORT}"]
        common = ["--num-cpus=1", f"--object-store-memory={STORE_BYTES}", "--disable-usage-stats"]
        changed = ["env", *(f"{name}={value}" for name, value in variables.items())]
        command = [*changed, BIN / "ray", "start", f"--node-ip-address={self.address}", *place, *common, *options]
        for _ in range(START_ATTEMPTS - 1):  # Ray gives its processes 30 s, which a busy machine may not do in
            if "Ray runtime started" in self.run(*command, may_fail=True):
                return
            self.run(BIN / "ray", "stop", "--force", may_fail=True)
        self.run(*command)

    def crash(self) -> None:
        """SIGKILL to all that runs there, at once."""
        self.run("sh", "-c", "kill -9 -1", may_fail=True)

    def plug(self, up: bool) -> None:
        """The network cable, which the first does not have: in or out."""
        self.run("ip", "link", "set", "cable", "up" if up else "down")
        if up:
            self._route()

    def shared_memory_bytes(self) -> int:
        """What the object store has ever filled: its pages come when they are first written, and stay."""
        stat = os.statvfs(self.inside(Path("/dev/shm")))
        return (stat.f_blocks - stat.f_bfree) * stat.f_frsize

    def connect(self, first: Machine) -> None:
        """Gives it its name, file systems of its own, and a cable to the switch in the first one."""
        self.run("hostname", self.name)
        for folder in ("/dev/shm", str(self.private)):
            self.run("mount", "-t", "tmpfs", "tmpfs", folder)
        for folder in ("home", "tmp", "ray"):
            self.inside(self.private / folder).mkdir()
        self.run("ip", "link", "set", "lo", "up")
        device = "switch" if self == first else "cable"
        if self == first:
            self.run("ip", "link", "add", "switch", "type", "bridge")
        else:
            port = f"port{self.number}"
            ends = ["ip", "link", "add", port, "netns", str(first.pid), "type", "veth"]
            subprocess.run([*ends, "peer", "name", "cable", "netns", str(self.pid)], check=True, capture_output=True)
            first.run("ip", "link", "set", port, "master", "switch", "up")
        self.run("ip", "address", "add", f"{self.address}/24", "dev", device)
        self.run("ip", "link", "set", device, "up")
        self._route()

    def _route(self) -> None:
        """By its default route Ray finds a node's own address; there is nothing behind it."""
        self.run("ip", "route", "replace", "default", "via", f"{NETWORK}.254")

    def _environment(self) -> dict[str, str]:
        own = {"HOME": self.private / "home", "TMPDIR": self.private / "tmp", "XDG_CACHE_HOME": self.private / "cache"}
        secret = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": TOKEN, "RAY_USAGE_STATS_ENABLED": "0"}
        secret |= {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_EC2_METADATA_DISABLED": "true"}
        dropped = ("RAY_", "MLFLOW_", "AWS_", "ORCHESTRATE_")
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(dropped)}
        return inherited | secret | _QUICK_HEALTH_CHECKS | {name: str(path) for name, path in own.items()}


@contextmanager
def machines(count: int, private: Path) -> Iterator[Sequence[Machine]]:
    """So many, on one network. Skips, naming why, where namespaces are refused.

    Args:
        count: how many.
        private: a folder with a short path, since Ray's sockets lie below.
    """
    missing = [tool for tool in _TOOLS if shutil.which(tool) is None]
    if missing or os.geteuid() != 0:
        pytest.skip(f"namespaces need root, util-linux and iproute2; not here: {', '.join(missing) or 'root'}")
    holders: list[subprocess.Popen[bytes]] = []
    try:
        for _ in range(count):
            holder = subprocess.Popen([*_NEW, "sh", "-c", "echo; read end"], stdin=-1, stdout=-1, stderr=-1)
            holders.append(holder)
            assert holder.stdout is not None
            assert holder.stderr is not None
            if not holder.stdout.readline():
                pytest.skip(f"namespaces are refused here: {holder.stderr.read().decode().strip()}")
        pids = [psutil.Process(holder.pid).children()[0].pid for holder in holders]
        made = [Machine(number, pid, private) for number, pid in enumerate(pids, 1)]
        for machine in made:
            machine.connect(made[0])
        yield made
    finally:
        for holder in holders:  # with it go all processes of the machine
            holder.kill()
            holder.communicate()
