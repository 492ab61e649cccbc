"""Waits for an object store, but not without end, as Arrow does where a server is mute."""

from __future__ import annotations

import errno
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

Answer = TypeVar("Answer")

ANSWER_S = 30.0
"""How long one request may take, with a second more for each MiB that it sends."""

MUTE_S = 2.0
"""How long the next ones may, until the store answers again."""

LOOK_S = 0.2

INTERRUPTED_S = 5.0
"""How long a request that Ctrl-C meets may take to end."""

_unanswered: list[threading.Thread] = []


class Patience:
    """With one store. Requests may come from several threads."""

    def __init__(self, place: str, answer_s: float = ANSWER_S) -> None:
        """``place``: what the user calls the store; errors name it."""
        self._place, self._answer_s = place, answer_s
        self._mute = False

    def ask(self, request: Callable[[], Answer], sent_bytes: int = 0) -> Answer:
        """What the request gives, or raises.

        It is made in a thread of its own, where no Ctrl-C can raise between opening and writing an object: what is
        left open is closed by Arrow, and so put, with nothing in it.

        Raises:
            OSError: ETIMEDOUT; there is no answer. The thread may still wait for one.
        """
        answer: Future[Answer] = Future()
        thread = threading.Thread(target=_make, args=(request, answer), name="object-store", daemon=True)
        began_s, limit_s = time.monotonic(), self._answer_s + sent_bytes / 2**20
        try:
            thread.start()
            while thread.is_alive() and time.monotonic() - began_s < (limit_s := MUTE_S if self._mute else limit_s):
                thread.join(min(LOOK_S, limit_s))  # another thread may find it mute meanwhile
        except KeyboardInterrupt:
            thread.join(INTERRUPTED_S)
            self._note(thread)
            raise
        self._note(thread)
        if not answer.done():
            raise OSError(errno.ETIMEDOUT, f"no answer within {limit_s:g} s", self._place)
        return answer.result()

    def _note(self, thread: threading.Thread) -> None:
        self._mute = thread.is_alive()
        if self._mute:
            _unanswered.append(thread)


def awaited() -> bool:
    """Whether some thread still waits for an answer: Python's exit would wait for it, too."""
    return any(thread.is_alive() for thread in _unanswered)


def _make(request: Callable[[], Answer], answer: Future[Answer]) -> None:
    try:
        answer.set_result(request())
    except BaseException as error:
        answer.set_exception(error)
