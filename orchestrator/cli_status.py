"""``orchestrate status``."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import click

from orchestrator.cli_options import home_option, json_option, warn
from orchestrator.cli_remote import on_cluster

if TYPE_CHECKING:
    from orchestrator.home_objects import Home
    from orchestrator.status import SweepStatus


@click.command()
@click.argument("name", required=False)
@home_option
@click.option(
    "--watch", "watching", is_flag=True, help="Show the sweep NAME as it runs, until it ends; then its status."
)
@json_option
@on_cluster
def status(name: str | None, home: str, watching: bool, as_json: bool) -> None:
    """Show the sweep NAME, with the disk that it uses, or all sweeps of the home.

    Of a search with several objectives also its Pareto front: the trials that no other beats in all of them.

    --watch shows from any shell, and any machine that sees the home, what the sweep shows where it runs: a table on a
    terminal, elsewhere a line an event. It only reads, ends with the sweep, and Ctrl-C ends it alone. With --json it
    prints an object a line, one whenever a trial starts, validates or ends; the last is that of --json alone.
    """
    from orchestrator.errors import InputError
    from orchestrator.home import open_home
    from orchestrator.record import sweep_names
    from orchestrator.sweep_state import status as status_of

    opened = open_home(home, create=False)
    if name is not None:
        if watching:
            _watch(opened, name, as_json)
        _show(opened, name, as_json, watching)
        return
    if watching:
        raise InputError(f"--watch: which sweep? give its NAME, one of: {', '.join(sweep_names(opened)) or 'none yet'}")
    from orchestrator.summary import status_text

    sweeps = [status_of(opened, known) for known in sweep_names(opened)]
    if as_json:
        click.echo(json.dumps({"sweeps": sweeps}))
    else:
        click.echo("\n".join(map(status_text, sweeps)) or f"no sweep in {home}; `orchestrate sweep SPEC` runs one")


def _show(opened: Home, name: str, as_json: bool, watched: bool) -> None:
    from orchestrator.references import disk_use
    from orchestrator.summary import disk_text, front_text, resume_text, status_text
    from orchestrator.sweep_state import status as status_of

    found, disk = status_of(opened, name), disk_use(opened, name)
    if as_json:
        click.echo(json.dumps(found | disk._asdict()))
        return
    click.echo(f"{status_text(found)}\n  {disk_text(disk)}")
    if front := front_text(opened, name):
        click.echo(front)
    if found["state"] == "interrupted":
        click.echo(resume_text(opened, name))


def _watch(opened: Home, name: str, as_json: bool) -> None:
    from orchestrator.interrupt import EXIT_CODE
    from orchestrator.live import open_display
    from orchestrator.watch import watch

    try:
        with nullcontext(None) if as_json else open_display(sys.stdout, quiet=False) as display:
            watch(opened, name, _as_json_lines() if display is None else display.update)
    except KeyboardInterrupt:
        warn(f"no longer watching; sweep {name!r} is left alone")
        raise SystemExit(EXIT_CODE) from None


def _as_json_lines() -> Callable[[SweepStatus], None]:
    """Prints a status unless only clocks went on since the last."""
    from orchestrator.live_record import status_json

    before: list[Any] = []

    def show(now: SweepStatus) -> None:
        said = status_json(now)
        news = said["trials"], said["compared"], [line | {"seconds": 0} for line in said["lines"]]
        if before != [news]:
            before[:] = [news]
            click.echo(json.dumps(said))

    return show
