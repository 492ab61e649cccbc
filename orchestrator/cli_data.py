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
@click.option("--size", type=click.IntRange(8, 1024), help="folder only: side of the images, 84 where left out.")
@click.option("--grey", is_flag=True, help="folder only: one channel instead of three.")
@click.option(
    "--split-file",
    type=click.Path(path_type=Path),
    help="folder only: lines class,part; split.csv of the source, or folders train, val, test, where left out.",
)
def data_import(
    name: str, home: str, source: Path | None, size: int | None, grey: bool, split_file: Path | None
) -> None:
    """Read the dataset NAME from its original files into the home.

    NAME is one of those that `orchestrate data list` shows, or folder.LABEL: any tree with a folder of PNG or JPEG
    images for each class. A home may hold several of these; a sweep names one as `dataset: {name: folder.LABEL}`.
    """
    from orchestrator.data import data_folder, dataset_row, make_dataset
    from orchestrator.environment import cpu_count
    from orchestrator.home import existing_home, open_home
    from orchestrator.interrupt import interruptible
    from orchestrator.summary import dataset_text
    from trainers.datasets.recipe import Wishes

    existing_home(home)
    wishes = Wishes(size, grey, split_file)
    with interruptible(), build_bar(f"importing {name}") as on_build:
        path = make_dataset(data_folder(home), name, source, on_build, wishes, cpu_count())
    open_home(home)
    click.echo(dataset_text(dataset_row(path)))


@data.command("fetch")
@click.argument("name")
@home_option
@click.option("--from", "mirror", metavar="URL", help="URL of a folder with the same archives, a mirror.")
def data_fetch(name: str, home: str, mirror: str | None) -> None:
    """Download the original archives of the dataset NAME, and import them.

    They are kept in datasets/downloads of the home, checked by MD5; those that are there already, by whatever way,
    are not downloaded again.
    """
    from orchestrator.data import data_folder, dataset_row, make_dataset
    from orchestrator.download import fetch_archives
    from orchestrator.environment import cpu_count
    from orchestrator.home import existing_home, open_home
    from orchestrator.interrupt import interruptible
    from orchestrator.summary import dataset_text

    existing_home(home)
    folder = data_folder(home)
    with interruptible():
        source = fetch_archives(folder, name, mirror, lambda archive: build_bar(f"downloading {archive}", "bytes"))
        with build_bar(f"importing {name}") as on_build:
            path = make_dataset(folder, name, source, on_build, processes=cpu_count())
    open_home(home)
    click.echo(dataset_text(dataset_row(path)))


@data.command("show")
@click.argument("name")
@home_option
@json_option
@click.option("--png", type=click.Path(dir_okay=False, path_type=Path), help="File; beside the dataset, if left out.")
@click.option("--part", type=click.Choice(["train", "validation", "test"]), default="train", show_default=True)
@click.option("--split", help="A split table of the dataset; its usual one where left out.")
@click.option("--episodes", type=click.IntRange(1, 50), default=4, show_default=True, help="How many are drawn.")
@click.option("--ways", type=click.IntRange(min=2), default=5, show_default=True)
@click.option("--shots", type=click.IntRange(min=1), default=1, show_default=True)
@click.option("--queries", type=click.IntRange(min=1), default=5, show_default=True)
@click.option("--seed", type=click.IntRange(min=0), help="Of the episodes; that of every trial where left out.")
def data_show(
    name: str,
    home: str,
    as_json: bool,
    png: Path | None,
    part: str,
    split: str | None,
    episodes: int,
    ways: int,
    shots: int,
    queries: int,
    seed: int | None,
) -> None:
    """Show what the dataset NAME holds, and draw its first episodes, as a trial sees them, into a PNG.

    Validation and test episodes are the same for all trials; training episodes are those of training.seed 0.
    """
    from orchestrator.contact_sheet import Asked, class_names, draw_sheet, sampler_of, save_png
    from orchestrator.data import data_folder, dataset_row, ensure_dataset
    from orchestrator.home import existing_home, open_home
    from orchestrator.summary import dataset_json, dataset_text
    from trainers.datasets.image_file import open_image_file

    is_new = existing_home(home) is None
    with build_bar() as on_build:
        path = ensure_dataset(data_folder(home), name, on_build)
    if is_new:
        open_home(home)
    sampler = sampler_of(open_image_file(path), Asked(part, ways, shots, queries, split, seed))
    png = png or path.with_suffix(".png")
    save_png(draw_sheet(sampler, range(episodes)), png)
    row = dataset_row(path)
    if as_json:
        drawn = [{"index": index, "classes": class_names(sampler, index)} for index in range(episodes)]
        sheet = {"png": str(png), "split": sampler.split, "part": part, "seed": sampler.seed, "episodes": drawn}
        click.echo(json.dumps(dataset_json(row) | {"contact_sheet": sheet}))
    else:
        click.echo(f"{dataset_text(row)}\n  {png}: its first {episodes} episodes in {part}")


@data.command("verify")
@click.argument("name", required=False)
@home_option
@json_option
def data_verify(name: str | None, home: str, as_json: bool) -> None:
    """Read every byte of the dataset NAME, or of all; exit code 2 where one is damaged."""
    from orchestrator.data import data_folder, verify_datasets
    from orchestrator.errors import DatasetError
    from orchestrator.home import existing_home

    existing_home(home)
    verdicts = verify_datasets(data_folder(home), name)
    damaged = [verdict.problem for verdict in verdicts if verdict.problem]
    if as_json:
        rows = [{**vars(verdict), "path": str(verdict.path), "intact": not verdict.problem} for verdict in verdicts]
        click.echo(json.dumps({"datasets": rows}))
    else:
        for verdict in verdicts:
            click.echo(f"{verdict.name}: {'damaged' if verdict.problem else 'intact'}: {verdict.path}")
        if not verdicts:
            click.echo(f"no dataset in {home}; `orchestrate data import NAME --source PATH` brings one")
    if damaged:
        raise DatasetError(*damaged)
