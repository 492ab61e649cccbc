"""Options by which a sweep is named and sized, as ``sweep`` and ``submit`` have them, and the spec that they make."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from orchestrator.cli_options import LONGEST_S, Command, scale_option, set_option, warn, weights_option
from orchestrator.spec_names import find_spec

if TYPE_CHECKING:
    from orchestrator.failure import FailurePolicy
    from orchestrator.spec import SweepSpec

MANY_CELLS = 20_000
"""From here on to look at them all takes so long, seconds, that it is said."""


def plan_options(command: Command) -> Command:
    """What changes the plan of the file."""
    options = (
        click.option("--name", help="Name of the sweep; the file's where left out."),
        set_option,
        scale_option,
        click.option("--trials", type=click.IntRange(min=1), help="Trials of a search (search.trials)."),
        click.option("--seeds", type=click.IntRange(min=1), help="Seeds of a grid (grid.seeds)."),
        click.option("--max-concurrent", type=click.IntRange(min=1), help="Trials at once (resources.max_concurrent)."),
    )
    for option in reversed(options):
        command = option(command)
    return command


def run_options(command: Command) -> Command:
    """What a run makes of failures, of a tracking server, and of an earlier sweep."""
    options = (
        click.option("--tracking-uri", help="MLflow's; MLFLOW_TRACKING_URI or SQLite in the home where left out."),
        click.option("--require-tracking", is_flag=True, help="Refuse to start while MLflow can't be reached."),
        weights_option,
        click.option(
            "--track-report/--no-track-report",
            default=True,
            envvar="ORCHESTRATE_TRACK_REPORT",
            help="Give MLflow the report once the sweep is done, or not: it takes some seconds to make.",
        ),
        click.option("--retry-failed", is_flag=True, help="Run trials that failed before again, whatever failed them."),
        click.option("--fail-fast", is_flag=True, help="Stop as soon as a trial fails: --max-failures 1."),
        click.option("--max-failures", type=click.IntRange(min=1), help="Stop as soon as so many trials have failed."),
        click.option(
            "--trial-timeout",
            type=click.IntRange(1, LONGEST_S),
            metavar="SECONDS",
            help="End a trial, or comparisons between trainings, that take longer at a stretch.",
        ),
        click.option("--yes", is_flag=True, help="Run a grid of more than 100,000 cells."),
        click.option("--fresh", is_flag=True, help="Forget a sweep of that name first, as `orchestrate rm` does."),
    )
    for option in reversed(options):
        command = option(command)
    return command


def asked_spec(
    spec: str,
    overrides: Sequence[str],
    scale: str | None,
    name: str | None,
    trials: int | None,
    seeds: int | None,
    max_concurrent: int | None,
) -> SweepSpec:
    """The sweep of a file as the options of ``plan_options`` change it.

    Raises:
        SpecError: of the file, or of an option, which is named as it was typed.
    """
    from orchestrator.errors import SpecError
    from orchestrator.spec_file import load_spec

    flags = {
        "name": ("--name", name),
        "search.trials": ("--trials", trials),
        "grid.seeds": ("--seeds", seeds),
        "resources.max_concurrent": ("--max-concurrent", max_concurrent),
    }
    typed = {
        f"{path}={json.dumps(value)}": f"{flag} {value}" for path, (flag, value) in flags.items() if value is not None
    }
    path = find_spec(spec)
    written = load_spec(path, overrides, scale=scale)
    if trials is not None and written.search is None:
        raise SpecError(f"--trials {trials}: {path} is a grid; --trials is for a search, a grid grows by --seeds")
    if seeds is not None and written.grid is None:
        raise SpecError(f"--seeds {seeds}: {path} is a search; --seeds is for a grid, a search grows by --trials")
    try:
        return load_spec(path, [*overrides, *typed], scale=scale)
    except SpecError as error:  # what was typed as a flag is named as that flag
        raise SpecError(*(_named_as_typed(line, typed) for line in error.problems)) from None


def asked_policy(
    retry_failed: bool, fail_fast: bool, max_failures: int | None, trial_timeout: int | None
) -> FailurePolicy:
    """What becomes of failed trials.

    Raises:
        SpecError: two options that say different things.
    """
    from orchestrator.errors import SpecError
    from orchestrator.failure import FailurePolicy

    if fail_fast and max_failures is not None:
        raise SpecError(
            f"--fail-fast: means --max-failures 1, and --max-failures {max_failures} is given too; drop one"
        )
    return FailurePolicy(retry_failed, 1 if fail_fast else max_failures, trial_timeout)


def check_cells(spec: SweepSpec, yes: bool) -> None:
    """Refuses a grid of very many cells, unless told that it is meant.

    Raises:
        SpecError: it has.
    """
    if spec.grid is None:
        return
    from orchestrator.grid import check_size

    if not yes:
        check_size(spec)
    if (most := spec.grid.most * spec.grid.seed_count) > MANY_CELLS:
        warn(f"{spec.name}: grid: up to {most:,} cells; to look at them all takes a while")


def _named_as_typed(line: str, typed: dict[str, str]) -> str:
    for override, flag in typed.items():
        line = line.replace(f"--set {override}", flag)
    return line


def given_options(context: click.Context, without: Sequence[str] = ()) -> list[str]:
    """The options that were typed, as they would be typed again; of ``without`` none. Names are those in Python."""
    arguments: list[str] = []
    for parameter in context.command.params:
        value: Any = context.params.get(parameter.name or "")
        source = context.get_parameter_source(parameter.name or "")
        typed = source is click.core.ParameterSource.COMMANDLINE and parameter.name not in without
        if not typed or not isinstance(parameter, click.Option):
            continue
        if parameter.is_flag:
            arguments.append(parameter.opts[0] if value else parameter.secondary_opts[0])
            continue
        for one in value if parameter.multiple else [value]:
            arguments += [parameter.opts[0], str(one)]
    return arguments
