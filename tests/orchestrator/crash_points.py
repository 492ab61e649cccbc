"""Dies between any two writes of a home: a process that is killed there, staged or real."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from orchestrator.home_objects import Home


class Killed(BaseException):
    """The process is gone. Nothing in the code may catch this, and nothing that does so anyway may still write."""


class CrashPoints:
    """Counts the points after every step that can be seen on a disk, and dies at one of them.

    Point 0 lies before the first step, so the point after a step is the one before the next.
    """

    def __init__(self, at: int | None, really: bool, on_point: Callable[[int], None]) -> None:
        self.at, self.really, self.on_point = at, really, on_point
        self.passed = 0
        self._dead = False

    def point(self) -> None:
        """Dies here, if this is the point."""
        if self.passed == self.at:
            if self.really:
                os.kill(os.getpid(), signal.SIGKILL)
            self._dead = True
            raise Killed
        self.on_point(self.passed)
        self.passed += 1

    def around(self, step: Callable[..., Any]) -> Callable[..., Any]:
        """The step, with the point behind it. A dead process does not take it: no ``finally`` tidies up after it."""

        def taken(*arguments: Any, **options: Any) -> Any:
            if self._dead:
                raise Killed
            result = step(*arguments, **options)
            self.point()
            return result

        return taken


def _pass(point: int) -> None:
    """Where nobody looks."""


@contextmanager
def crash_points(
    at: int | None, really: bool = False, on_point: Callable[[int], None] = _pass
) -> Iterator[CrashPoints]:
    """Points after a temporary file is written, after it gets its name (by rename or by link), after its own name or
    an object is removed; and after each put of a home that is no local disk. ``on_point`` gets each that is passed."""
    points = CrashPoints(at, really, on_point)
    with pytest.MonkeyPatch.context() as patch:
        for place, name in ((Home, "_write_temporary"), (os, "replace"), (os, "link"), (Path, "unlink")):
            patch.setattr(place, name, points.around(getattr(place, name)))
        for name in ("EVERY_S", "EVERY_IN_BUCKET_S"):  # which points there are would depend on time
            patch.setattr(f"orchestrator.live_record.{name}", 1e6)
        patch.setattr(Home, "remove", points.around(Home.remove))
        patch.setattr(Home, "put", _elsewhere(Home.put, points))
        patch.setattr(threading, "excepthook", _but_killed(threading.excepthook))
        points.point()
        yield points


def _but_killed(hook: Callable[[Any], None]) -> Callable[[Any], None]:
    """What hears of threads that ended by an exception, but for those that died with their process."""
    return lambda its: None if issubclass(its.exc_type, Killed) else hook(its)


def _elsewhere(step: Callable[..., Any], points: CrashPoints) -> Callable[..., Any]:
    """The step, with a point behind it where the home is no local disk: there it is one operation."""
    counted = points.around(step)
    return lambda home, *arguments: (step if home.local is not None else counted)(home, *arguments)
