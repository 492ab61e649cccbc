"""``orchestrate report``."""

from __future__ import annotations

import json
from pathlib import PurePath

import click

from orchestrator.cli_options import home_option, json_option
from orchestrator.cli_remote import on_cluster


@click.command()
@click.argument("name")
@home_option
@click.option("--output", type=click.Path(), help="A folder; sweeps/NAME/report in the home where left out.")
@json_option
@on_cluster
def report(name: str, home: str, output: str | None, as_json: bool) -> None:
    """Write the report on the sweep NAME: tables (Markdown, CSV, LaTeX), figures, report.md, index.html.

    Any sweep can be reported, a running or interrupted one too; its report says what is missing.
    """
    from orchestrator.home import open_home
    from orchestrator.report.write import write_report
    from orchestrator.results import load_study

    written = write_report(load_study(name, home), open_home(home, create=False), output)
    if as_json:
        found = [{"name": one.name, "outcome": one.outcome, "sentence": one.sentence} for one in written.relations]
        paths = {"tables": written.below("tables"), "figures": written.below("figures")}
        click.echo(json.dumps({"report": written.place, **paths, "relations": found}))
        return
    for one in written.relations:
        click.echo(f"{one.name}: {one.text}\n    {one.sentence}")
    for file in written.files:
        if "/" not in file:
            click.echo(f"{written.place}/{file}")
    for folder in ("tables", "figures"):
        names = dict.fromkeys(PurePath(file).stem for file in written.below(folder))
        if names:
            click.echo(f"{written.place}/{folder}/: {', '.join(names)}")
