"""``orchestrate rm`` and ``orchestrate clean``."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from orchestrator.cli_options import LONGEST_S, home_option, json_option

if TYPE_CHECKING:
    from orchestrator.cleanup import Part


@click.command()
@click.argument("name")
@home_option
@click.option(
    "--older-than",
    "quiet_s",
    metavar="SECONDS",
    type=click.IntRange(0, LONGEST_S),
    default=3600,
    show_default=True,
    help="On object stores: refuse a sweep that is not done and wrote something since.",
)
@click.option("--dry-run", is_flag=True, help="Show what would go; remove nothing.")
@json_option
def rm(name: str, home: str, quiet_s: int, dry_run: bool, as_json: bool) -> None:
    """Forget the sweep NAME: its spec, its proposals and its report go.

    Its trainings stay, since other sweeps may ask for them: a sweep that asks for one does not run it again, and
    `orchestrate clean` removes those that none asks for. Its runs in MLflow stay as well; delete them there. A sweep
    that runs is refused, on an object store one that may be running.
    """
    from orchestrator.forget import check_forgettable, forget_sweep
    from orchestrator.home import open_home

    opened = open_home(home, create=False)
    files = check_forgettable(opened, name, quiet_s)
    if not dry_run:
        forget_sweep(opened, name)
    size = sum(file.size_bytes for file in files)
    if as_json:
        click.echo(json.dumps({"name": name, "dry_run": dry_run, "files": len(files), "size_bytes": size}))
        return
    click.echo(f"{name}: {'would be forgotten' if dry_run else 'forgotten'}, {len(files)} files, {size / 1e6:.2f} MB")
    click.echo("its trainings stay; `orchestrate clean` removes those that no other sweep asks for")


@click.command()
@home_option
@click.option("--trials", is_flag=True, help="Also trainings of `orchestrate trial` that no sweep asks for.")
@click.option(
    "--older-than",
    "older_than_s",
    metavar="SECONDS",
    type=click.IntRange(0, LONGEST_S),
    help="Keep what was written since. Where left out: an hour while something may run, and for what is imported.",
)
@click.option("--dry-run", is_flag=True, help="Show what would go; remove nothing.")
@json_option
def clean(home: str, trials: bool, older_than_s: int | None, dry_run: bool, as_json: bool) -> None:
    """Remove what no sweep of the home refers to.

    That is: trainings and evaluations that no sweep asks for, after `orchestrate rm` or `sweep --fresh`; files of
    attempts that another has passed, but for the record of their time; old versions of datasets, of which the newest
    always stays; damaged records that were set aside; what killed processes left. Trainings of `orchestrate trial`
    stay unless --trials is given. Nothing of MLflow is removed, nor any archive in datasets/downloads.

    While a sweep or trial runs in a local home, trainings, evaluations and datasets stay, and of the rest what is
    younger than an hour, or than --older-than (a minute at least). On an object store nobody can tell whether one runs:
    what is younger stays there as well, and a search that comes upon an old training just then may have to run again
    to train it anew.
    """
    from orchestrator.cleanup import Limits, plan_cleanup, remove_parts
    from orchestrator.home import open_home
    from orchestrator.home_lock import alone

    opened = open_home(home, create=False)
    with alone(opened) as is_alone:
        parts = plan_cleanup(opened, Limits(time.time(), is_alone, older_than_s, trials))
        if not dry_run:
            remove_parts(opened, parts, is_alone)
    going, staying = _sums(part for part in parts if not part.kept), _sums(part for part in parts if part.kept)
    total = sum(line.size_bytes for line in going)
    if as_json:
        removed, kept = ([vars(line) for line in lines] for lines in (going, staying))
        click.echo(json.dumps({"dry_run": dry_run, "removed": removed, "size_bytes": total, "kept": kept}))
        return
    for head, lines in (("would go" if dry_run else "removed", going), ("stays for now", staying)):
        if lines:
            click.echo(f"{head:<44}  number        MB")
        for line in lines:
            click.echo(f"  {line.what:<42}  {line.number:6d}  {line.size_bytes / 1e6:8.2f}")
            if line.why:
                click.echo(f"    {line.why}")
    click.echo(f"{total / 1e6:.2f} MB {'would be freed' if dry_run else 'freed'}" if going else "nothing to remove")


@dataclass
class _Sum:
    """Parts of one kind that go, or stay for one reason."""

    what: str
    why: str | None
    number: int = 0
    size_bytes: int = 0


def _sums(parts: Iterable[Part]) -> list[_Sum]:
    lines: dict[tuple[str, str | None], _Sum] = {}
    for part in parts:
        line = lines.setdefault((part.kind, part.kept), _Sum(part.kind, part.kept))
        line.number += 1
        line.size_bytes += sum(file.size_bytes for file in part.files)
    return list(lines.values())
