"""What the parts of a sweep cost on this machine: data, episodes, a meta-step, a proposal, the command line.

python benchmarks/basics.py           about a minute; medians, and ratios of what was run in turns
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median

import torch

from orchestrator.data import make_dataset
from orchestrator.search.proposals import Outcome, Proposal, default_window
from orchestrator.search.searcher import propose
from orchestrator.spec_file import load_spec
from trainers.config import TrialConfig
from trainers.datasets.image_file import ImageTable, open_image_file
from trainers.episodes import training_sampler
from trainers.inner_loop import InnerLoop
from trainers.meta_step import meta_gradient
from trainers.network import Network
from trainers.tasks import Tasks, as_tasks

ROOT = Path(__file__).resolve().parents[1]


def in_turns(functions: dict[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Seconds of each function, all of them once a round."""
    seconds: dict[str, list[float]] = {name: [] for name in functions}
    for _ in range(rounds):
        for name, function in functions.items():
            started = time.perf_counter()
            function()
            seconds[name].append(time.perf_counter() - started)
    return seconds


def show(name: str, seconds: list[float], per: int = 1) -> None:
    """A median with its spread, in ms."""
    ms = [1000 * value / per for value in seconds]
    print(f"{name:50s} {median(ms):9.2f} ms   ({min(ms):.2f} … {max(ms):.2f})")


def steps(data: ImageTable) -> None:
    """A meta-gradient of MAML and of ANIL, in turns, and gathering its episodes."""
    configs = {
        name: TrialConfig.model_validate(
            {"backbone": {"width": 32, "pooling": "stride"}, "algorithm": {"name": name}, "training": {"meta_batch": 4}}
        )
        for name in ("maml", "anil")
    }
    sampler = training_sampler(configs["maml"], data)
    network = Network(configs["maml"], data.image_shape)
    params = network.init(0)

    def gather() -> Tasks:
        return as_tasks(sampler.episodes(range(4)), params["head.bias"])

    loops = {name: InnerLoop.of_training(config) for name, config in configs.items()}
    timed = in_turns(
        {
            "meta-gradient, MAML, 4 tasks, one thread": partial(
                meta_gradient, network, params, gather(), loops["maml"]
            ),
            "meta-gradient, ANIL, 4 tasks, one thread": partial(
                meta_gradient, network, params, gather(), loops["anil"]
            ),
            "gathering those 4 episodes": gather,
        },
        rounds=30,
    )
    for name, seconds in timed.items():
        show(name, seconds[3:])
    maml, anil, _ = timed.values()
    print(f"{'MAML / ANIL':50s} {median(m / a for m, a in zip(maml, anil, strict=True)):9.2f}")


def proposals() -> None:
    """Proposal n of the quickstart search, by TPE and at random."""
    spec = load_spec(ROOT / "sweeps" / "quickstart.yaml")
    assert spec.search is not None
    window = default_window(2)
    for count in (100, 1000):
        search = spec.search.model_copy(update={"sampler": "random"})
        earlier: list[Proposal] = []
        for number in range(count):
            earlier.append(propose(search, spec.trial, number, earlier, [], number + 1))
        outcomes = [Outcome(number, "complete", ((7 * number % 100) / 100,)) for number in range(count - window + 1)]
        samplers = [spec.search.model_copy(update={"sampler": sampler}) for sampler in ("tpe", "random")]
        timed = in_turns(
            {
                f"proposal {count}, {asked.sampler}": partial(
                    propose, asked, spec.trial, count, earlier, outcomes, window
                )
                for asked in samplers
            },
            rounds=6,
        )
        for name, seconds in timed.items():
            show(name, seconds[1:])


def main() -> None:
    """Prints all of it."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        path = make_dataset(Path(folder), "glyphs", None, lambda done, total: None)
        print(f"{'building glyphs':50s} {time.perf_counter() - started:9.2f} s")
        steps(open_image_file(path))
    proposals()
    command = [str(Path(sys.executable).parent / "orchestrate"), "--help"]
    help_text = in_turns({"help": lambda: subprocess.run(command, capture_output=True, check=True)}, rounds=5)
    show("orchestrate --help", help_text["help"])


if __name__ == "__main__":
    main()
