"""The live table as a terminal draws it: sixteen trials at once, without scrolling, wrapping or moving."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from processes import wait_for
from terminal import Terminal
from test_live import line, status

from orchestrator.live import open_display
from orchestrator.live_table import LiveTable
from orchestrator.status import Resources, TrialLine

TAKEN = Resources(16, 16, 2, 4, (), 3_100_000_000, 15_600_000_000)


@pytest.fixture(params=[(80, 24), (120, 40)], ids=["80x24", "120x40"])
def terminal(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Terminal]:
    monkeypatch.setenv("TERM", "xterm-256color")
    for name in ("COLUMNS", "LINES", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    with Terminal(*request.param) as terminal:
        monkeypatch.setattr("rich.console._STD_STREAMS", (terminal.stream.fileno(),))  # as if it were this process's
        yield terminal


def shown(terminal: Terminal, table: LiveTable, *trials: TrialLine) -> list[str]:
    """The screen once these are on it."""
    table.update(status(*trials, resources=TAKEN, iterations_per_s=132.4, best=line(2, "completed")))
    with table._live._lock:  # nothing is being drawn meanwhile
        table._live.refresh()
        terminal.wait_drawn()
        return terminal.lines


def test_sixteen_trials_stand_still(terminal: Terminal) -> None:
    running = [line(n) for n in range(16)]
    with open_display(terminal.stream, quiet=False) as table:
        assert isinstance(table, LiveTable)
        first = shown(terminal, table, *running)
        others = [line(n, iteration=490, seconds=59 * n) for n in range(1, 16)]
        ended = line(0, "failed", error="CUDA out of memory")
        last = shown(terminal, table, ended, *others, line(16))
        last = shown(terminal, table, ended, *others, line(16, iteration=300))
    assert terminal.scrolled == 0, "it is drawn over itself"
    for lines in (first, last):
        assert sum(" running " in each for each in lines) == 16
        assert sum("iterations/s" in each for each in lines) == 1
        assert "CPU 16/16, GPU 2/4, memory 3.1/15.6 GB" in lines[3]
    assert "trial 0 failed after 1:01: CUDA out of memory" in last[-1]
    for number in range(1, 16):
        ((before, old),) = [(at, each) for at, each in enumerate(first) if each.startswith(f"{number:5d} running")]
        ((after, new),) = [(at, each) for at, each in enumerate(last) if each.startswith(f"{number:5d} running")]
        assert before == after
        assert old.index("algorithm.name") == new.index("algorithm.name")


def test_a_smaller_window_is_kept_to(terminal: Terminal) -> None:
    running = [line(n) for n in range(16)]
    with open_display(terminal.stream, quiet=False) as table:
        assert isinstance(table, LiveTable)
        shown(terminal, table, *running)
        terminal.resize(60, 12)
        shown(terminal, table, *running)
        lines = shown(terminal, table, *running)
    assert sum(each.startswith("trial state") for each in lines) == 1
    assert "12 more running" in lines[-1]


def test_the_cursor_comes_back_and_colours_are_the_users_choice(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    for no_color in (None, "1"):
        if no_color:
            monkeypatch.setenv("NO_COLOR", no_color)
        before = len(terminal.received)
        with open_display(terminal.stream, quiet=False) as table:
            assert isinstance(table, LiveTable)
            shown(terminal, table, line(1))
        wait_for(lambda at=before: b"\x1b[?25h" in terminal.received[at:], "the cursor is still hidden")
        assert (b"\x1b[36m" in terminal.received[before:]) == (no_color is None)
