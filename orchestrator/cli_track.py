"""``orchestrate track``."""

from __future__ import annotations

from typing import Literal

import click

from orchestrator.cli_options import home_option, weights_option


@click.command()
@click.argument("name")
@home_option
@click.option("--tracking-uri", help="MLflow's; MLFLOW_TRACKING_URI or SQLite in the home where left out.")
@weights_option
def track(name: str, home: str, tracking_uri: str | None, log_weights: Literal["none", "best", "all"]) -> None:
    """Make MLflow equal to the record of the sweep NAME: after an outage, or for a server that never saw it.

    What is there already is not written again. A finished sweep gets its report as artifacts, too. Exit code 3 where
    MLflow can't be reached.
    """
    from orchestrator.track import track as track_sweep

    uri, trials = track_sweep(name, home, tracking_uri, log_weights)
    click.echo(f"{uri} has sweep {name}: {trials} trials")
