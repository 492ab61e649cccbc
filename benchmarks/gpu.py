"""A meta-step of ours on a GPU beside the same step by other libraries: time and exactness.

In each round every variant takes some steps in turn. Times are wall-clock, between two waits for the device; ratios are
medians of the rounds' ratios. Peers come from the extra ``bench``.

    python benchmarks/gpu.py [--json] [--rounds N] [--settings NAME …] [--tf32]
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from statistics import median, quantiles
from typing import Any

import torch
from meta_step import LEARN2LEARN, MINI, OMNI, OMNI20, PAPER_SPEED, SETTINGS, Case, Setting, Step, make_case, ratio
from peers import PEERS, Network

from trainers.captured_step import MetaStep
from trainers.device import settle
from trainers.evaluation import Adaptation, predict
from trainers.meta_step import meta_gradient, meta_gradient_by_autograd

STEPS_A_TURN = 3
"""Steps of a variant between two waits for the device."""


def on_gpu(case: Case) -> Case:
    """The same network and tasks there."""
    params = {name: value.cuda() for name, value in case.params.items()}
    tensors = [value.cuda() for value in case.tasks.tensors]
    return replace(case, params=params, tasks=type(case.tasks)(*tensors, case.tasks.dtype))


def steps_of(case: Case) -> dict[str, Step]:
    """A meta-step of every variant."""
    config, anil = case.config, case.config.algorithm.name == "anil"
    rate, steps = config.algorithm.inner_lr, config.algorithm.inner_steps
    module = Network(case.params, config.backbone.pooling == "max")
    tasks = list(case.tasks)

    def peer(step: Callable[..., None]) -> None:
        module.zero_grad()
        step(module, anil, tasks, rate, steps)

    captured = MetaStep(case.network, case.params, case.loop)
    return {
        "ours": partial(captured, case.tasks),
        "not captured": partial(meta_gradient, case.network, case.params, case.tasks, case.loop),
        "reference": partial(meta_gradient_by_autograd, case.network, case.params, case.tasks, case.loop),
        **{name: partial(peer, step) for name, step in PEERS.items()},
    }


def in_turns(steps: dict[str, Step], rounds: int, at_once: int = STEPS_A_TURN) -> dict[str, list[float]]:
    """Milliseconds of each step, all of them once a round; a first round warms up."""
    found: dict[str, list[float]] = {name: [] for name in steps}
    for number in range(rounds + 1):
        for name, step in steps.items():
            torch.cuda.synchronize()
            started = time.perf_counter()
            for _ in range(at_once):
                step()
            torch.cuda.synchronize()
            if number:
                found[name].append(1000 * (time.perf_counter() - started) / at_once)
    return found


def gemm_tflops() -> float:
    """Rate of a large matrix product in the precision that is set."""
    a, b = (torch.randn(8192, 8192, device="cuda") for _ in range(2))
    ms = in_turns({"gemm": lambda: a @ b}, 5)["gemm"]
    return 2 * 8192**3 / median(ms) / 1e9


def gradient_error(setting: Setting, algorithm: str) -> float:
    """Largest difference of the captured step's meta-gradient from autograd's, in float64."""
    case = on_gpu(make_case(replace(setting, tasks=2), algorithm, torch.float64))
    steps = steps_of(case)
    ours, theirs = steps["ours"](), steps["reference"]()
    return max((ours.gradient[n] - theirs.gradient[n]).abs().max().item() for n in case.params)  # type: ignore[attr-defined]


def measure(name: str, rounds: int, say: Callable[[str], None]) -> dict[str, Any]:
    """One line of the table."""
    steps = steps_of(on_gpu(make_case(*SETTINGS[name])))
    ms = in_turns(steps, rounds)
    low, _, high = quantiles(ms["ours"], n=4)
    found = {
        "ours_ms": median(ms["ours"]),
        "ours_ms_quartiles": [low, high],
        "not_captured_ms": median(ms["not captured"]),
        "reference_ms": median(ms["reference"]),
        "peers_ms": {peer: median(ms[peer]) for peer in PEERS},
        "ratio_to_learn2learn": ratio(ms[LEARN2LEARN], ms["ours"]),
        "ratio_to_fastest_peer": min(ratio(ms[peer], ms["ours"]) for peer in PEERS),
        "max_abs_gradient_error": gradient_error(*SETTINGS[name]),
    }
    peers = " ".join(f"{found['peers_ms'][peer]:9.1f}" for peer in PEERS)
    say(
        f"{name:12s} {found['ours_ms']:7.2f} ({low:.2f}–{high:.2f}) {found['not_captured_ms']:9.1f}"
        f" {found['reference_ms']:9.1f} {peers} {found['ratio_to_learn2learn']:7.1f}"
        f" {found['ratio_to_fastest_peer']:7.1f} {found['max_abs_gradient_error']:9.0e}"
    )
    return found


def frozen(rounds: int) -> list[dict[str, Any]]:
    """Training steps of MAML with its first 0 … 4 blocks frozen: all blocks frozen is ANIL."""
    found = []
    for name, setting in (("omni", OMNI), ("mini", MINI), ("omni20", OMNI20)):
        cases = {count: on_gpu(make_case(setting, "maml", frozen_layers=count)) for count in range(5)}
        ms = in_turns({str(count): steps_of(case)["ours"] for count, case in cases.items()}, rounds)
        found += [{"setting": name, "frozen_layers": count, "ms": median(ms[str(count)])} for count in range(5)]
    return found


def anil_over_maml(rounds: int) -> dict[str, float]:
    """How much faster ANIL is than *our* MAML, under the paper's protocol: a training step, and adapt + predict."""
    cases = {name: on_gpu(make_case(PAPER_SPEED, name)) for name in ("maml", "anil")}

    def inference(case: Case) -> Step:
        loop = replace(case.loop, steps=10, second_order=False)
        return partial(predict, case.network, case.params, case.tasks, [Adaptation("linear", loop)])

    training = in_turns({name: steps_of(case)["ours"] for name, case in cases.items()}, 5 * rounds)
    tested = in_turns({name: inference(case) for name, case in cases.items()}, 5 * rounds)
    return {"training": ratio(training["maml"], training["anil"]), "inference": ratio(tested["maml"], tested["anil"])}


