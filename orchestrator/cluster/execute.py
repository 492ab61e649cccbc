"""Runs trials on the cluster that is connected: Tune places them, reuses their actors and carries their events back.

Analyses are carried out in the same way, as trials of Tune's.

Of Tune only placement, actor reuse and its loop are used. What to run next comes from a callback, what happened goes
to another, and results are in the store.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from orchestrator.analyses import analyses_of
from orchestrator.cluster.deadline import deadline
from orchestrator.cluster.scratch import scratch_folder
from orchestrator.cluster.sharing import Shared, open_here, share
from orchestrator.cluster.watch import ClusterDied, dead_part, watched
from orchestrator.early_stopping import Cutoffs
from orchestrator.errors import DeadCluster, InterruptedSweep
from orchestrator.failure import Failure, failure_of, in_one_line
from orchestrator.home import open_home
from orchestrator.home_objects import Home
from orchestrator.spec import Resources
from orchestrator.store import Store
from trainers.config import Between
from trainers.datasets.image_file import ImageTable
from trainers.errors import ConfigError, MetaSweepError
from trainers.problem import Source
from trainers.problems import Config, config_of_json, few_shot, problem_of

Event = dict[str, Any]
"""What a trial says, see ``orchestrator.attempt``."""

MOST_AT_ONCE = 10_000
"""For Tune, where we count: without a limit it would run one."""

STORE_PATIENCE_S = 120.0
"""How long a worker waits for the home: the driver has reached it, so an outage is likely to end."""


@dataclass(frozen=True)
class Request:
    """What a worker needs to run one trial, or some analyses, but for shared datasets: strings and numbers only."""

    number: int
    home: str
    dataset: str
    """Name of the dataset, or of the environment."""
    fingerprint: str
    """Which version of it: ``sharing`` says how a worker gets at the pixels of a dataset."""
    configs: tuple[str, ...]
    """Trial configs as JSON, of one training key; for analyses, two after the other that are compared."""
    device: str
    """``cpu`` or ``cuda``."""
    threads: int
    asked_by: dict[str, Any]
    between: str | None = None
    """What is compared between trainings, as JSON; None of a trial."""
    timeout_s: float | None = None
    """How long it may take here, if there is a limit."""
    cutoffs: Cutoffs | None = None
    """Of a trial of a sweep that stops trials early."""


def request(
    number: int,
    home: Home,
    data: Source,
    configs: Sequence[Config],
    resources: Resources,
    asked_by: dict[str, Any],
    between: Between | None = None,
    timeout_s: float | None = None,
    cutoffs: Cutoffs | None = None,
) -> Request:
    """The request for work on one dataset."""
    return Request(
        number=number,
        home=home.url if home.local is None else str(home.local),
        dataset=configs[0].source,
        fingerprint=data.fingerprint,
        configs=tuple(config.model_dump_json() for config in configs),
        device="cuda" if resources.gpu else "cpu",
        threads=max(1, int(resources.cpu)),  # two trials on two cores beat one on both
        asked_by=asked_by,
        between=between.model_dump_json() if between else None,
        timeout_s=timeout_s,
        cutoffs=cutoffs,
    )


NextTrial = Callable[[], Request | None]
"""The next trial; None where it depends on one in flight. Raises StopIteration when there is none left."""

OnEvent = Callable[[int, Event], None]
"""Gets a trial's number and an event of it. ``{"kind": "ended"}`` is the last of each trial; ``{"kind": "lost", …}``
before it says that the trial failed and that nobody could record it."""


def execute(
    next_trial: NextTrial,
    on_event: OnEvent,
    resources: Resources,
    max_concurrent: int,
    tables: Collection[ImageTable] = (),
    capacity: Callable[[], int] | None = None,
) -> None:
    """Runs trials until there is none left. None is placed twice: whether to try again is for ``next_trial`` to say.

    Args:
        next_trial: what to run.
        on_event: gets what happened.
        resources: of one trial.
        max_concurrent: how many run at once.
        tables: datasets that not every machine may have as a file; nodes that lack one get a copy.
        capacity: of a cluster whose machines come and go, asked whenever there is room: how many may run, in place of
            ``max_concurrent``.

    Raises:
        InterruptedSweep: the cluster is gone, or a callback raised (disk full, say).
        KeyboardInterrupt: inside ``interruptible``; trials are stopped, what they committed is in the store.
    """
    from ray import tune

    from orchestrator.cluster.tune_adapter import CallbackFailed, FirstCome, TrialFeeder, TrialRunner

    feeder = TrialFeeder(next_trial, on_event, capacity)
    try:
        with scratch_folder() as scratch, watched():
            runner = tune.with_parameters(TrialRunner, shared=share(tables)) if tables else TrialRunner
            tuner = tune.Tuner(
                tune.with_resources(runner, {"cpu": resources.cpu, "gpu": resources.gpu or 0.0}),
                tune_config=tune.TuneConfig(
                    search_alg=feeder,
                    scheduler=FirstCome(),
                    num_samples=-1,
                    max_concurrent_trials=max_concurrent if capacity is None else MOST_AT_ONCE,
                    reuse_actors=True,
                    trial_dirname_creator=feeder.folder_name,
                ),
                run_config=tune.RunConfig(
                    name="sweep",
                    storage_path=str(scratch),
                    verbose=0,
                    checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
                    failure_config=tune.FailureConfig(max_failures=0),
                ),
            )
            tuner.fit()
    except ClusterDied as error:
        raise DeadCluster(f"the sweep stopped: {error}; run it again to go on") from error
    except (Exception, CallbackFailed) as error:
        cause = feeder.error or error
        if isinstance(cause, MetaSweepError):
            raise cause from None
        assert isinstance(cause, Exception)
        kind = DeadCluster if dead_part() else InterruptedSweep
        raise kind(f"the sweep stopped: {in_one_line(cause)}; run it again to go on") from error


def run_request(request: Request, shared: Shared) -> Iterator[Event]:
    """The events of a trial, run in this process.

    Never raises: a failure is an event, ``lost`` where it could not be recorded here. With a limit of time ``{"kind":
    "began"}`` comes first: it counts from then on, so not while libraries are loaded, and ends this process.
    """
    try:
        import torch

        from orchestrator.analysis_attempt import attempt_analyses
        from orchestrator.attempt import attempt_trial
        from trainers.memory import keep_freed_memory

        if request.timeout_s is not None:
            yield {"kind": "began"}
        with deadline(request.timeout_s):
            keep_freed_memory()
            torch.set_num_threads(request.threads)
            configs = [config_of_json(text) for text in request.configs]
            store = Store(open_home(request.home, create=False, patience_s=STORE_PATIENCE_S))
            if request.between is None:
                data, asked_by, cutoffs = _source(request, configs[0], shared), request.asked_by, request.cutoffs
                yield from attempt_trial(store, configs, data, asked_by, request.device, cutoffs=cutoffs)
            else:
                images = open_here(request.home, request.dataset, request.fingerprint, shared)
                between = Between.model_validate_json(request.between)
                asked = analyses_of(list(map(few_shot, configs)), between, images.fingerprint)
                yield from attempt_analyses(store, asked, images, request.device)
    except Exception as error:  # this node lacks the home, the dataset or the device, or the disk is full
        failure = failure_of(error)
        yield Failure(failure.kind if failure.kind in ("memory", "disk") else "lost", failure.cause).event("lost")


def _source(request: Request, config: Config, shared: Shared) -> Source:
    """What the tasks of a request are made from, on this machine.

    Raises:
        DatasetError: the dataset is not there.
        InputError: an environment's packages are not installed.
        ConfigError: the environment is another here than where the sweep was started.
    """
    problem = problem_of(config)
    if problem.needs_dataset:
        return open_here(request.home, request.dataset, request.fingerprint, shared)
    source = problem.source(request.dataset)
    if source.fingerprint != request.fingerprint:
        raise ConfigError(f"{request.dataset} is of another version here than where the sweep was started")
    return source
