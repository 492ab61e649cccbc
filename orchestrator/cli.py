"""The commands: each parses, calls one function, prints. Heavy imports happen inside them."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Literal

import click

from orchestrator.cli_clean import clean, rm
from orchestrator.cli_dashboard import dashboard
from orchestrator.cli_data import data
from orchestrator.cli_doctor import doctor
from orchestrator.cli_grid import grid
from orchestrator.cli_options import build_bar, home_option, json_option, set_option, warn
from orchestrator.cli_remote import on_cluster
from orchestrator.cli_report import report
from orchestrator.cli_spec import asked_policy, asked_spec, check_cells, plan_options, run_options
from orchestrator.cli_status import status
from orchestrator.cli_submit import cancel, submit
from orchestrator.cli_track import track
from orchestrator.spec_names import find_spec

EXIT_FAILED_TRIALS = 1
EXIT_NOT_FINISHED = 3


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="metasweep", prog_name="orchestrate")
def cli() -> None:
    """Run meta-learning studies: one YAML file, one command, a table with intervals.

    Exit codes: 0 done; 1 some trials failed; 2 bad input, nothing started; 3 could not finish, resumable;
    130 interrupted, resumable by the same command.
    """


@cli.command()
@click.argument("spec", type=click.Path())
@home_option
@plan_options
@click.option("--address", metavar="HOST:PORT", help="A standing Ray cluster; this machine where left out.")
@run_options
@click.option("--dry-run", is_flag=True, help="Check file, home and servers, print what would run; start nothing.")
@json_option
def sweep(
    spec: str,
    home: str,
    name: str | None,
    overrides: tuple[str, ...],
    scale: str | None,
    trials: int | None,
    seeds: int | None,
    max_concurrent: int | None,
    address: str | None,
    tracking_uri: str | None,
    require_tracking: bool,
    log_weights: Literal["none", "best", "all"],
    track_report: bool,
    retry_failed: bool,
    fail_fast: bool,
    max_failures: int | None,
    trial_timeout: int | None,
    yes: bool,
    fresh: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Run the sweep of a YAML file SPEC, or continue it.

    The same command again runs only what is not recorded yet: after Ctrl-C, a crash, or with more trials or seeds.
    A trial whose worker was lost, ran out of memory or took longer than --trial-timeout is attempted up to three times
    in a run, each time from where it was, and again by the next; one that raised an error or diverged counts as failed
    until --retry-failed. Comparisons between trainings are tried again alike.
    Where the file has a budget: that is spent, trials that run are finished and no other begins; a larger one
    (--set budget.hours=4) goes on with them.
    SPEC may be the name of a sweep that comes with the package, such as quickstart.
    """
    from orchestrator.errors import InterruptedSweep, TooManyFailures
    from orchestrator.inputs import Where

    policy = asked_policy(retry_failed, fail_fast, max_failures, trial_timeout)
    loaded = asked_spec(spec, overrides, scale, name, trials, seeds, max_concurrent)
    check_cells(loaded, yes)
    where = Where(home, address, tracking_uri, require_tracking, log_weights, track_report)
    if dry_run:
        from orchestrator.preview import preview

        plan = preview(loaded, where, warn, fresh)
        lines = (f"{key}: {', '.join(value) if isinstance(value, list) else value}" for key, value in plan.items())
        click.echo(json.dumps(plan) if as_json else "\n".join(lines))
        return

    from orchestrator.live import open_display
    from orchestrator.summary import summary
    from orchestrator.sweep import run_sweep

    stopped: TooManyFailures | None = None
    with build_bar() as on_build, open_display(sys.stderr, quiet=False) as display:
        try:
            result = run_sweep(loaded, where, policy, display.update, on_build, warn, fresh)
        except TooManyFailures as error:
            stopped, result = error, error.status
    click.echo(json.dumps(result) if as_json else summary(home, loaded.name, result))
    if stopped is not None:
        raise TooManyFailures(f"{stopped}; the same command goes on with the rest")
    if result["state"] != "done":
        raise InterruptedSweep(f"sweep {loaded.name!r} could not finish; the same command goes on from there")
    if result["trials"]["failed"]:
        raise SystemExit(EXIT_FAILED_TRIALS)


