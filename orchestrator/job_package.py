"""The folder that a job of ours runs in: what it reads, and this code, of which a cluster needs only dependencies."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from orchestrator.environment import FROM_ELSEWHERE, GIT_COMMIT, ROOT, git_commit

PACKAGES = ("orchestrator", "trainers", "sweeps")
ENTRY = "job_entry.py"


@contextmanager
def job_package(files: Mapping[str, str]) -> Iterator[Path]:
    """A folder with the code, the first thing that a job runs, and ``files`` (name -> text). Removed at the end."""
    with tempfile.TemporaryDirectory(prefix="metasweep-job-") as made:
        folder = Path(made)
        for package in PACKAGES:
            shutil.copytree(ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copyfile(Path(__file__).with_name(ENTRY), folder / ENTRY)
        for name, text in files.items():
            (folder / name).write_text(text, encoding="utf-8")
        yield folder


def job_variables() -> dict[str, str]:
    """Environment of a job: that it is one, and of which commit its code is, where this is known here."""
    commit = git_commit(ROOT)
    return {FROM_ELSEWHERE: "1"} | ({GIT_COMMIT: commit} if commit else {})
