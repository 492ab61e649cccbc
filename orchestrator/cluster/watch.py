"""Notices that a part of a cluster of ours has died: Tune would wait for it, without end or for minutes."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any

from orchestrator.errors import DeadCluster

LOOK_EVERY_S = 0.2
GRACE_S = 10.0
"""How long the main thread may take to hear of it."""

_NEEDED = ("raylet", "gcs_server")


class ClusterDied(BaseException):
    """Raised in the main thread by ``watched``. No Exception: Tune and Ray catch those, and would go on."""


def dead_part() -> str | None:
    """A process that the cluster can't do without and that has ended; None too where the cluster is not ours."""
    node = _node()
    dead = [kind for kind, _ in node.dead_processes()] if node is not None else []
    return next((kind for kind in _NEEDED if kind in dead), None)


def check_cluster() -> None:
    """Raises ClusterDied where a cluster of ours has."""
    if part := dead_part():
        raise ClusterDied(_what_happened(part))


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
            if part := dead_part():
                signal.pthread_kill(main, signal.SIGUSR2)
                if not over.wait(GRACE_S):
                    _leave(part)
                return

    before = signal.signal(signal.SIGUSR2, _heard)  # SIGUSR1 is Tune's, and ends it without a word
    thread = threading.Thread(target=look, name="cluster-watch", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        signal.signal(signal.SIGUSR2, before)


def end_with_raylet() -> None:
    """From now on this process, a worker, ends when the raylet that has started it does.

    Ray's own check takes a process for an orphan when its parent is process 1. In the session of a desktop, whose
    manager takes orphans in, no process ever is, and a worker trained on for a minute.
    """
    raylet = os.getppid()

    def look() -> None:
        while os.getppid() == raylet:
            time.sleep(LOOK_EVERY_S)
        os._exit(DeadCluster.exit_code)

    threading.Thread(target=look, name="raylet-watch", daemon=True).start()


def end_session() -> None:
    """Ends every process of a cluster of ours but this one: some would stay for a minute.

    They are those with files of Ray's session open. Without ``/proc`` they are not known, and stay.
    """
    folder = f"{_node().get_session_dir_path()}/"
    for process in Path("/proc").glob("[0-9]*"):
        if int(process.name) != os.getpid() and any(path.startswith(folder) for path in _opened(process)):
            with suppress(OSError):
                os.kill(int(process.name), signal.SIGKILL)


def _opened(process: Path) -> Iterator[str]:
    """What a process has open; less what it closes meanwhile, as those do whose raylet has just died."""
    with suppress(OSError):  # it has ended, or is another user's
        for link in (process / "fd").iterdir():
            with suppress(OSError):
                yield os.readlink(link)


def _node() -> Any:
    from ray._private import worker  # nothing public tells

    return worker._global_node


def _heard(_number: int, _frame: FrameType | None) -> None:
    check_cluster()


def _what_happened(part: str) -> str:
    return f"Ray's {part} on this machine was killed or has crashed"


def _leave(part: str) -> None:
    """Ends this process: its main thread waits inside Ray, which would end it in a minute, as if it had crashed."""
    line = f"error: the sweep stopped: {_what_happened(part)}; run it again to go on\n"
    with suppress(OSError):
        os.write(2, line.encode())
    end_session()
    os._exit(DeadCluster.exit_code)