@cli.command()
@click.argument("config", type=click.Path())
@home_option
@set_option
@json_option
def trial(config: str, home: str, overrides: tuple[str, ...], as_json: bool) -> None:
    """Run one trial in this process, without Ray: CONFIG is a sweep file or its trial: part."""
    from orchestrator.spec_file import load_spec

    spec = load_spec(find_spec(config), overrides, require_plan=False)

    from orchestrator.single import run_single

    with build_bar() as on_build:
        row = run_single(spec.trial, home, on_build, lambda line: click.echo(line, err=True))
    if as_json:
        click.echo(json.dumps(row))
    else:
        for key, value in row.items():
            if value is not None:
                click.echo(f"{key}: {value:.4g}" if isinstance(value, float) else f"{key}: {value}")
    if row["state"] == "failed":
        raise SystemExit(EXIT_FAILED_TRIALS)


@cli.command()
@click.argument("name")
@home_option
@click.option(
    "--format",
    "as_format",
    type=click.Choice(["csv", "json", "parquet", "optuna"]),
    default="csv",
    show_default=True,
    help="optuna: a search as a study, for optuna-dashboard.",
)
@click.option("--output", type=click.Path(dir_okay=False), help="A file; stdout where left out.")
@on_cluster
def export(name: str, home: str, as_format: str, output: str | None) -> None:
    """Write the rows of the sweep NAME: one a trial, for a grid one a cell and seed.

    With several objectives a column says which trials are on the Pareto front.

    With --format optuna, a search becomes an Optuna study of the same name: SQLite where --output ends in .db, .sqlite
    or .sqlite3, else a journal. An earlier export of the same sweep is replaced, any other file refused.
    """
    if as_format == "optuna":
        from orchestrator.study_file import export_study

        export_study(name, home, output)
        return

    from orchestrator.errors import InputError
    from orchestrator.export import encode
    from orchestrator.row_table import results

    encoded = encode(results(name, home), as_format, output is None and sys.stdout.isatty())
    if output is None:
        sys.stdout.buffer.write(encoded)
        return
    try:
        Path(output).write_bytes(encoded)
    except OSError as error:
        raise InputError(f"--output {output}: {error.strerror}; name a file that can be written") from None


cli.add_command(dashboard)
cli.add_command(data)
cli.add_command(grid)
cli.add_command(report)
cli.add_command(rm)
cli.add_command(status)
cli.add_command(clean)
cli.add_command(track)
cli.add_command(submit)
cli.add_command(cancel)
cli.add_command(doctor)


def main() -> None:
    """Entry point."""
    from orchestrator.patience import awaited

    code = 0
    try:
        run()
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else 1
    if awaited():  # the usual exit would wait for it, too
        sys.stdout.flush()
        os._exit(code)
    raise SystemExit(code)


def run() -> None:
    """The command, with every error of ours turned into lines on stderr and an exit code."""
    from orchestrator.errors import DeadCluster, MetaSweepError
    from orchestrator.interrupt import EXIT_CODE

    try:
        cli.main(standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:  # a group alone shows its commands
        error.show()
        raise SystemExit(error.exit_code) from None
    except click.UsageError as error:
        from orchestrator.usage import usage_problem

        warn(f"error: {usage_problem(error)}")
        raise SystemExit(error.exit_code) from None
    except MetaSweepError as error:
        for problem in error.args:
            warn(f"error: {problem}")
        if isinstance(error, DeadCluster):
            os._exit(error.exit_code)  # the usual exit would wait for an answer
        raise SystemExit(error.exit_code) from None
    except (KeyboardInterrupt, click.Abort):  # click makes the second of the first
        warn("interrupted; everything recorded is kept, the same command goes on from there")
        raise SystemExit(EXIT_CODE) from None
    except BrokenPipeError:  # whoever read our output has left
        sys.stderr.close()
        raise SystemExit(EXIT_FAILED_TRIALS) from None
    except OSError as error:  # a disk that is full or gone
        place = error.filename or "input or output"
        warn(f"error: {place}: {error.strerror or error}; mend that, and give the same command again")
        raise SystemExit(EXIT_NOT_FINISHED) from None
