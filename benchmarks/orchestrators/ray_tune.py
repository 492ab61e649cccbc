"""Ray Tune with OptunaSearch and its MLflow callback, as its documentation has them.

Arguments: trials, how many at once, folder, ``reuse`` or ``defaults``.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

os.environ["RAY_AIR_NEW_OUTPUT"] = "0"

import ray
from benchmark_sleep import sleep  # type: ignore[import-not-found]  # on the path of the benchmark's processes
from ray import tune
from ray.air.integrations.mlflow import MLflowLoggerCallback
from ray.tune.search.optuna import OptunaSearch

SPACE = {"inner_lr": tune.loguniform(0.01, 1.0), "meta_lr": tune.loguniform(1e-4, 1e-2)}


def accuracy(config: dict[str, float]) -> float:
    """What is reported."""
    return config["inner_lr"] / 2


def trial(config: dict[str, float]) -> None:
    """A function trainable: what most people write."""
    sleep()
    tune.report({"accuracy": accuracy(config)})


class Trial(tune.Trainable):  # type: ignore[misc]  # ray is untyped
    """A class trainable, whose actor can take another trial."""

    def setup(self, config: dict[str, float]) -> None:
        """Begins a trial."""
        self.its = config

    def step(self) -> dict[str, Any]:
        """All of it."""
        sleep()
        return {"accuracy": accuracy(self.its), "done": True}

    def reset_config(self, new_config: dict[str, float]) -> bool:
        """Begins another trial."""
        self.its = new_config
        return True

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Nothing to save, but Tune asks."""

    def load_checkpoint(self, checkpoint: Any) -> None:
        """Nothing to load."""


def main() -> None:
    """Runs it."""
    trials, concurrent, folder = int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])
    reuse = sys.argv[4] == "reuse"
    ray.init(num_cpus=concurrent, include_dashboard=False, log_to_driver=False)
    callback = MLflowLoggerCallback(tracking_uri=f"sqlite:///{folder}/mlflow.db", experiment_name="sleeping")
    tuner = tune.Tuner(
        Trial if reuse else trial,
        param_space=SPACE,
        tune_config=tune.TuneConfig(
            metric="accuracy",
            mode="max",
            search_alg=OptunaSearch(),
            num_samples=trials,
            max_concurrent_trials=concurrent,
            reuse_actors=reuse,
        ),
        run_config=tune.RunConfig(storage_path=str(folder / "tune"), verbose=0, callbacks=[callback]),
    )
    assert tuner.fit().num_terminated == trials
    ray.shutdown()


if __name__ == "__main__":
    main()
