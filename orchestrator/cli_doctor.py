"""``orchestrate doctor``."""

from __future__ import annotations

import json

import click

from orchestrator.cli_options import home_option, json_option

SIGNS = {"ok": "ok     ", "note": "note   ", "problem": "PROBLEM"}


@click.command()
@home_option
@click.option(
    "--address", metavar="ADDRESS", help="Look at a Ray cluster: HOST:PORT as of `sweep`, or a URL as of `submit`."
)
@json_option
def doctor(home: str, address: str | None, as_json: bool) -> None:
    """Say what this machine can do, or a cluster, what is missing, and how to get it.

    Of a cluster also whether it is open: one that takes orders without a token, or shows its dashboard to others.
    Exit code 1 where there is a problem.
    """
    if address is None:
        from orchestrator.doctor import examine

        findings = examine(home)
    else:
        from orchestrator.cluster.checkup import check_up

        findings = check_up(address)
    well = all(one.state != "problem" for one in findings)
    if as_json:
        click.echo(json.dumps({"ok": well, "findings": [vars(one) for one in findings]}))
    for one in () if as_json else findings:
        click.echo(f"{SIGNS[one.state]}  {one.what:<13}  {one.found}")
        if one.way_out:
            click.echo(f"{'':24}{one.way_out}")
    if not well:
        raise SystemExit(1)
