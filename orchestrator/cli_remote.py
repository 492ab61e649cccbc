"""``--address`` of reading commands: the same command, run on the head of a cluster."""

from __future__ import annotations

import sys
from functools import wraps
from pathlib import Path
from typing import Any

import click

from orchestrator.cli_options import Command, warn
from orchestrator.cli_spec import given_options

ADDRESS_HELP = "URL of a Ray cluster's job server, such as http://127.0.0.1:8265."


def on_cluster(command: Command) -> Command:
    """Adds ``--address`` and ``--home-on-head``, with which the command runs on the head and its output comes here."""

    @click.option("--address", metavar="URL", help=f"Run it on the head of a cluster: {ADDRESS_HELP}")
    @click.option(
        "--home-on-head",
        metavar="PATH",
        help="With --address: the home there; the submitted sweep's if left out.",
    )
    @wraps(command)
    def wrapped(*args: Any, address: str | None, home_on_head: str | None, **options: Any) -> Any:
        if address is not None:
            _run_there(address, home_on_head)
        if home_on_head is not None:
            raise click.UsageError("--home-on-head: needs --address")
        return command(*args, **options)

    return wrapped  # type: ignore[return-value]  # the same command with two options more


def typed_home(home_on_head: str | None) -> str | None:
    """``--home`` of this command where it was typed.

    Raises:
        click.UsageError: a home on the head was, too.
    """
    context = click.get_current_context()
    if context.get_parameter_source("home") is not click.core.ParameterSource.COMMANDLINE:
        return None
    if home_on_head is not None:
        raise click.UsageError("--home and --home-on-head: two homes; give one of them")
    home: str = context.params["home"]
    return home


def _echo(text: str) -> None:
    click.echo(text, nl=False)


def _echo_objects(text: str) -> None:
    """The objects of a job's log on stdout; the log has its stderr, too."""
    for line in text.splitlines():
        if line.startswith("{"):
            click.echo(line)
        else:
            warn(line)


def _run_there(address: str, home_on_head: str | None) -> None:
    """Runs the command that was typed on the head, and ends with its exit code."""
    from orchestrator.cluster.job_server import open_job_server
    from orchestrator.interrupt import EXIT_CODE
    from orchestrator.remote import answer, home_of, show
    from orchestrator.submission import checked_home

    context = click.get_current_context()
    name, output = context.params.get("name"), context.params.get("output")
    options = given_options(context, without=("address", "home_on_head", "home", "output"))
    command = context.info_name or ""
    if command == "report" and output is None:
        output = f"{name}-report"
    typed = typed_home(home_on_head)
    asked = checked_home(typed or "", home_on_head) if typed or home_on_head else None
    with open_job_server(address) as server:
        arguments = [command, *([name] if name else []), "--home", asked or home_of(server, name), *options]
        if context.params.get("watching"):
            try:
                raise SystemExit(show(server, arguments, _echo_objects if context.params["as_json"] else _echo))
            except KeyboardInterrupt:
                warn(f"no longer watching; {f'sweep {name!r}' if name else 'the cluster'} is left alone")
                raise SystemExit(EXIT_CODE) from None
        if output is not None:
            arguments += ["--output", Path(output).name]
        found = answer(server, arguments)
    for line in found.stderr.splitlines():
        warn(line)
    if output is not None:
        found.write_files(Path(output).parent)
    sys.stdout.buffer.write(found.stdout)
    sys.stdout.buffer.flush()
    raise SystemExit(found.code)
