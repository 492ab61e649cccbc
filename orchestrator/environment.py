"""Where and with what an attempt ran. Bits are equal only within one environment."""

from __future__ import annotations

import os
import platform
import resource
import subprocess
import sys
from collections.abc import Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
"""Of the code that runs: a checkout, or where packages are installed."""

GIT_COMMIT = "METASWEEP_GIT_COMMIT"
"""Variable that says it where the code lies in no checkout."""

FROM_ELSEWHERE = "METASWEEP_FROM_ELSEWHERE"
"""Variable that is set where a command runs on the head of a cluster for somebody on another machine."""

PACKAGES = ("metasweep", "torch", "numpy", "pyarrow", "ray", "optuna", "mlflow", "gymnasium", "mujoco")


def cpu_count() -> int:
    """CPUs that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def may_have_gpus() -> bool:
    """False where no driver of an accelerator is to be seen; how many there are, Ray says."""
    return sys.platform != "linux" or has_gpu_driver()


def has_gpu_driver() -> bool:
    """Whether the driver of an accelerator is to be seen."""
    return any(map(os.path.exists, ("/dev/nvidiactl", "/dev/kfd", "/dev/dxg")))


@cache
def versions() -> Mapping[str, str]:
    """Versions of the packages that results may depend on; those that are not installed are left out."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def environment(device: str) -> dict[str, Any]:
    """What decides the bits of a result: device model, instruction set, torch version, threads."""
    import torch

    on_gpu = device.startswith("cuda")
    return {
        "device": torch.cuda.get_device_name() if on_gpu else _cpu_model(),
        "instruction_set": torch.backends.cpu.get_cpu_capability(),
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
    }


def git_commit(folder: Path) -> str | None:
    """Commit of the checkout that a folder lies in, ``-dirty`` where tracked files differ; None outside of one."""
    if given := os.environ.get(GIT_COMMIT):  # a job of a cluster: its code came without the checkout
        return given
    command = ["git", "-C", str(folder), "describe", "--always", "--abbrev=40", "--dirty", "--exclude=*"]
    try:
        found = subprocess.run(command, capture_output=True, text=True, timeout=5, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return found.stdout.strip() or None


def peak_memory_mb() -> float:
    """Peak resident memory of this process so far, in MiB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (1024**2 if sys.platform == "darwin" else 1024), 1)


def memory_bytes() -> tuple[int, int] | None:
    """(used, in all) of this machine, or of the container that limits it; None where the system does not say."""
    try:
        fields = (line.split() for line in Path("/proc/meminfo").read_text().splitlines())
        machine = {name: 1024 * int(value) for name, value, *_ in fields}
        used, total = machine["MemTotal:"] - machine["MemAvailable:"], machine["MemTotal:"]
    except (OSError, KeyError, ValueError):
        return None
    group = Path("/sys/fs/cgroup")
    try:
        limit, held = (int((group / f"memory.{name}").read_text()) for name in ("max", "current"))
        cached = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())["inactive_file"]
    except (OSError, KeyError, ValueError):  # no container, or one without a limit ("max")
        return used, total
    return (max(held - int(cached), 0), limit) if limit < total else (used, total)


def _cpu_model() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
