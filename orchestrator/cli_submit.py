"""``orchestrate submit`` and ``orchestrate cancel``."""

from __future__ import annotations

import time

import click

from orchestrator.cli_options import home_option, warn
from orchestrator.cli_remote import ADDRESS_HELP, typed_home
from orchestrator.cli_spec import asked_policy, asked_spec, check_cells, given_options, plan_options, run_options

CANCEL_TIMEOUT_S = 60.0
"""Ray gives a job three seconds, then kills it."""

address_option = click.option("--address", required=True, metavar="URL", help=ADDRESS_HELP)
home_on_head_option = click.option("--home-on-head", metavar="PATH", help="A folder of the head as home, not a URL.")


@click.command()
@click.argument("spec", type=click.Path())
@address_option
@home_option
@home_on_head_option
@plan_options
@run_options
@click.option("--detach", is_flag=True, help="Return as soon as the cluster has it; follow it by the same command.")
def submit(
    spec: str,
    address: str,
    home: str,
    home_on_head: str | None,
    name: str | None,
    overrides: tuple[str, ...],
    scale: str | None,
    trials: int | None,
    seeds: int | None,
    max_concurrent: int | None,
    retry_failed: bool,
    fail_fast: bool,
    max_failures: int | None,
    trial_timeout: int | None,
    tracking_uri: str | None,
    require_tracking: bool,
    log_weights: str,
    track_report: bool,
    yes: bool,
    fresh: bool,
    detach: bool,
) -> None:
    """Run the sweep of SPEC as a job of a Ray cluster, and follow what it prints.

    File and code are sent along; the cluster needs what metasweep depends on, a home that it can see (a URL, or a
    folder of its head by --home-on-head), and there the datasets that have to be imported. The job goes on without this
    command: Ctrl-C leaves it, the same command finds it again. Where it has ended and not everything is done, the same
    command goes on with the rest. Its exit code is that of `orchestrate sweep` there.
    """
    from orchestrator.cluster.job_server import open_job_server
    from orchestrator.errors import InputError
    from orchestrator.interrupt import EXIT_CODE
    from orchestrator.submission import Submission, check_began, checked_home, exit_code
    from orchestrator.submission import submit as submit_sweep
    from orchestrator.url_secrets import holds_secrets

    del require_tracking, log_weights, track_report  # they go along as they were typed
    asked_policy(retry_failed, fail_fast, max_failures, trial_timeout)
    loaded = asked_spec(spec, overrides, scale, name, trials, seeds, max_concurrent)
    check_cells(loaded, yes)
    if tracking_uri is not None and holds_secrets(tracking_uri):
        raise InputError("--tracking-uri: its secrets would be seen on the cluster; set them in its head's environment")
    context = click.get_current_context()
    in_spec = ("name", "overrides", "scale", "trials", "seeds", "max_concurrent")
    arguments = given_options(context, without=("address", "home", "home_on_head", "detach", *in_spec))
    typed_home(home_on_head)
    asked = Submission(loaded, checked_home(home, home_on_head), tuple(arguments))
    way_back = f"stop it by: orchestrate cancel {loaded.name} --address {address}"
    with open_job_server(address) as server:
        if server.is_open:
            warn(f"--address {address}: it answers without a token, so whoever reaches it can run code there")
        job, outcome = submit_sweep(server, asked, again=fresh)
        words = {
            "submitted": f"submitted as job {job.id}",
            "continued": f"goes on as job {job.id}",
            "attached": f"runs there already, as job {job.id}",
            "done": f"was done by job {job.id} (--fresh runs it again), which had printed",
        }
        warn(f"sweep {loaded.name!r} {words[outcome]}")
        if detach:
            warn(f"follow it by the same command without --detach; {way_back}")
            return
        try:
            job = server.follow(job.id, lambda text: click.echo(text, nl=False))
        except KeyboardInterrupt:
            warn(f"detached; the sweep goes on there. Follow it by the same command; {way_back}")
            raise SystemExit(EXIT_CODE) from None
        check_began(server, job)
    if home_on_head is not None:
        warn(f"read it from here by: orchestrate report {loaded.name} --address {address}")
    if job.state == "STOPPED":
        warn("the job was stopped; the same command goes on with the rest")
    elif exit_code(job) != job.exit_code:
        warn(f"the job was killed (exit code {job.exit_code}), as by a lack of memory; the same command goes on")
    raise SystemExit(exit_code(job))


@click.command()
@click.argument("name")
@address_option
@click.option("--home", metavar="URL", help="The sweep's home, where sweeps of that name run in several.")
@home_on_head_option
def cancel(name: str, address: str, home: str | None, home_on_head: str | None) -> None:
    """Stop the sweep NAME that runs as a job of a cluster. What is recorded stays; `submit` goes on from there."""
    from orchestrator.cluster.job_server import open_job_server
    from orchestrator.errors import InterruptedSweep
    from orchestrator.submission import cancel as cancel_sweep
    from orchestrator.submission import checked_home

    typed_home(home_on_head)
    where = checked_home(home or "", home_on_head) if home or home_on_head else None
    with open_job_server(address) as server:
        job = cancel_sweep(server, name, where)
        until = time.monotonic() + CANCEL_TIMEOUT_S
        while not (job := server.job(job.id)).ended:
            if time.monotonic() > until:
                raise InterruptedSweep(f"{name}: job {job.id} has not ended in {CANCEL_TIMEOUT_S:g} s; give it again")
            time.sleep(0.5)
    click.echo(f"{name}: stopped (job {job.id}); `orchestrate submit` with the same file goes on from there")
