"""One trial in this process, without Ray; recorded like any other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from orchestrator.data import check_present, data_folder, ensure_dataset
from orchestrator.environment import ROOT, git_commit
from orchestrator.home import existing_home, open_home
from orchestrator.home_lock import in_use
from orchestrator.rows import read_row
from orchestrator.store import Store, keys_of
from trainers.config import TrialConfig
from trainers.datasets import recipe_of
from trainers.datasets.image_file import open_image_file
from trainers.episodes import check_data
from trainers.memory import keep_freed_memory
from trainers.problem import Score, Source, with_minus
from trainers.problems import Config, problem_of


def run_single(
    config: Config, home_url: str, on_build: Callable[[int, int], None], on_line: Callable[[str], None]
) -> dict[str, Any]:
    """Runs a trial, or looks it up; gives its keys, state, metrics and error as JSON values.

    Raises:
        InputError: the home or the dataset can't be used.
    """
    existing_home(home_url)
    problem = problem_of(config)
    if isinstance(config, TrialConfig):
        check_data(config, recipe_of(config.source))
        check_present(data_folder(home_url), config.source)
    else:
        problem.source(config.source)

    import torch

    from orchestrator.attempt import attempt_trial

    keep_freed_memory()
    torch.set_num_threads(1)  # as in a sweep, so that the bits are the same
    home = open_home(home_url).mending(on_line)
    store = Store(home)
    data: Source
    image_shape = None
    if isinstance(config, TrialConfig):
        data = table = open_image_file(ensure_dataset(data_folder(home_url), config.source, on_build))
        check_data(config, table)
        image_shape = table.image_shape
    else:
        data = problem.source(config.source)
    keys = keys_of(config, data.fingerprint)
    asked_by = {"sweep": None, "number": None, "run": None, "git_commit": git_commit(ROOT)}
    cause = None
    with in_use(home):
        row = read_row(store, 0, config, keys, None, None, False, image_shape)
        if row.state != "completed" and store.failure(keys.training) is None:  # a bug may have been mended: try again
            for event in attempt_trial(store, [config], data, asked_by):
                on_line(_line(event, problem.score))
                cause = event.get("cause", cause)
        row = read_row(store, 0, config, keys, None, None, False, image_shape)
    return {
        "training_key": keys.training,
        "evaluation_key": keys.evaluation,
        "state": row.state if row.state == "completed" else "failed",
        **row.metrics,
        "error": row.error or cause,
    }


def _line(event: dict[str, Any], score: Score) -> str:
    if event["kind"] == "validated":
        by_head = event["validation_accuracy"]
        named = {f"{head} " if len(by_head) > 1 else "": value for head, value in by_head.items()}
        heads = ", ".join(f"{head}{_shown(value, score)}" for head, value in named.items())
        loss = with_minus(f"{event['train_loss']:.3f}")
        return f"{event['iteration']}/{event['iterations']}: loss {loss}, validation {heads}"
    if event["kind"] == "tested":
        return f"tested: {_shown(event['test_accuracy'], score)}"
    return str(event["line"]) if event["kind"] == "warned" else f"failed: {event['cause']}"


def _shown(value: float, score: Score) -> str:
    return score.text(value).replace(" %", "%")
