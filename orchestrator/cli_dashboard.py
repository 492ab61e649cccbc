"""``orchestrate dashboard``."""

from __future__ import annotations

import click

from orchestrator.cli_options import home_option, warn


@click.command()
@click.argument("name", required=False)
@home_option
@click.option("--host", default="127.0.0.1", show_default=True, help="Interface to listen on.")
@click.option("--port", type=click.IntRange(1, 65535), help="5000, or a free one, where left out.")
def dashboard(name: str | None, home: str, host: str, port: int | None) -> None:
    """Open the MLflow UI on this home, until Ctrl-C.

    The first link that it prints leads to the trials of the sweep NAME, or of the latest, best test accuracy first.
    Nothing that it starts outlives it; in the background, `nohup` lets it outlive the shell.
    """
    from orchestrator.dashboard import serve_dashboard
    from orchestrator.errors import HomeError
    from orchestrator.home import open_home

    opened = open_home(home, create=False)
    if opened.local is None:
        raise HomeError(f"--home {home}: its tracking store is elsewhere; open the MLflow server that the sweeps used")
    if name is not None:
        from orchestrator.rows import find_sweep

        find_sweep(opened, name)
    if host not in ("127.0.0.1", "localhost", "::1"):
        warn(f"--host {host}: anybody who can reach this machine can read and change these records")
    serve_dashboard(opened.local, opened.id, name, host, port)
