"""What reinforcement learning costs: steps of the environments.

One thread; times are process CPU time. In each round every variant takes its turn, so that what a busy machine does to
one it does to all; ratios are medians of the rounds' ratios. Variants: the batch alone, its actions given; sampling as
a training does it, with one call of an adapted policy a step; a plain loop over one episode, its actions given, which
is Gymnasium's own environment for HalfCheetah.

    python benchmarks/rl.py [--json] [--quick] [--rounds N]
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from statistics import median, quantiles

import numpy as np
import torch
from torch import Tensor

from trainers.rl.environments import ENVIRONMENTS, entry_of, open_environment
from trainers.rl.environments.environment import Environment
from trainers.rl.environments.navigation_2d import ARRIVED_WITHIN, LONGEST_STEP
from trainers.rl.noise import Address
from trainers.rl.sampling import draw_tasks, sample

TASKS = 40
TRAJECTORIES = 20
HIDDEN = 100
"""Units of both hidden layers."""
STEPS_A_TURN = {"navigation_2d": 100, "half_cheetah_direction": 10, "half_cheetah_velocity": 10}
"""Of every episode of the batch. A step of MuJoCo takes so long that a few measure it."""
PLAIN_STEPS = {"navigation_2d": 4000, "half_cheetah_direction": 2000, "half_cheetah_velocity": 2000}

Turn = Callable[[], int]
"""Takes steps and says how many."""


@dataclass(frozen=True)
class PlainNavigation:
    """2D-Navigation of one episode, as the code base that the paper's authors used steps it."""

    goal: np.ndarray

    def step(self, position: np.ndarray, action: np.ndarray) -> tuple[np.ndarray, float, bool]:
        """Position, reward, whether it has arrived."""
        position = position + np.clip(action, -LONGEST_STEP, LONGEST_STEP)
        x, y = position[0] - self.goal[0], position[1] - self.goal[1]
        return position, -np.sqrt(x**2 + y**2), (np.abs(x) < ARRIVED_WITHIN) and (np.abs(y) < ARRIVED_WITHIN)


def adapted_policy(environment: Environment) -> Callable[[Tensor, Tensor], Tensor]:
    """A Gaussian policy of 100-100 with parameters of each task's own, as after an inner step of MAML."""
    generator = torch.Generator().manual_seed(0)
    sizes = (environment.observation_size, HIDDEN, HIDDEN, environment.action_size)
    layers = [
        (torch.randn(TASKS, inputs, outputs, generator=generator) / inputs**0.5, torch.zeros(TASKS, 1, outputs))
        for inputs, outputs in pairwise(sizes)
    ]
    *hidden, (head, shift) = layers

    def act(observations: Tensor, noise: Tensor) -> Tensor:
        for weight, bias in hidden:
            observations = torch.relu(torch.baddbmm(bias, observations, weight))
        return torch.baddbmm(shift, observations, head) + noise

    return act


def variants(name: str) -> dict[str, Turn]:
    """What takes turns in an environment."""
    environment, steps = open_environment(name), STEPS_A_TURN[name]
    address = Address("training", 0, tuple(range(TASKS)))
    tasks, act = draw_tasks(environment, address), adapted_policy(environment)
    rng = np.random.default_rng(0)
    actions = rng.uniform(-1, 1, (steps, TASKS * TRAJECTORIES, environment.action_size))

    def alone() -> int:
        uniforms = rng.uniform(size=(TASKS * TRAJECTORIES, environment.reset_uniforms))
        environment.reset(np.repeat(tasks, TRAJECTORIES, axis=0), uniforms)
        for action in actions:
            environment.step(action)
        return steps * TASKS * TRAJECTORIES

    def sampled() -> int:
        return sample(environment, tasks, act, TRAJECTORIES, address, steps).steps

    plain = plain_navigation if name == "navigation_2d" else plain_half_cheetah()
    return {"alone": alone, "sampled": sampled, "plain": lambda: plain(PLAIN_STEPS[name], entry_of(name).horizon)}


def plain_navigation(steps: int, horizon: int) -> int:
    """Episodes one after another."""
    rng = np.random.default_rng(0)
    environment = PlainNavigation(rng.uniform(-0.5, 0.5, 2))
    actions = rng.uniform(-LONGEST_STEP, LONGEST_STEP, (steps, 2))
    position = np.zeros(2)
    for number, action in enumerate(actions):
        position, _, arrived = environment.step(position, action)
        if arrived or (number + 1) % horizon == 0:
            position = np.zeros(2)
    return steps


def plain_half_cheetah() -> Callable[[int, int], int]:
    """Gymnasium's environment as ``make`` gives it."""
    import gymnasium

    environment = gymnasium.make("HalfCheetah-v5", max_episode_steps=entry_of("half_cheetah_velocity").horizon)
    rng = np.random.default_rng(0)

    def plain(steps: int, horizon: int) -> int:
        for number, action in enumerate(rng.uniform(-1, 1, (steps, 6))):
            if number % horizon == 0:
                environment.reset(seed=0)
            environment.step(action)
        return steps

    return plain


def measure(name: str, rounds: int) -> dict[str, object]:
    """Steps a CPU second of every variant, median and quartiles, and ratios to the plain loop."""
    turns = variants(name)
    rates: dict[str, list[float]] = {variant: [] for variant in turns}
    for number in range(rounds + 1):
        for variant, turn in turns.items():
            started = time.process_time()
            steps = turn()
            rate = steps / (time.process_time() - started)
            if number > 0:  # the first round warms caches
                rates[variant].append(rate)
    found: dict[str, object] = {}
    for variant, its in rates.items():
        low, _, high = quantiles(its, n=4)
        found[variant] = {"steps_per_s": median(its), "quartiles": [low, high]}
    for variant in ("alone", "sampled"):
        found[f"{variant}_over_plain"] = median(
            ours / plain for ours, plain in zip(rates[variant], rates["plain"], strict=True)
        )
    return found


def main() -> None:
    """Prints the tables, or one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--quick", action="store_true", help="few rounds, for a look")
    parser.add_argument("--rounds", type=int, default=9)
    asked = parser.parse_args()
    rounds = 2 if asked.quick else asked.rounds
    torch.set_num_threads(1)

    def say(line: str) -> None:
        print(line, file=sys.stderr if asked.json else sys.stdout, flush=True)

    say(f"steps a CPU second, {TASKS} tasks of {TRAJECTORIES} trajectories, one thread; ratios to the plain loop")
    say(f"{'':24s} {'batch alone':>12s} {'with policy':>12s} {'plain loop':>12s} {'alone':>7s} {'policy':>7s}")
    steps = {}
    for name in ENVIRONMENTS:
        steps[name] = found = measure(name, rounds)
        rates = " ".join(f"{found[variant]['steps_per_s']:12,.0f}" for variant in ("alone", "sampled", "plain"))
        say(f"{name:24s} {rates} {found['alone_over_plain']:7.2f} {found['sampled_over_plain']:7.2f}")
    if asked.json:
        print(json.dumps({"steps": steps}))


if __name__ == "__main__":
    main()
