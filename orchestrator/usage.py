"""A wrong command line in one line of our own, instead of click's usage text: place, value, rule, way out."""

from __future__ import annotations

import click

from trainers.registry import nearest


def usage_problem(error: click.UsageError) -> str:
    """``--trials 0: must be a whole number of at least 1; `orchestrate sweep --help` shows what it takes``."""
    context = error.ctx or click.Context(click.Command("orchestrate"), info_name="orchestrate")
    command = context.command_path
    way_out = f"`{command} --help` shows what it takes"
    unknown_command = getattr(error, "command_name", None)  # NoSuchCommand, which click has since 8.4
    if isinstance(error, click.NoSuchOption):
        flags = [parameter for parameter in context.command.get_params(context) if isinstance(parameter, click.Option)]
        problem = f"{error.option_name}: no such option of {command}"
        way_out = nearest(error.option_name, [name for flag in flags for name in flag.opts if name.startswith("--")])
    elif unknown_command is not None and isinstance(context.command, click.Group):
        problem = f"{unknown_command or repr('')}: no such command of {command}"
        way_out = nearest(unknown_command, context.command.commands)
    elif isinstance(error, click.MissingParameter) and error.param is not None:
        problem = f"{error.param.make_metavar(context)}: is missing"
    elif isinstance(error, click.BadParameter) and error.param is not None:
        problem = _bad_value(error.param, error.message)
    elif isinstance(error, click.BadOptionUsage):
        problem = f"{error.option_name}: {error.message.removeprefix(f'Option {error.option_name!r} ')}"
    else:
        problem = f"{command}: {error.message}"
    return " ".join(f"{problem.rstrip('.')}; {way_out}".split())  # one line, whatever was typed


def _bad_value(parameter: click.Parameter, message: str) -> str:
    """Click's own message begins with the value, where it is about one."""
    value, _, about_value = message.partition(" is not ")
    place, kind = parameter.opts[0], parameter.type
    if about_value and isinstance(kind, click.IntRange):
        upper = "" if kind.max is None else f" and at most {kind.max}"
        return f"{place} {value.strip(chr(39))}: must be a whole number of at least {kind.min}{upper}"
    if about_value and isinstance(kind, click.Choice):
        return f"{place} {value.strip(chr(39))}: must be one of {', '.join(kind.choices)}"
    return f"{place}: {message}"