def main() -> None:
    """Prints the tables, or one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--settings", nargs="+", choices=SETTINGS, default=list(SETTINGS))
    parser.add_argument("--tf32", action="store_true", help="let all of them round to TF32")
    asked = parser.parse_args()
    if not torch.cuda.is_available():
        print("nothing measured: torch finds no CUDA device here", file=sys.stderr)
        if asked.json:
            print(json.dumps({}))
        return
    settle("cuda", asked.tf32)

    def say(line: str) -> None:
        print(line, file=sys.stderr if asked.json else sys.stdout, flush=True)

    say(f"{torch.cuda.get_device_name()}, torch {torch.__version__}, {'TF32' if asked.tf32 else 'float32'}")
    say(f"a matrix product reaches {gemm_tflops():.0f} TFLOP/s; ms of a step (quartiles); error in float64")
    say("ratios: learn2learn / ours, fastest peer / ours")
    peers = " ".join(f"{peer.split()[0]:>9s}" for peer in PEERS)
    say(f"{'':12s} {'ours':>7s} {'not captured':>23s} {'reference':>9s} {peers} {'ratio':>7s} {'fastest':>7s} error")
    settings = {name: measure(name, asked.rounds, say) for name in asked.settings}
    layers = frozen(asked.rounds)
    for name in ("omni", "mini", "omni20"):
        ms = ", ".join(f"{row['ms']:.2f}" for row in layers if row["setting"] == name)
        say(f"{name}_maml with 0, 1, 2, 3, 4 blocks frozen: {ms} ms")
    speed = anil_over_maml(asked.rounds)
    say(
        "ANIL over our MAML, timed as in the paper: "
        f"training {speed['training']:.2f}, inference {speed['inference']:.2f}"
    )
    if asked.json:
        print(json.dumps({"settings": settings, "frozen": layers, "anil_over_maml": speed}))


if __name__ == "__main__":
    main()
