"""Runs a server, and ends it with all that it started when stdin ends: whoever started this is gone, however.

A program of its own, of the standard library alone. It leads its process group: ``python server_guard.py COMMAND …``.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time

STOP_LIMIT_S = 5.0


def _end_with_stdin() -> None:
    while os.read(0, 1024):
        pass
    os.killpg(0, signal.SIGTERM)
    time.sleep(STOP_LIMIT_S)
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: None)  # for the server, whose end is ours; unlike SIG_IGN not inherited
    with subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL) as server:
        threading.Thread(target=_end_with_stdin, daemon=True).start()
        status = server.wait()
    sys.exit(status if status >= 0 else 128 - status)
