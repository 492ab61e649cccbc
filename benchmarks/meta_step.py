"""A meta-step of ours beside the same step by other libraries: time, exactness, memory.

Everything runs on one thread, in turns: in each round every variant takes one step, so that what a busy machine does to
one it does to all. Times are process CPU time; ratios are medians of the rounds' ratios. Peers come from the extra
``bench`` and get images as a torch ``DataLoader`` gives them, channels first, unless ``--peer-layout`` says otherwise.

    python benchmarks/meta_step.py [--json] [--rounds N] [--settings NAME …] [--peer-layout channels_last]
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import numpy as np
import torch
from peers import PEERS, Network

from trainers.config import TrialConfig
from trainers.datasets.image_file import ImageClass, ImageTable, open_image_file
from trainers.datasets.image_writer import write_image_file
from trainers.episodes import Episode, EpisodeSampler, training_sampler
from trainers.evaluation import Adaptation, predict
from trainers.inner_loop import InnerLoop
from trainers.memory import keep_freed_memory
from trainers.meta_step import count_flops, meta_gradient, meta_gradient_by_autograd
from trainers.network import Network as OurNetwork
from trainers.tasks import Tasks, as_tasks

LEARN2LEARN = next(iter(PEERS))
Step = Callable[[], object]


@dataclass(frozen=True)
class Setting:
    """Shapes of a meta-step."""

    size: int
    channels: int
    width: int
    pooling: str
    ways: int
    queries: int
    tasks: int
    steps: int
    inner_lr: float

    def config(self, algorithm: str, **changes: Any) -> TrialConfig:
        """The trial that takes such steps."""
        return TrialConfig.model_validate(
            {
                "episodes": {"ways": self.ways, "shots": 1, "queries": self.queries},
                "backbone": {"width": self.width, "pooling": self.pooling},
                "algorithm": {"name": algorithm, "inner_steps": self.steps, "inner_lr": self.inner_lr, **changes},
                "training": {"meta_batch": self.tasks},
            }
        )


OMNI = Setting(28, 1, 64, "max", ways=5, queries=1, tasks=32, steps=1, inner_lr=0.4)
MINI = Setting(84, 3, 32, "max", ways=5, queries=15, tasks=4, steps=5, inner_lr=0.05)
OMNI20 = Setting(28, 1, 64, "stride", ways=20, queries=1, tasks=16, steps=5, inner_lr=0.1)
PAPER_SPEED = replace(MINI, queries=1, tasks=1)
"""How the paper timed ANIL against MAML: miniImageNet 5-way 1-shot, one task, one query image a class."""

SETTINGS = {
    f"{name}_{algorithm}": (setting, algorithm)
    for name, setting in (("omni", OMNI), ("mini", MINI), ("omni20", OMNI20))
    for algorithm in ("maml", "anil")
}


@dataclass(frozen=True)
class Case:
    """A network and tasks to take steps with."""

    config: TrialConfig
    network: OurNetwork
    params: dict[str, torch.Tensor]
    tasks: Tasks
    loop: InnerLoop


def make_case(setting: Setting, algorithm: str, dtype: torch.dtype = torch.float32, **changes: Any) -> Case:
    """Images of noise: the time of a step does not depend on what they show."""
    config = setting.config(algorithm, **changes)
    network = OurNetwork(config, (setting.size, setting.size, setting.channels))
    params = {name: value.to(dtype) for name, value in network.init(0).items()}
    rng = np.random.default_rng(0)

    def images(count: int) -> Any:
        return rng.integers(0, 256, (setting.ways, count, setting.size, setting.size, setting.channels), dtype=np.uint8)

    episodes = [Episode(images(1), images(setting.queries)) for _ in range(setting.tasks)]
    return Case(config, network, params, as_tasks(episodes, params["head.bias"]), InnerLoop.of_training(config))


def in_memory_as(layout: str, images: torch.Tensor) -> torch.Tensor:
    """Images [n, C, H, W] with their channels first or last in memory; torch picks its kernels by that."""
    memory_format = torch.contiguous_format if layout == "channels_first" else torch.channels_last
    # Not contiguous(): for it images of one channel are in either format already, whatever their strides say.
    return torch.empty_like(images, memory_format=memory_format).copy_(images)


def steps_of(case: Case, layout: str = "channels_first") -> dict[str, Step]:
    """A meta-step of every variant; a peer's without making its module, ours with making the tasks' float images."""
    setting, anil = case.config, case.config.algorithm.name == "anil"
    rate, steps = setting.algorithm.inner_lr, setting.algorithm.inner_steps
    module = Network(case.params, setting.backbone.pooling == "max")
    tasks = [
        replace(task, support=in_memory_as(layout, task.support), query=in_memory_as(layout, task.query))
        for task in case.tasks
    ]

    def peer(step: Callable[..., None]) -> None:
        module.zero_grad()
        step(module, anil, tasks, rate, steps)

    return {
        "ours": partial(meta_gradient, case.network, case.params, case.tasks, case.loop),
        "reference": partial(meta_gradient_by_autograd, case.network, case.params, case.tasks, case.loop),
        **{name: partial(peer, step) for name, step in PEERS.items()},
    }


def in_turns(steps: dict[str, Step], rounds: int) -> dict[str, list[float]]:
    """CPU milliseconds of each step, all of them once a round; a first round warms up."""
    found: dict[str, list[float]] = {name: [] for name in steps}
    for number in range(rounds + 1):
        for name, step in steps.items():
            started = time.process_time()
            step()
            if number:
                found[name].append(1000 * (time.process_time() - started))
    return found


def ratio(one: Sequence[float], other: Sequence[float]) -> float:
    """Median of the rounds' ratios."""
    return median(a / b for a, b in zip(one, other, strict=True))


