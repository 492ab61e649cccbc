"""``orchestrate track``."""

from __future__ import annotations

import click

from orchestrator.cli_options import home_option


@click.command()
@click.argument("name")
@home_option
@click.option("--tracking-uri", help="MLflow's; MLFLOW_TRACKING_URI or SQLite in the home where left out.")
def track(name: str, home: str, tracking_uri: str | None) -> None:
    """Make MLflow equal to the record of the sweep NAME: after an outage, or for a server that never saw it.

    What is there already is not written again. Exit code 3 where MLflow can't be reached.
    """
    from orchestrator.track import track as track_sweep

    uri, trials = track_sweep(name, home, tracking_uri)
    click.echo(f"{uri} has sweep {name}: {trials} trials")
