"""A trial of known length. Every system of ``benchmarks/orchestration.py`` runs this one."""

import os
import time


def sleep():
    """Sleeps SLEEP_S seconds and notes in SLEEP_LOG when that began and ended."""
    began = time.time()
    time.sleep(float(os.environ["SLEEP_S"]))
    log = os.open(os.environ["SLEEP_LOG"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(log, f"{began} {time.time()}\n".encode())
    os.close(log)
