"""Faults that no signal makes, for every Python process whose PYTHONPATH names this folder.

Each comes when a process is about to write a file whose path contains the text that the variable holds, but for those
that it may write before (FAULT_AFTER, none where left out).

FAULT_FILL      a disk is filled, to its last byte
FAULT_READ_ONLY a folder becomes read-only, for all who open files from then on
FAULT_DISK      where that disk or folder is mounted
FAULT_MEMORY    the process may take only SPARE_BYTES more of memory
FAULT_HOLD      the process stands still, once, until it is killed or continued
FAULT_HANG      the thread reads from a pipe that nobody writes: for ever, and no signal handler of Python's runs
FAULT_WAIT      the thread waits until there is a file FAULT_UNTIL; others go on
FAULT_CLOCK     the clock is set: Python's calendar, not the monotonic clock
FAULT_CLOCK_S   by so many seconds; from the start where there is no FAULT_CLOCK
"""

import contextlib
import os
import pathlib
import re
import resource
import signal
import subprocess
import time

SPARE_BYTES = 50 * 2**20

_open, _time, _time_ns = pathlib.Path.open, time.time, time.time_ns
_ahead_s = 0


def _fill():
    with contextlib.suppress(OSError), _open(pathlib.Path(os.environ["FAULT_DISK"]) / "ballast", "ab", 0) as file:
        while True:
            file.write(bytes(4096))


def _make_read_only():
    """By a mount on top: one that has files open for writing can't be made so itself."""
    folder = os.environ["FAULT_DISK"]
    if os.statvfs(folder).f_flag & os.ST_RDONLY:
        return
    subprocess.run(["mount", "--bind", folder, folder], check=True)
    subprocess.run(["mount", "-o", "remount,ro,bind", folder], check=True)


def _limit_memory():
    del os.environ["FAULT_MEMORY"]  # once a process
    used = re.search(r"VmData:\s+(\d+)", pathlib.Path("/proc/self/status").read_text()).group(1)
    resource.setrlimit(resource.RLIMIT_DATA, (1024 * int(used) + SPARE_BYTES,) * 2)


def _hold():
    del os.environ["FAULT_HOLD"]  # once a process
    os.kill(os.getpid(), signal.SIGSTOP)


def _hang():
    os.read(os.pipe()[0], 1)


def _wait():
    while not os.path.exists(os.environ["FAULT_UNTIL"]):
        time.sleep(0.01)


def _set_clock():
    global _ahead_s
    _ahead_s = int(os.environ["FAULT_CLOCK_S"])


FAULTS = {
    "FAULT_FILL": _fill,
    "FAULT_READ_ONLY": _make_read_only,
    "FAULT_MEMORY": _limit_memory,
    "FAULT_HOLD": _hold,
    "FAULT_HANG": _hang,
    "FAULT_WAIT": _wait,
    "FAULT_CLOCK": _set_clock,
}

_before = dict.fromkeys(FAULTS, int(os.environ.get("FAULT_AFTER", 0)))


def _faulty_open(self, mode="r", *args, **kwargs):
    for name, fault in FAULTS.items():
        if "w" in mode and name in os.environ and os.environ[name] in str(self):
            if _before[name] > 0:
                _before[name] -= 1
            else:
                fault()
    return _open(self, mode, *args, **kwargs)


if FAULTS.keys() & os.environ.keys():
    pathlib.Path.open = _faulty_open
if "FAULT_CLOCK_S" in os.environ:
    time.time = lambda: _time() + _ahead_s  # from the start, since others may keep the function
    time.time_ns = lambda: _time_ns() + _ahead_s * 10**9
    if "FAULT_CLOCK" not in os.environ:
        _set_clock()
