"""A real sweep, watched from other processes: on a terminal, through a pipe, and as it is killed."""

from __future__ import annotations

import json
import signal
import subprocess
from pathlib import Path

import pytest
import yaml
from in_process import TINY
from processes import ORCHESTRATE, SERIAL, environment, run, wait_for
from terminal import Terminal

SWEEP = {
    "trial": TINY | {"training": TINY["training"] | {"iterations": 100_000, "validate_every": 20}},
    "grid": {"train": {"algorithm.name": ["maml", "anil"]}},
}


def hear_interrupts() -> None:
    """What a shell starts in the background ignores Ctrl-C, and so do its children."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.mark.slow
def test_a_sweep_is_watched_until_it_is_killed(fresh_glyphs_home: Path, tmp_path: Path) -> None:
    home, path = fresh_glyphs_home, tmp_path / "long.yaml"
    path.write_text(yaml.safe_dump(SWEEP))
    watch = [*ORCHESTRATE, "status", "long", "--watch", "--home", str(home)]
    pipe = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    colourful = environment() | {"TERM": "xterm-256color"}
    driver = subprocess.Popen(
        [*SERIAL, "sweep", str(path), "--home", str(home), "--tracking-uri", f"sqlite:///{tmp_path}/mlflow.db"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=environment(),
    )
    try:
        wait_for((home / "sweeps" / "long" / "live.json").exists, "the driver said nothing")
        with Terminal(80, 24) as terminal:
            screen = terminal.theirs
            lines = subprocess.Popen(watch, env=environment(), **pipe)
            objects = subprocess.Popen([*watch, "--json"], env=environment(), **pipe)
            drawn = subprocess.Popen(
                watch, stdin=screen, stdout=screen, stderr=screen, env=colourful, preexec_fn=hear_interrupts
            )
            wait_for(lambda: any(" running " in each and "/100000" in each for each in terminal.lines), "no row")
            assert terminal.lines[0] == "long: 0/2 trials done, 1 running"
            assert lines.stdout.readline() == "long: 2 trials\n"
            assert lines.stdout.readline() == "trial 0 started: maml\n"
            assert lines.stdout.readline().startswith("trial 0: iteration ")
            assert json.loads(objects.stdout.readline())["trials"]["running"] == 1
            drawn.send_signal(signal.SIGINT)
            assert drawn.wait(60) == 130
            terminal.wait_drawn()
            assert terminal.lines[-1] == "no longer watching; sweep 'long' is left alone"
            assert terminal.received.rindex(b"\x1b[?25h") > terminal.received.rindex(b"\x1b[?25l"), "the cursor is back"
        assert driver.poll() is None, "who watches leaves the sweep alone"
        driver.kill()
        driver.wait(60)
        said, errors = lines.communicate(timeout=60)
        assert (lines.returncode, errors) == (0, "")
        assert "long: interrupted, 2 planned\n" in said
        resume = said.splitlines()[-1].split()
        assert resume[:2] == ["orchestrate", "sweep"]
        last = json.loads(objects.communicate(timeout=60)[0].splitlines()[-1])
        assert (objects.returncode, last["state"]) == (0, "interrupted")
    finally:
        driver.kill()
        driver.wait(60)
    again = run(SERIAL, *resume[1:], "--dry-run", "--json")
    assert json.loads(again.stdout)["name"] == "long", again.stderr


@pytest.mark.slow
def test_a_watch_ends_with_its_sweep(fresh_glyphs_home: Path, tmp_path: Path) -> None:
    home, path = fresh_glyphs_home, tmp_path / "short.yaml"
    trial = SWEEP["trial"] | {"training": SWEEP["trial"]["training"] | {"iterations": 300}}
    path.write_text(yaml.safe_dump(SWEEP | {"trial": trial}))
    command = [*SERIAL, "sweep", str(path), "--home", str(home), "--tracking-uri", f"sqlite:///{tmp_path}/mlflow.db"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment()) as driver:
        wait_for((home / "sweeps" / "short" / "live.json").exists, "the driver said nothing")
        watched = run(ORCHESTRATE, "status", "short", "--watch", "--home", home)
        assert driver.wait(60) == 0
    assert (watched.returncode, watched.stderr) == (0, "")
    assert "trial 1 completed" in watched.stdout
    assert "\nshort: done, 2 planned, 2 completed\n" in f"\n{watched.stdout}"
