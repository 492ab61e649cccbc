"""What several commands share: options, warnings, the bar that shows a dataset being made or fetched."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import click

Command = TypeVar("Command", bound=Callable[..., Any])

LONGEST_S = 10**9
"""Of what users give in seconds: thirty years; clocks and timers take no more than some centuries."""


def home_option(command: Command) -> Command:
    """``--home``, which every command takes."""
    return click.option(
        "--home",
        default="./runs",
        envvar="ORCHESTRATE_HOME",
        show_default=True,
        help="Folder or URL that holds everything (or ORCHESTRATE_HOME).",
    )(command)


def json_option(command: Command) -> Command:
    """``--json``, which reading commands take."""
    return click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout, nothing else there.")(
        command
    )


def set_option(command: Command) -> Command:
    """``--set``, as often as needed."""
    return click.option(
        "--set", "overrides", multiple=True, metavar="PATH=VALUE", help="Change a value of the file; repeatable."
    )(command)


def scale_option(command: Command) -> Command:
    """``--scale``, for files that have some."""
    return click.option(
        "--scale", metavar="NAME", help="One of the file's scales, such as smoke; adds -NAME to the sweep's name."
    )(command)


def weights_option(command: Command) -> Command:
    """``--log-weights``, of commands that write to MLflow."""
    return click.option(
        "--log-weights",
        type=click.Choice(["none", "best", "all"]),
        default="none",
        show_default=True,
        help="Give MLflow the weights of the best trial, or of all, once the sweep is done.",
    )(command)


def warn(line: str) -> None:
    """One line on stderr, whatever it quotes: a line break, or what a terminal would obey, is escaped."""
    escaped = (char if char.isprintable() else char.encode("unicode_escape").decode() for char in line)
    click.echo("".join(escaped), err=True)


@contextmanager
def build_bar(what: str = "building the dataset", unit: str = "images") -> Iterator[Callable[[int, int], None]]:
    """A progress bar on stderr for making or fetching a dataset, in ``images`` or ``bytes``; shown when it begins."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    count = DownloadColumn() if unit == "bytes" else MofNCompleteColumn()
    columns = TextColumn("{task.description}"), BarColumn(), count, TimeRemainingColumn()
    bar = Progress(*columns, console=Console(stderr=True), transient=True)
    tasks: list[Any] = []

    def on_build(done: int, total: int) -> None:
        if not tasks:
            if bar.console.is_terminal:
                bar.start()
            else:
                warn(f"{what}: {total} {unit}")
            tasks.append(bar.add_task(what, total=total))
        bar.update(tasks[0], completed=done)
        if done >= total and bar.live.is_started:
            bar.stop()

    try:
        yield on_build
    finally:
        if bar.live.is_started:  # stopping one that never began prints a blank line
            bar.stop()
