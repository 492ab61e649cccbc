"""Faults that no signal makes, for every Python process whose PYTHONPATH names this folder.

FAULT_FILL      a disk is filled, to its last byte, when a file is about to be written whose path contains this
FAULT_DISK      the folder where that disk is mounted
FAULT_CLOCK_S   Python's clock is so many seconds ahead (the calendar, not the monotonic one)
"""

import contextlib
import os
import pathlib
import time

_open, _time, _time_ns = pathlib.Path.open, time.time, time.time_ns


def _filling_open(self, mode="r", *args, **kwargs):
    if "w" in mode and os.environ["FAULT_FILL"] in str(self):
        with contextlib.suppress(OSError), _open(pathlib.Path(os.environ["FAULT_DISK"]) / "ballast", "ab", 0) as file:
            while True:
                file.write(bytes(4096))
    return _open(self, mode, *args, **kwargs)


if "FAULT_FILL" in os.environ:
    pathlib.Path.open = _filling_open
if "FAULT_CLOCK_S" in os.environ:
    ahead_s = int(os.environ["FAULT_CLOCK_S"])
    time.time = lambda: _time() + ahead_s
    time.time_ns = lambda: _time_ns() + ahead_s * 10**9
