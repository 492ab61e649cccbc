"""Optuna with as many processes as trials at once, which share a study in a journal file. Nothing tracks them.

Arguments: trials, how many at once, folder.
"""

from __future__ import annotations

import multiprocessing
import sys
from pathlib import Path

import optuna
from benchmark_sleep import sleep  # type: ignore[import-not-found]  # on the path of the benchmark's processes
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend


def objective(trial: optuna.Trial) -> float:
    """A trial."""
    inner_lr = trial.suggest_float("inner_lr", 0.01, 1.0, log=True)
    trial.suggest_float("meta_lr", 1e-4, 1e-2, log=True)
    sleep()
    return inner_lr / 2


def work(file: str, trials: int) -> None:
    """One process."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.load_study(study_name="sleeping", storage=JournalStorage(JournalFileBackend(file)))
    study.optimize(objective, n_trials=trials)


def main() -> None:
    """Runs it: each process its share of the trials."""
    trials, concurrent, file = int(sys.argv[1]), int(sys.argv[2]), str(Path(sys.argv[3]) / "journal.log")
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    optuna.create_study(study_name="sleeping", direction="maximize", storage=JournalStorage(JournalFileBackend(file)))
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=work, args=(file, trials // concurrent)) for _ in range(concurrent)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0


if __name__ == "__main__":
    main()
