"""``orchestrate grid``: what a sweep file's grid amounts to."""

from __future__ import annotations

import json

import click

from orchestrator.cli_options import home_option, json_option, scale_option, set_option
from orchestrator.spec_names import find_spec


@click.command()
@click.argument("spec", type=click.Path())
@home_option
@set_option
@scale_option
@click.option("--seeds", type=click.IntRange(min=1), help="Seeds (grid.seeds).")
@click.option("--list", "as_list", is_flag=True, help="One line a cell, too.")
@click.option("--csv", "as_csv", is_flag=True, help="The cells as CSV on stdout, nothing else there.")
@click.option("--yes", is_flag=True, help="Lay out more than 100,000 cells.")
@json_option
def grid(
    spec: str,
    home: str,
    overrides: tuple[str, ...],
    scale: str | None,
    seeds: int | None,
    as_list: bool,
    as_csv: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """Show what the grid of SPEC amounts to: cells, trainings, comparisons between them, what is stored, what the rest
    costs. Starts nothing.

    Cells that mean the same are one, and cells that differ in evaluation.* share a training. The cost is that of what
    is not stored yet, in seconds of one core of this machine: counted operations at the rate that it is measured to
    have at these shapes, and comparisons as long as a few of them take.
    """
    from orchestrator.errors import InputError
    from orchestrator.grid import check_size
    from orchestrator.layout import cells_csv, cells_text, lay_out, layout_text
    from orchestrator.spec_file import load_spec

    if as_list + as_csv + as_json > 1:
        raise InputError("--list, --csv, --json: more than one is given; choose one")
    path = find_spec(spec)
    loaded = load_spec(path, overrides, scale=scale)
    if seeds is not None and loaded.grid is not None:
        loaded = load_spec(path, [*overrides, f"grid.seeds={seeds}"], scale=scale)
    if loaded.grid is not None and not yes:
        check_size(loaded)
    layout = lay_out(loaded, home)
    if as_csv:
        click.echo(cells_csv(layout), nl=False)
    elif as_json:
        click.echo(json.dumps(layout.to_json()))
    else:
        click.echo("\n".join([layout_text(layout), *([cells_text(layout)] if as_list else [])]))