def gemm_gflops(rounds: int) -> float:
    """Rate of a float32 matrix product, the most that one thread reaches."""
    a, b = torch.randn(1024, 1024), torch.randn(1024, 1024)
    ms = in_turns({"gemm": lambda: a @ b}, 10 * rounds)["gemm"]
    return 2 * 1024**3 / median(ms) / 1e6


def gradient_error(setting: Setting, algorithm: str) -> float:
    """Largest difference of a meta-gradient of two tasks from autograd's, in float64."""
    case = make_case(replace(setting, tasks=2), algorithm, torch.float64)
    ours, theirs = steps_of(case)["ours"](), steps_of(case)["reference"]()
    return max((ours.gradient[n] - theirs.gradient[n]).abs().max().item() for n in case.params)  # type: ignore[attr-defined]


def peak_mb(name: str, variant: str) -> float:
    """Peak memory of a fresh process that takes two steps."""
    command = [sys.executable, __file__, "--peak", name, variant]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def print_peak(name: str, variant: str) -> None:
    """What ``peak_mb`` asks of its process; for the variant ``none`` without any step."""
    case = make_case(*SETTINGS[name])
    if variant != "none":
        step = steps_of(case)[variant]
        step()
        step()
    # Not ru_maxrss, which a child process inherits.
    peak = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    print(int(peak.split()[1]) / 1024)


def measure(name: str, rounds: int, layout: str, say: Callable[[str], None]) -> dict[str, Any]:
    """One line of the table."""
    case = make_case(*SETTINGS[name])
    ms = in_turns(steps_of(case, layout), rounds)
    peak = median([gemm_gflops(rounds) for _ in range(3)])
    gflop = count_flops(case.network, case.params, case.tasks, case.loop) / 1e9
    found = {
        "ours_ms": median(ms["ours"]),
        "ours_ms_quartiles": quantiles(ms["ours"], n=4)[::2],
        "reference_ms": median(ms["reference"]),
        "peers_ms": {peer: median(ms[peer]) for peer in PEERS},
        "ratio_to_learn2learn": ratio(ms[LEARN2LEARN], ms["ours"]),
        "ratio_to_fastest_peer": min(ratio(ms[peer], ms["ours"]) for peer in PEERS),
        "max_abs_gradient_error": gradient_error(*SETTINGS[name]),
        "gflop": gflop,
        "share_of_peak": 1000 * gflop / median(ms["ours"]) / peak,
        "gemm_gflops": peak,
        "peak_mb": peak_mb(name, "ours"),
        "peak_mb_before": peak_mb(name, "none"),
        "peak_mb_learn2learn": peak_mb(name, LEARN2LEARN),
    }
    low, high = found["ours_ms_quartiles"]
    peers = " ".join(f"{found['peers_ms'][peer]:9.0f}" for peer in PEERS)
    say(
        f"{name:12s} {found['ours_ms']:7.0f} ({low:.0f}–{high:.0f}) {found['reference_ms']:9.0f} {peers}"
        f" {found['ratio_to_learn2learn']:7.2f} {found['max_abs_gradient_error']:9.0e} {found['share_of_peak']:7.0%}"
        f" {found['peak_mb']:6.0f} / {found['peak_mb_learn2learn']:.0f} / {found['peak_mb_before']:.0f}"
    )
    return found


