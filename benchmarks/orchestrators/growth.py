"""What a sweep of MetaSweep costs its driver, while it grows: a grid of trials that do not sleep. Prints JSON.

Arguments: trials, how many at once, folder. A line for each tenth of the trials: CPU seconds and memory of the driver.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import psutil
from ours import write_sweep

from orchestrator.inputs import Where
from orchestrator.spec_file import load_spec
from orchestrator.status import SweepStatus
from orchestrator.sweep import run_sweep

STEPS = 10


def main() -> None:
    """Runs it."""
    trials, concurrent, folder = int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])
    driver, began, wanted = psutil.Process(), time.time(), [trials * step // STEPS for step in range(1, STEPS + 1)]

    def look(status: SweepStatus) -> None:
        while wanted and status.completed >= wanted[0]:
            times = driver.cpu_times()
            found = {
                "trials": wanted.pop(0),
                "driver_cpu_s": times.user + times.system,
                "driver_mb": driver.memory_info().rss / 1e6,
                "wall_s": time.time() - began,
            }
            print(json.dumps(found), flush=True)

    path = write_sweep(folder, concurrent, grid={"seeds": trials})
    status = run_sweep(load_spec(path), Where(home=str(folder / "home")), on_change=look)
    assert status["trials"]["completed"] == trials, status


if __name__ == "__main__":
    main()
