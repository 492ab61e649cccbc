"""What reinforcement learning costs: steps of the environments, and an iteration of meta-training by its parts.

One thread; times are process CPU time. In each round every variant takes its turn, so that what a busy machine does to
one it does to all; ratios are medians of the rounds' ratios. Variants: the batch alone, its actions given; sampling as
a training does it, with one call of an adapted policy a step; a plain loop over one episode, its actions given, which
is Gymnasium's own environment for HalfCheetah.

Then an iteration on 2D-Navigation: sampling, inner loop, outer step, beside a plain one that takes the tasks one after
another and all derivatives by autograd, the Hessian of the KL by differentiating twice.

    python benchmarks/rl.py [--json] [--quick] [--rounds N]
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from statistics import median, quantiles
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.distributions import Normal, kl_divergence
from torch.nn.utils import parameters_to_vector

from trainers.algorithms.algorithm import HEAD_LAYER
from trainers.backbones import Params
from trainers.rl.config import RLConfig
from trainers.rl.environments import ENVIRONMENTS, entry_of, open_environment
from trainers.rl.environments.environment import Environment, Floats
from trainers.rl.environments.navigation_2d import ARRIVED_WITHIN, LONGEST_STEP
from trainers.rl.inner_loop import Experience, InnerLoop, one_step
from trainers.rl.noise import Address
from trainers.rl.play import Player
from trainers.rl.policy import LOG_STD, init
from trainers.rl.sampling import draw_tasks, sample
from trainers.rl.trpo import OuterObjective

TASKS = 40
TRAJECTORIES = 20
HIDDEN = 100
"""Units of both hidden layers."""
STEPS_A_TURN = {"navigation_2d": 100, "half_cheetah_direction": 10, "half_cheetah_velocity": 10}
"""Of every episode of the batch. A step of MuJoCo takes so long that a few measure it."""
PLAIN_STEPS = {"navigation_2d": 4000, "half_cheetah_direction": 2000, "half_cheetah_velocity": 2000}

Result = TypeVar("Result")

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


ITERATION_TASKS = 8
"""So few that the plain iteration ends; both are proportional to them."""


class PlainPolicies:
    """Adaptation and outer objective of an iteration as the papers read, one task after another."""

    def __init__(self, loop: InnerLoop, params: Params, inner: Sequence[Experience], outer: Experience) -> None:
        self._loop, self._names, self._inner, self._outer = loop, list(params), inner, outer
        self._shapes = [value.shape for value in params.values()]
        self._old = [self._density(self.adapted(self._leaves(params), task), outer, task) for task in self._tasks()]
        self._old = [Normal(old.loc.detach(), old.scale.detach()) for old in self._old]

    def adapted(self, params: Params, task: int) -> dict[str, Tensor]:
        """After the inner loop; the graph is kept."""
        adapted = dict(params)
        for its in self._inner:
            log_density = self._density(adapted, its, task).log_prob(its.actions[task]).sum(1)
            loss = -(log_density * its.advantages[task] * its.weights[task]).sum()
            names = list(self._loop.rates)
            gradients = torch.autograd.grad(loss, [adapted[name] for name in names], create_graph=True)
            for name, gradient in zip(names, gradients, strict=True):
                adapted[name] = adapted[name] - self._loop.rates[name] * gradient
        return adapted

    def all_adapted(self, params: Params) -> list[dict[str, Tensor]]:
        """Those of every task."""
        return [self.adapted(self._leaves(params), task) for task in self._tasks()]

    def gradient(self, params: Params) -> Tensor:
        """Of the surrogate."""
        total = torch.zeros(sum(shape.numel() for shape in self._shapes))
        for task in self._tasks():
            leaves = self._leaves(params)
            surrogate, _ = self._of_task(leaves, task)
            total += parameters_to_vector(torch.autograd.grad(surrogate, list(leaves.values())))
        return total / len(self._old)

    def fisher_product(self, params: Params, vector: Tensor) -> Tensor:
        """Of the KL divergence's Hessian."""
        total = torch.zeros_like(vector)
        for task in self._tasks():
            leaves = self._leaves(params)
            _, kl = self._of_task(leaves, task)
            slopes = parameters_to_vector(torch.autograd.grad(kl, list(leaves.values()), create_graph=True))
            total += parameters_to_vector(torch.autograd.grad(slopes @ vector, list(leaves.values())))
        return total / len(self._old)

    def compared(self, params: Params) -> tuple[float, float]:
        """Surrogate and KL divergence."""
        found = [self._of_task(self._leaves(params), task) for task in self._tasks()]
        surrogate, kl = (sum(value.item() for value in values) / len(found) for values in zip(*found, strict=True))
        return surrogate, kl

    def _of_task(self, params: Params, task: int) -> tuple[Tensor, Tensor]:
        new, old, outer = self._density(self.adapted(params, task), self._outer, task), self._old[task], self._outer
        ratio = (new.log_prob(outer.actions[task]) - old.log_prob(outer.actions[task])).sum(1).exp()
        surrogate = -(ratio * outer.advantages[task] * outer.weights[task]).sum()
        return surrogate, (kl_divergence(old, new).sum(1) * outer.weights[task]).sum()

    def _density(self, params: Params, its: Experience, task: int) -> Normal:
        x = its.observations[task]
        for layer in self._loop.layers:
            x = torch.nn.functional.linear(x, params[f"{layer}.weight"], params[f"{layer}.bias"])
            x = x if layer == HEAD_LAYER else x.relu()
        return Normal(x, params[LOG_STD].exp())

    def _leaves(self, params: Params) -> dict[str, Tensor]:
        return {name: value.detach().requires_grad_() for name, value in params.items()}

    def _tasks(self) -> range:
        return range(len(self._outer.weights))


