"""Notices that a part of a cluster of ours has died: Tune would wait for it, without end or for minutes."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

LOOK_EVERY_S = 0.2

_NEEDED = ("raylet", "gcs_server")


class ClusterDied(BaseException):
    """Raised in the main thread by ``watched``. No Exception: Tune and Ray catch those, and would go on."""


def dead_part() -> str | None:
    """A process that the cluster can't do without and that has ended; None too where the cluster is not ours."""
    from ray._private import worker

    node = worker._global_node  # nothing public tells
    dead = [kind for kind, _ in node.dead_processes()] if node is not None else []
    return next((kind for kind in _NEEDED if kind in dead), None)


@contextmanager
def watched() -> Iterator[None]:
    """While inside, the death of Ray's head or raylet on this machine raises ClusterDied, whatever is waited for.

    Outside the main thread, where Python takes no signals, it changes nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    over, main = threading.Event(), threading.get_ident()

    def look() -> None:
        while not over.wait(LOOK_EVERY_S):
            if dead_part() is not None:
                signal.pthread_kill(main, signal.SIGUSR1)
                return

    before = signal.signal(signal.SIGUSR1, _raise)
    thread = threading.Thread(target=look, name="cluster-watch", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        signal.signal(signal.SIGUSR1, before)


def _raise(_number: int, _frame: FrameType | None) -> None:
    check_cluster()


def check_cluster() -> None:
    """Raises ClusterDied where a cluster of ours has."""
    if part := dead_part():
        raise ClusterDied(f"Ray's {part} on this machine was killed or has crashed")


def end_session(folder: str) -> None:
    """Ends every process that has files of a Ray session open: without raylet or head, some would stay for a minute.

    Known from ``/proc``; where there is none, they stay.
    """
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            opened = [os.readlink(link) for link in (process / "fd").iterdir()]
            if int(process.name) != os.getpid() and any(path.startswith(f"{folder}/") for path in opened):
                os.kill(int(process.name), signal.SIGKILL)