def frozen(rounds: int) -> list[dict[str, Any]]:
    """Training steps of MAML with its first 0 … 4 blocks frozen: all blocks frozen is ANIL."""
    found = []
    for name, setting in (("omni", OMNI), ("mini", MINI)):
        cases = {count: make_case(setting, "maml", frozen_layers=count) for count in range(5)}
        ms = in_turns({str(count): steps_of(case)["ours"] for count, case in cases.items()}, rounds)
        found += [{"setting": name, "frozen_layers": count, "ms": median(ms[str(count)])} for count in range(5)]
    return found


def anil_over_maml(rounds: int) -> dict[str, float]:
    """How much faster ANIL is than *our* MAML, under the paper's protocol: a training step, and adapt + predict."""
    cases = {name: make_case(PAPER_SPEED, name) for name in ("maml", "anil")}

    def inference(case: Case) -> Step:
        loop = replace(case.loop, steps=10, second_order=False)
        return partial(predict, case.network, case.params, case.tasks, [Adaptation("linear", loop)])

    training = in_turns({name: steps_of(case)["ours"] for name, case in cases.items()}, 5 * rounds)
    tested = in_turns({name: inference(case) for name, case in cases.items()}, 5 * rounds)
    return {"training": ratio(training["maml"], training["anil"]), "inference": ratio(tested["maml"], tested["anil"])}


def episodes_share(rounds: int) -> dict[str, float]:
    """Sampling and gathering a meta-batch from a mapped file of Omniglot's size, as a share of the step it feeds."""
    found = {}
    rng = np.random.default_rng(0)
    classes = [ImageClass(f"{index:04d}", "", 20 * index, 20) for index in range(1623)]
    parts = {"train": tuple(range(862)), "validation": tuple(range(862, 964)), "test": tuple(range(964, 1623))}
    pixels = rng.integers(0, 256, (20 * 1623, 28, 28, 1), dtype=np.uint8)
    table = ImageTable.build("noise", pixels, np.zeros(len(pixels), np.int32), classes, {"scripts": parts})
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "noise.arrow"
        write_image_file(table, path)
        data = open_image_file(path)
        for algorithm in ("maml", "anil"):
            case = make_case(OMNI, algorithm)
            sampler = replace(training_sampler(case.config, data), rotations=True)

            def gather(sampler: EpisodeSampler = sampler, like: torch.Tensor = case.params["head.bias"]) -> Tasks:
                return as_tasks(sampler.episodes(range(OMNI.tasks)), like)

            ms = in_turns({"gather": gather, "step": steps_of(case)["ours"]}, rounds)
            found[algorithm] = ratio(ms["gather"], ms["step"])
    return found


def main() -> None:
    """Prints the tables, or one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--settings", nargs="+", choices=SETTINGS, default=list(SETTINGS))
    parser.add_argument("--peer-layout", choices=["channels_first", "channels_last"], default="channels_first")
    parser.add_argument("--peak", nargs=2, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()
    if asked.peak:
        print_peak(*asked.peak)
        return

    def say(line: str) -> None:
        print(line, file=sys.stderr if asked.json else sys.stdout, flush=True)

    say(f"{processor()}, one thread, torch {torch.__version__}, {torch.backends.cpu.get_cpu_capability()}")
    say("ms of CPU time (quartiles); ratio = learn2learn / ours; error in float64; share of a GEMM's rate;")
    say("peak MB of a process: ours / learn2learn / before the step")
    say(f"{'':12s} {'ours':>7s} {'reference':>17s} " + " ".join(f"{peer.split()[0]:>9s}" for peer in PEERS))
    settings = {name: measure(name, asked.rounds, asked.peer_layout, say) for name in asked.settings}
    layers = frozen(asked.rounds)
    for name in ("omni", "mini"):
        ms = ", ".join(f"{row['ms']:.0f}" for row in layers if row["setting"] == name)
        say(f"{name}_maml with 0, 1, 2, 3, 4 blocks frozen: {ms} ms")
    speed = anil_over_maml(asked.rounds)
    say(
        "ANIL over our MAML, timed as in the paper: "
        f"training {speed['training']:.2f}, inference {speed['inference']:.2f}"
    )
    shares = episodes_share(asked.rounds)
    say(f"sampling and gathering episodes, share of an omni step: MAML {shares['maml']:.1%}, ANIL {shares['anil']:.1%}")
    if asked.json:
        print(json.dumps({"settings": settings, "frozen": layers, "anil_over_maml": speed, "episodes_share": shares}))


def processor() -> str:
    """The CPU's name."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


if __name__ == "__main__":
    main()