def iteration(algorithm: str, rounds: int) -> dict[str, dict[str, float]]:
    """CPU seconds of each part of an iteration, ours and plain, and their ratio: medians of the rounds.

    Of the outer step: one gradient, Fisher products as many as conjugate gradient takes, one length.
    """
    config = RLConfig.model_validate({"algorithm": {"name": algorithm}})
    player, loop, settings = Player.of(config), InnerLoop.of_training(config), config.training
    params = init(config.policy, 2, 2, 0)
    seconds: dict[str, list[float]] = {}

    def timed(part: str, does: Callable[..., Result], *arguments: object) -> Result:
        started = time.process_time()
        result = does(*arguments)
        seconds.setdefault(part, []).append(time.process_time() - started)
        return result

    def played_alone(tasks: Floats, address: Address) -> None:
        for index, task in enumerate(address.tasks):
            player.play(params, tasks[[index]], replace(address, tasks=(task,)))

    def ours(inner: Experience, outer: Experience) -> Tensor:
        objective = OuterObjective(loop, params, [inner], outer)
        gradient = objective.gradient()
        for _ in range(settings.cg_iterations):
            product = objective.fisher_product(gradient)
        objective.compared(dict(params))
        return product

    def theirs(plain: PlainPolicies) -> Tensor:
        gradient = plain.gradient(params)
        for _ in range(settings.cg_iterations):
            product = plain.fisher_product(params, gradient)
        plain.compared(params)
        return product

    for number in range(rounds):
        address = Address("training", number, tuple(range(ITERATION_TASKS)))
        tasks = draw_tasks(player.environment, address)
        first = timed("sampling", player.play, params, tasks, address)
        timed("sampling plain", played_alone, tasks, address)
        inner = player.experience(first, "cpu")
        adapted = timed("inner loop", one_step, loop, params, inner)
        outer = player.experience(player.play(adapted, tasks, replace(address, inner_step=1)), "cpu")
        plain = PlainPolicies(loop, params, [inner], outer)
        timed("inner loop plain", plain.all_adapted, params)
        products = timed("outer step", ours, inner, outer), timed("outer step plain", theirs, plain)
        torch.testing.assert_close(*products, rtol=1e-3, atol=1e-5)
    found = {}
    for part in ("sampling", "inner loop", "outer step"):
        pairs = list(zip(seconds[part], seconds[f"{part} plain"], strict=True))
        ratio = median(theirs / ours for ours, theirs in pairs)
        found[part] = {"s": median(seconds[part]), "plain_s": median(seconds[f"{part} plain"]), "times": ratio}
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
    say(f"\nCPU seconds of an iteration on navigation_2d, {ITERATION_TASKS} tasks; ours, plain, times")
    iterations = {algorithm: iteration(algorithm, 1 if asked.quick else 5) for algorithm in ("maml", "anil")}
    for algorithm, parts in iterations.items():
        for part, its in parts.items():
            say(f"{algorithm:5s} {part:12s} {its['s']:8.3f} {its['plain_s']:8.3f} {its['times']:6.1f}")
    if asked.json:
        print(json.dumps({"steps": steps, "iteration": iterations}))


if __name__ == "__main__":
    main()
