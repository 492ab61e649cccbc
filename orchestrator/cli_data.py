"""``orchestrate data …``. Heavy imports happen inside the commands."""

from __future__ import annotations

import json
from pathlib import Path

import click

from orchestrator.cli_options import build_bar, home_option, json_option


@click.group()
def data() -> None:
    """Datasets of a home, each one Arrow file."""


@data.command("list")
@home_option
@json_option
def data_list(home: str, as_json: bool) -> None:
    """Show the datasets that are there, and how to get the others."""
    from orchestrator.data import data_folder, list_datasets
    from orchestrator.home import existing_home
    from orchestrator.summary import dataset_json, datasets_text

    existing_home(home)
    rows = list_datasets(data_folder(home))
    click.echo(json.dumps({"datasets": [dataset_json(row) for row in rows]}) if as_json else datasets_text(rows))


@data.command("import")
@click.argument("name")
@home_option
@click.option("--source", type=click.Path(path_type=Path), help="Folder or zip of the original files.")
def data_import(name: str, home: str, source: Path | None) -> None:
    """Read the dataset NAME from its original files into the home."""
    from orchestrator.data import data_folder, make_dataset
    from orchestrator.home import existing_home, open_home

    existing_home(home)
    with build_bar(f"importing {name}") as on_build:
        path = make_dataset(data_folder(home), name, source, on_build)
    open_home(home)
    click.echo(f"{name}: {path}")
