"""What this machine can do, what is missing, and how to get it."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

from packaging.requirements import Requirement

from orchestrator.data import data_folder, list_datasets
from orchestrator.environment import cpu_count, has_gpu_driver
from orchestrator.errors import HomeError, TrackingError
from orchestrator.finding import Finding
from orchestrator.home import existing_home
from orchestrator.tracking_uri import check_uri, reachable
from orchestrator.url_secrets import masked
from trainers.datasets import recipe_of
from trainers.errors import EnvironmentAbsent
from trainers.rl.environments import ENVIRONMENTS, check_installed

LITTLE_DISK_BYTES = 2**30
LITTLE_MEMORY_BYTES = 2**30
"""A worker takes about half of it."""

LITTLE_SHARED_BYTES = 2**28
"""Ray keeps what workers share there; with less it uses the disk, which is slower."""

GPU_TIMEOUT_S = 60.0
_GPUS = """
import torch
print(torch.version.cuda or torch.version.hip or "")
for number in range(torch.cuda.device_count()):
    its = torch.cuda.get_device_properties(number)
    print(f"{its.name}, {its.total_memory / 2**30:.0f} GiB")
"""


def examine(home_url: str) -> list[Finding]:
    """Looks at this machine, and at a home as it is seen from here. Starts nothing, writes nothing."""
    return [
        _python(),
        *_packages(),
        *_processors(),
        _gpus(),
        *_disk(home_url),
        *_data(home_url),
        _environments(),
        _tracking(home_url),
    ]


def _python() -> Finding:
    return Finding("python", "ok", f"{platform.python_version()} ({sys.executable})")


def _packages() -> list[Finding]:
    """Whether those that this one needs are there, each in a version that it takes."""
    try:
        wanted = [Requirement(line) for line in requires("metasweep") or ()]
    except PackageNotFoundError:
        return [Finding("packages", "note", "not known: metasweep runs from a folder, and is not installed")]
    needed = [one for one in wanted if one.marker is None or one.marker.evaluate({"extra": ""})]
    problems = [problem for one in needed if (problem := _package_problem(one))]
    main = ", ".join(f"{name} {version(name)}" for name in ("torch", "ray", "optuna", "mlflow") if _version(name))
    return problems or [Finding("packages", "ok", f"all {len(needed)} are there: {main}, …")]


def _package_problem(wanted: Requirement) -> Finding | None:
    found = _version(wanted.name)
    if found is not None and wanted.specifier.contains(found, prereleases=True):
        return None
    words = "is missing" if found is None else f"is {found}, and must be {wanted.specifier}"
    return Finding("packages", "problem", f"{wanted.name} {words}", f"pip install '{wanted.name}{wanted.specifier}'")


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _processors() -> Iterator[Finding]:
    cpus = cpu_count()
    yield Finding("processors", "ok", f"{cpus}, so {cpus} trial{'s' if cpus > 1 else ''} at once")
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        little = memory < LITTLE_MEMORY_BYTES * cpus
        way_out = "run fewer trials at once: --max-concurrent" if little else ""
        yield Finding("memory", "note" if little else "ok", f"{memory / 2**30:.1f} GiB", way_out)
    if os.path.isdir("/dev/shm"):
        shared = shutil.disk_usage("/dev/shm").free
        little = shared < LITTLE_SHARED_BYTES
        way_out = "in a container: docker run --shm-size=2g" if little else ""
        yield Finding("shared memory", "note" if little else "ok", f"{shared / 2**30:.1f} GiB of /dev/shm", way_out)


def _gpus() -> Finding:
    if not has_gpu_driver():
        return Finding("gpus", "note", "none: trials run on processors")
    try:  # in a process of its own: a driver that is broken may hang or crash
        command = [sys.executable, "-c", _GPUS]
        done = subprocess.run(command, capture_output=True, text=True, timeout=GPU_TIMEOUT_S, check=True)
    except (OSError, subprocess.SubprocessError) as error:
        return Finding("gpus", "problem", f"torch can't say: {type(error).__name__}", "see that nvidia-smi works")
    built_for, *names = done.stdout.splitlines()
    if not built_for:
        way_out = "install a torch for CUDA (pytorch.org); trials run on processors meanwhile"
        return Finding("gpus", "problem", "there is a driver, but torch is built for processors", way_out)
    if not names:
        return Finding("gpus", "problem", "there is a driver, but torch sees no GPU", "see that nvidia-smi works")
    return Finding("gpus", "ok", "; ".join(names))


def _disk(home_url: str) -> Iterator[Finding]:
    try:
        home = existing_home(home_url)
    except HomeError as error:
        yield Finding("home", "problem", str(error).removeprefix("--home "))
        return
    words = "there" if home else "none yet; the first sweep makes it"
    yield Finding("home", "ok", f"{masked(home_url)}: {words}")
    if "://" not in home_url:
        folder = Path(home_url).expanduser().absolute()
        there = next(path for path in (folder, *folder.parents) if path.exists())
        free = shutil.disk_usage(there).free
        little = free < LITTLE_DISK_BYTES
        way_out = "`orchestrate clean`, or another --home" if little else ""
        yield Finding("disk", "problem" if little else "ok", f"{free / 2**30:.1f} GiB free there", way_out)


def _data(home_url: str) -> list[Finding]:
    rows = list_datasets(data_folder(home_url))
    there = sorted({row.name for row in rows if row.images is not None})
    damaged = [row for row in rows if row.fingerprint is not None and row.images is None]
    absent = [row for row in rows if row.fingerprint is None and row.name != "folder" and _needs_import(row.name)]
    found = [Finding("data", "ok", f"{', '.join(there) or 'nothing yet'} in the home; glyphs are drawn when asked for")]
    found += [Finding("data", "problem", f"{row.path}: {row.note}") for row in damaged]
    return found + [Finding("data", "note", f"{row.name} is not in the home", row.note or "") for row in absent]


def _needs_import(name: str) -> bool:
    return not recipe_of(name).embedded


def _environments() -> Finding:
    """Those of reinforcement learning that this machine can run."""
    absent = {}
    for name in ENVIRONMENTS:
        try:
            check_installed(name)
        except EnvironmentAbsent as error:
            absent[name] = str(error)
    there = ", ".join(name for name in ENVIRONMENTS if name not in absent)
    return Finding("environments", "note" if absent else "ok", there, next(iter(absent.values()), ""))


def _tracking(home_url: str) -> Finding:
    uri = os.environ.get("MLFLOW_TRACKING_URI")
    if not uri:
        where = "SQLite in the home" if "://" not in home_url else "none: a bucket has no store of its own"
        way_out = "" if "://" not in home_url else "name a server by --tracking-uri or MLFLOW_TRACKING_URI"
        return Finding("mlflow", "note" if way_out else "ok", where, way_out)
    try:
        check_uri(uri)
        reason = reachable(uri)
    except TrackingError as error:
        reason = str(error)
    if reason is None:
        return Finding("mlflow", "ok", f"{masked(uri)} answers")
    return Finding("mlflow", "problem", f"{masked(uri)}: {reason}", "start it, or unset MLFLOW_TRACKING_URI")
