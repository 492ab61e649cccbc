"""Signals: the first stops cleanly, the second at once, also where nobody reads what is said."""

import subprocess
import sys

import pytest

FIRST = """
import os, signal, time
from orchestrator.interrupt import interruptible
{before}
try:
    with interruptible():
        os.kill(os.getpid(), signal.{number})
        time.sleep(60)
except KeyboardInterrupt:
    print("caught", flush=True)
"""

SECOND = """
import os, signal, time
from orchestrator.interrupt import ended_with_us, interruptible
with interruptible(), ended_with_us(lambda: 1 / 0), ended_with_us(lambda: print("ended", flush=True)):
    with ended_with_us(lambda: print("never", flush=True)):
        pass
    try:
        os.kill(os.getpid(), signal.{number})
        time.sleep(60)
    except KeyboardInterrupt:  # cleaning up takes its time
        os.kill(os.getpid(), signal.{number})
        time.sleep(60)
"""

AFTER = """
import signal
from orchestrator.interrupt import SIGNALS, handlers_kept, interruptible

def handlers():
    return [signal.getsignal(number) for number in SIGNALS]

before = handlers()
with interruptible():
    ours = handlers()
    with handlers_kept():
        signal.signal(signal.SIGTERM, lambda *_: None)
    assert handlers() == ours != before
assert handlers() == before
"""

EARLY = """
import builtins, os, signal, sys
from orchestrator import entry
imported, sent = builtins.__import__, []
def when(name, *its):
    if name == "{module}" and not sent:
        sent.append(name)
        os.kill(os.getpid(), signal.{number})
    return imported(name, *its)
builtins.__import__ = when
sys.argv = ["orchestrate", "status", "--home", "/nowhere"]
entry.main()
"""


def run(program: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize("number", ["SIGINT", "SIGTERM"])
@pytest.mark.parametrize("before", ["", "os.close(2)"], ids=["terminal", "terminal gone"])
def test_the_first_signal_is_keyboard_interrupt(number: str, before: str) -> None:
    done = run(FIRST.format(number=number, before=before))
    assert (done.returncode, done.stdout) == (0, "caught\n")
    assert ("stopping" in done.stderr) == (not before)


@pytest.mark.parametrize("number", ["SIGINT", "SIGTERM"])
def test_the_second_ends_the_process(number: str) -> None:
    done = run(SECOND.format(number=number))
    assert (done.returncode, done.stdout) == (130, "ended\n")
    assert "interrupted at once" in done.stderr


def test_handlers_are_put_back() -> None:
    done = run(AFTER)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("number", ["SIGINT", "SIGTERM"])
@pytest.mark.parametrize("module", ["orchestrator.cli", "orchestrator.home"], ids=["importing", "at work"])
def test_a_signal_before_there_is_anything_to_stop(number: str, module: str) -> None:
    done = run(EARLY.format(number=number, module=module))
    assert (done.returncode, done.stdout) == (130, "")
    (line,) = done.stderr.strip().splitlines()
    assert line.startswith("interrupted")
