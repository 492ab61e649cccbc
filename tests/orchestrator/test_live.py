"""The live display: fits its terminal, says what happened, and is plain where there is no terminal."""

import io
import re
from dataclasses import replace

from processes import wait_for
from rich.cells import cell_len
from rich.console import Console

from orchestrator.live import Silence, open_display
from orchestrator.live_table import LiveTable
from orchestrator.plain_lines import PlainLines
from orchestrator.status import Resources, SweepStatus, TrialLine

ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def line(number: int, state: str = "running", **changes) -> TrialLine:
    base = TrialLine(
        number, state, f"algorithm.name=maml, inner_lr={0.1 * number:.2f}", 200, 500, 0.912, None, None, 61
    )
    return replace(base, **changes)


def status(*trials: TrialLine, **changes) -> SweepStatus:
    count = {state: sum(t.state == state for t in trials) for state in ("completed", "failed", "pruned", "running")}
    times = {"elapsed_s": 75, "left_s": 3700}
    base = SweepStatus("omniglot", "running", planned=40, trials=trials, cached=0, best=None, **times, **count)
    return replace(base, **changes)


def drawn(*statuses: SweepStatus, width: int = 80, height: int = 25) -> list[str]:
    """The lines that stay on the screen after these updates."""
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=True, width=width, height=height, color_system="standard")
    table = LiveTable(console)
    for each in statuses:
        table.update(each)
    with console.capture() as capture:
        console.print(table._render())
    return ANSI.sub("", capture.get()).splitlines()


def test_a_table_of_80_columns_holds_the_numbers():
    best = line(3, "completed", validation_accuracy=0.934, test_accuracy=0.921)
    lines = drawn(status(line(1), line(2, "failed", error="CUDA out of memory [bold]\nTraceback"), best, best=best))
    text = "\n".join(lines)
    assert max(map(cell_len, lines)) <= 80
    for part in ("2/40 trials done", "1 running", "1 failed", "93.4", "92.1", "200/500", "1:01", "1:15", "1:01:40"):
        assert part in text, part
    assert "CUDA out of memory [bold]" in text, "brackets are not markup"
    assert "Traceback" not in text, "a reason is one line"


def test_sixteen_at_once_are_bounded_by_the_screen():
    long = "x" * 500
    trials = [line(n, "completed") for n in range(20)] + [line(n, label=long) for n in range(20, 36)]
    for height in (25, 12):
        lines = drawn(status(*trials), height=height)
        assert len(lines) < height
        assert max(map(cell_len, lines)) <= 80
    assert "12 more running" in lines[-1]
    assert sum(" running " in each for each in drawn(status(*trials), height=40)) == 16


def test_speed_and_resources_have_a_line():
    nodes = tuple(f"10.0.0.{n}" for n in range(1, 10))
    taken = Resources(16, 48, 2, 4.5, nodes, 3_100_000_000, 15_600_000_000)
    lines = drawn(status(line(1), iterations_per_s=132.4, trials_per_h=4.83, resources=taken))
    assert "132 iterations/s, 4.8 trials/h; CPU 16/48, GPU 2/4.5, memory here 3.1/15.6 GB, …" in lines[3].replace(
        "9 nodes: 10…", "…"
    )
    lines = drawn(status(line(1), resources=replace(taken, gpus=0.0, nodes=nodes[:1])))
    assert lines[3] == "– iterations/s, – trials/h; CPU 16/48, memory 3.1/15.6 GB"


def test_the_last_failure_keeps_a_line_of_its_own():
    failed = line(2, "failed", error="CUDA out of memory [bold]\nTraceback")
    later = [line(n) for n in range(3, 40)]
    text = drawn(status(failed, line(1, "failed", error="boom"), *later, failed=3))[-1]
    assert text == "trial 1 failed after 1:01: boom (2 more failed)"


def test_an_empty_sweep_and_a_narrow_terminal():
    assert drawn(status(planned=0)), "nothing planned is no division by zero"
    lines = drawn(status(line(1, label="ключ=значение 参数" * 9), best=line(2, "completed")), width=40)
    assert max(map(cell_len, lines)) <= 40


def test_the_live_table_runs_and_leaves_its_last_state():
    stream = io.StringIO()
    with LiveTable(Console(file=stream, force_terminal=True, width=80, height=25)) as table:
        table.update(status(line(1)))
        table.update(status(line(1, "completed", test_accuracy=0.875)))
    assert "87.5" in stream.getvalue()


def plain(*statuses: SweepStatus, seconds_between: float = 10.0) -> list[str]:
    stream, now = io.StringIO(), [0.0]
    with PlainLines(stream, clock=lambda: now[0]) as display:
        for each in statuses:
            display.update(each)
            now[0] += seconds_between
    assert not ANSI.search(stream.getvalue())
    assert "\r" not in stream.getvalue()
    return stream.getvalue().splitlines()


def test_plain_lines_say_each_event_once():
    fresh = line(1, iteration=0, validation_accuracy=None)
    lines = plain(
        status(line(0, "completed")),
        status(line(0, "completed"), fresh),
        status(line(0, "completed"), fresh),
        status(line(0, "completed"), line(1)),
        status(line(0, "completed"), line(1)),
        status(line(0, "completed"), line(1, "failed", error="loss is \x1b[31mnan\x1b[0m\r\nTraceback")),
    )
    assert len(lines) == 4
    assert lines[0] == "omniglot: 40 trials, 1 of them done already"
    assert lines[1].startswith("trial 1 started: algorithm.name=maml")
    assert lines[2].startswith("trial 1: iteration 200/500, validation 91.2 %")
    assert lines[3].startswith("trial 1 failed after 1:01: loss is")
    assert "Traceback" not in lines[3]


def test_validations_are_thinned_and_ends_are_not():
    views = [status(line(1, iteration=step, validation_accuracy=step / 1000)) for step in range(100, 500, 10)]
    end = status(line(1, "completed", validation_accuracy=0.49, test_accuracy=0.5))
    lines = plain(status(), *views, end, seconds_between=0.5)
    assert sum("iteration" in each for each in lines) == 4
    assert lines[-1].startswith("trial 1 completed: validation 49.0 %, test 50.0 %")


def test_each_trial_has_its_turn():
    trials = [line(n, iteration=0, validation_accuracy=None) for n in range(4)]
    views = [
        status(*(replace(t, iteration=step, validation_accuracy=step / 1000) for t in trials))
        for step in range(10, 90, 10)
    ]
    lines = [each for each in plain(status(*trials), *views) if "iteration" in each]
    assert [int(each.split()[1][:-1]) for each in lines] == [0, 1, 2, 3, 0, 1, 2, 3]


def test_a_silent_sweep_says_how_it_stands():
    stream = io.StringIO()
    with PlainLines(stream, quiet_s=0.02) as display:
        display.update(status(line(1)))
        wait_for(lambda: stream.getvalue().count("\n") > 3, "nothing more was written")
    assert stream.getvalue().splitlines()[-1] == "omniglot: 0/40 trials done, 1 running; – iterations/s, – trials/h"


def test_a_reader_that_left_does_not_stop_the_sweep():
    class Gone(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError

    PlainLines(Gone()).update(status(line(1)))


def test_the_stream_decides(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setenv("TERM", "xterm")
    assert isinstance(open_display(Terminal(), quiet=False), LiveTable)
    assert isinstance(open_display(io.StringIO(), quiet=False), PlainLines)
    assert isinstance(open_display(Terminal(), quiet=True), Silence)
    monkeypatch.setenv("TERM", "dumb")
    assert isinstance(open_display(Terminal(), quiet=False), PlainLines)
