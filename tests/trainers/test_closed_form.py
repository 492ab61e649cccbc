"""The closed form against autograd and finite differences, in float64: each layer, and the whole."""

from __future__ import annotations

import itertools
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from trainers.closed_form import image_block, meta
from trainers.closed_form.image_block import ImageBlockPass, Patches
from trainers.closed_form.layers import HeadPass, Pass, by_groups, features
from trainers.closed_form.map_block import MapBlockPass
from trainers.config import TrialConfig
from trainers.datasets.image_file import ImageTable
from trainers.episodes import Episode
from trainers.evaluation import Adaptation, evaluate, predict, predict_by_autograd
from trainers.flop_counter import FlopCounter
from trainers.inner_loop import InnerLoop
from trainers.meta_step import count_flops, meta_gradient, meta_gradient_by_autograd, say_autograd
from trainers.network import Network
from trainers.tasks import Tasks, as_tasks
from trainers.trial import train

TASKS = 3
RATES = {"conv1": 0.1, "conv2": 0.2, "conv3": 0.3, "conv4": 0.15, "head": 0.4}


def setting(
    pooling: str = "max",
    size: tuple[int, int] = (18, 17),
    channels: int = 1,
    episodes: tuple[int, int, int] = (3, 1, 2),
    width: int = 3,
    dtype: torch.dtype = torch.float64,
    tasks: int = TASKS,
) -> tuple[Network, dict[str, Tensor], Tasks]:
    """A network with γ of both signs and β off zero, and tasks of noise."""
    ways, shots, queries = episodes
    config = TrialConfig.model_validate(
        {
            "episodes": {"ways": ways, "shots": shots, "queries": queries},
            "backbone": {"width": width, "pooling": pooling},
        }
    )
    rng = np.random.default_rng(7)
    network = Network(config, (*size, channels))
    params = {name: value.to(dtype) for name, value in network.init(3).items()}
    for name, value in params.items():
        if name.endswith(("gamma", "beta", "bias")):
            params[name] = value + torch.from_numpy(rng.normal(0, 0.7, value.shape)).to(dtype)

    def images(count: int) -> Any:
        return rng.integers(0, 256, (ways, count, *size, channels), dtype=np.uint8)

    drawn = [Episode(images(shots), images(queries)) for _ in range(tasks)]
    return network, params, as_tasks(drawn, params["head.bias"])


def loop(*layers: str, steps: int = 2, second_order: bool = True) -> InnerLoop:
    return InnerLoop(layers, RATES, steps, second_order)


ALL = ("conv1", "conv2", "conv3", "conv4", "head")
LAYER_SETS = [layers for count in range(6) for layers in itertools.combinations(ALL, count)]


def assert_equal_gradients(network: Network, params: dict[str, Tensor], tasks: Tasks, how: InnerLoop) -> None:
    found = meta_gradient(network, params, tasks, how)
    expected = meta_gradient_by_autograd(network, params, tasks, how)
    assert found.loss == pytest.approx(expected.loss, rel=1e-12)
    assert found.accuracy == expected.accuracy
    assert found.gradient.keys() == expected.gradient.keys()
    for name, value in expected.gradient.items():
        scale = value.abs().max()
        torch.testing.assert_close(found.gradient[name], value, rtol=1e-10, atol=1e-11 * (1 + scale), msg=name)


# --- the whole


@pytest.mark.parametrize("layers", LAYER_SETS, ids="-".join)
@pytest.mark.parametrize("pooling", ["max", "stride"])
def test_every_set_of_adapting_layers(layers: tuple[str, ...], pooling: str) -> None:
    network, params, tasks = setting(pooling)
    for second_order in (True, False):
        assert_equal_gradients(network, params, tasks, loop(*layers, second_order=second_order))


@pytest.mark.parametrize("steps", [0, 1, 3, 10])
@pytest.mark.parametrize("layers", [ALL, ALL[2:], ("head",), ALL[:4]], ids="-".join)
def test_every_number_of_steps(steps: int, layers: tuple[str, ...]) -> None:
    network, params, tasks = setting()
    how = replace(loop(*layers, steps=steps), inner_lr={layer: rate / 4 for layer, rate in RATES.items()})
    assert_equal_gradients(network, params, tasks, how)


@pytest.mark.parametrize("pooling", ["max", "stride"])
@pytest.mark.parametrize("size", [(16, 16), (19, 31), (28, 28)])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("episodes", [(2, 1, 1), (5, 3, 2), (3, 2, 4)])
def test_every_shape(pooling: str, size: tuple[int, int], channels: int, episodes: tuple[int, int, int]) -> None:
    network, params, tasks = setting(pooling, size, channels, episodes, width=4)
    assert_equal_gradients(network, params, tasks, loop(*ALL))
    assert_equal_gradients(network, params, tasks, loop(*ALL[1:], steps=1))


@pytest.mark.parametrize("piece", [1, 700, 2**18])
@pytest.mark.parametrize("chunk", [1, 2500, 10**7])
@pytest.mark.parametrize("pooling", ["max", "stride"])
def test_chunks_and_pieces_change_nothing(
    monkeypatch: pytest.MonkeyPatch, pooling: str, piece: int, chunk: int
) -> None:
    """Every way of cutting: one task and one image at a time, several, all."""
    monkeypatch.setattr(image_block, "FLOATS_A_PIECE", piece)
    monkeypatch.setattr(meta, "FLOATS_A_CHUNK", chunk)
    network, params, tasks = setting(pooling, tasks=5)
    for layers in (ALL, ALL[1:], ("head",)):
        assert_equal_gradients(network, params, tasks, loop(*layers))


def test_a_dropped_term_would_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """The comparison above is sharp enough: without the change of r in one block it fails."""
    whole = MapBlockPass.tangent

    def without_rstd(self: MapBlockPass, dx: Tensor | None, dp: Any) -> Tensor:
        moved = whole(self, dx, dp)
        self._dk = self._dk + 1e-6
        return moved

    monkeypatch.setattr(MapBlockPass, "tangent", without_rstd)
    network, params, tasks = setting()
    with pytest.raises(AssertionError):
        assert_equal_gradients(network, params, tasks, loop(*ALL))


def test_float32_is_as_good_as_autograd() -> None:
    """Over several networks: one in a few has a maximum so near another that rounding decides, for either method."""
    errors: dict[str, list[float]] = {"ours": [], "autograd": []}
    for seed in range(7):
        network, _, tasks = setting(size=(28, 28), width=8, dtype=torch.float32)
        params = network.init(seed)
        exact = {name: value.double() for name, value in params.items()}
        truth = meta_gradient_by_autograd(network, exact, replace(tasks, dtype=torch.float64), loop(*ALL)).gradient
        methods = {"ours": meta_gradient, "autograd": meta_gradient_by_autograd}
        for name, method in methods.items():
            found = method(network, params, tasks, loop(*ALL)).gradient
            errors[name].append(max(((found[n].double() - truth[n]).norm() / truth[n].norm()).item() for n in truth))
    assert np.median(errors["ours"]) < 5 * np.median(errors["autograd"]) < 1e-3


# --- one layer: tangents and gradients by finite differences

Make = Callable[[Tensor | None, dict[str, Tensor]], Pass]


def block_params(groups: int, channels: int, inputs: int) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(groups)

    def normal(*shape: int) -> Tensor:
        return torch.randn(groups, *shape, generator=generator, dtype=torch.float64)

    return {"weight": normal(channels, inputs, 3, 3) / 3, "gamma": normal(channels), "beta": normal(channels)}


def image_case(shared: bool, stride: int) -> tuple[Make, Tensor | None, dict[str, Tensor]]:
    images = torch.rand(TASKS, 2, 2, 9, 8, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    patches = Patches.of(images, stride)
    params = block_params(1 if shared else TASKS, 3, 2)
    return lambda x, p: ImageBlockPass(patches, p, stride == 1, by_groups=not shared), None, params


def map_case(shared: bool, stride: int) -> tuple[Make, Tensor | None, dict[str, Tensor]]:
    shape = (TASKS * 2, 2, 7, 6) if shared else (2, TASKS * 2, 7, 6)
    x = torch.randn(shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    segments = TASKS if shared else 1

    def make(x: Tensor | None, p: dict[str, Tensor]) -> Pass:
        assert x is not None
        return MapBlockPass(x.contiguous(memory_format=torch.channels_last), p, segments, stride, stride == 1)

    return make, x, block_params(1 if shared else TASKS, 3, 2)


def head_case(shared: bool, stride: int) -> tuple[Make, Tensor | None, dict[str, Tensor]]:
    generator = torch.Generator().manual_seed(3)
    groups = 1 if shared else TASKS
    params = {
        "weight": torch.randn(groups, 4, 5, generator=generator, dtype=torch.float64),
        "bias": torch.randn(groups, 4, generator=generator, dtype=torch.float64),
    }
    x = torch.randn(TASKS, 6, 5, generator=generator, dtype=torch.float64)
    return lambda x, p: HeadPass(x, p), x, params  # type: ignore[arg-type]


CASES = {"image": image_case, "map": map_case, "head": head_case}


def dot(one: dict[str, Tensor], other: dict[str, Tensor]) -> float:
    return sum((one[name] * other[name]).sum().item() for name in one)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("case", CASES)
def test_a_layer_by_finite_differences(case: str, shared: bool, stride: int) -> None:
    make, x, params = CASES[case](shared, stride)
    generator = torch.Generator().manual_seed(9)
    out = make(x, params).out
    g, dg = (torch.randn(out.shape, generator=generator, dtype=torch.float64) for _ in range(2))
    dp = {name: torch.randn(value.shape, generator=generator, dtype=torch.float64) for name, value in params.items()}
    dx = None if x is None else torch.randn(x.shape, generator=generator, dtype=torch.float64)
    step = 1e-6

    def moved(sign: float) -> tuple[Tensor, dict[str, Tensor], Tensor | None]:
        at = None if x is None or dx is None else x + sign * step * dx
        its = make(at, {name: value + sign * step * dp[name] for name, value in params.items()})
        return its.out, *its.backward(g + sign * step * dg, input_gradient=x is not None)

    (up, up_gradients, up_x), (down, down_gradients, down_x) = moved(1), moved(-1)
    its = make(x, params)
    gradients, gx = its.backward(g, input_gradient=x is not None)
    slope = ((up - down) * g).sum().item() / (2 * step)
    along = dot(gradients, dp) + (0.0 if gx is None or dx is None else (gx * dx).sum().item())
    assert along == pytest.approx(slope, rel=1e-6)
    if shared:  # weights that are shared stand still in an inner loop: there is no derivative of the gradient
        return
    torch.testing.assert_close(its.tangent(dx, dp), (up - down) / (2 * step), rtol=1e-6, atol=1e-6)
    dgradients, dgx = its.tangent_backward(dg, input_gradient=x is not None)
    for name, value in dgradients.items():
        difference = (up_gradients[name] - down_gradients[name]) / (2 * step)
        torch.testing.assert_close(value, difference, rtol=1e-5, atol=1e-5, msg=name)
    if up_x is not None and down_x is not None:
        torch.testing.assert_close(dgx, (up_x - down_x) / (2 * step), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("mean", [False, True])
@pytest.mark.parametrize("grouped", [False, True])
def test_layouts_and_their_adjoints(mean: bool, grouped: bool) -> None:
    """⟨A x, g⟩ = ⟨x, Aᵀ g⟩; and the features of a task do not depend on the layout of its map."""
    generator = torch.Generator().manual_seed(4)
    x = torch.randn(TASKS * 2, 5, 3, 4, generator=generator, dtype=torch.float64)
    regrouped = by_groups(x, TASKS)
    y = regrouped.out if grouped else x
    read = features(y, TASKS, grouped, mean)
    expected = x.view(TASKS, 2, 5, 3, 4)
    assert torch.equal(read.out, expected.mean((3, 4)) if mean else expected.flatten(2))
    for its, source in ((read, y), (regrouped, x)):
        g = torch.randn(its.out.shape, generator=generator, dtype=torch.float64)
        _, back = its.backward(g, input_gradient=True)
        assert back is not None
        assert (its.out * g).sum().item() == pytest.approx((source * back).sum().item())


def test_patches_have_the_moments_of_the_convolution() -> None:
    """Up to the constant that is taken off a channel, which is the same at the border as elsewhere."""
    images = torch.rand(2, 3, 2, 10, 7, generator=torch.Generator().manual_seed(5), dtype=torch.float64) + 1
    w = torch.randn(4, 2, 3, 3, generator=torch.Generator().manual_seed(6), dtype=torch.float64)
    for stride in (1, 2):
        patches = Patches.of(images, stride)
        matrix = w.flatten(1).T
        for task in range(2):
            z = torch.nn.functional.conv2d(images[task], w, stride=stride, padding=1).transpose(0, 1).flatten(1)
            centred = patches.columns[task, :-1].T @ matrix - patches.mean[task].T @ matrix
            torch.testing.assert_close(centred.T, z - z.mean(1, keepdim=True))
            variance = (patches.covariance[task] @ matrix * matrix).sum(0)
            torch.testing.assert_close(variance, z.var(1, correction=0))


@pytest.mark.parametrize("kind", ["sparse", "faint", "constant", "smooth"])
@pytest.mark.parametrize("size", [16, 18])
@pytest.mark.parametrize("width", [1, 3])
def test_images_that_are_not_noise(kind: str, size: int, width: int) -> None:
    """Ties of maxima, dead channels, variances near 0, and maps of one pixel."""
    network, params, tasks = setting(size=(size, size), width=width, channels=1)
    pixels = tasks.support_pixels
    generator = torch.Generator().manual_seed(8)
    if kind == "sparse":
        drawn = (torch.rand(pixels.shape, generator=generator) < 0.1).to(torch.uint8) * 255
    elif kind == "faint":
        drawn = torch.randint(0, 3, pixels.shape, generator=generator, dtype=torch.uint8)
    elif kind == "constant":
        drawn = torch.full_like(pixels, 200)
    else:
        drawn = torch.arange(size, dtype=torch.uint8).view(1, 1, size, 1, 1).expand(pixels.shape) * 9
    how = loop(*ALL, steps=1) if kind != "constant" else loop("head", steps=2)
    assert_equal_gradients(network, params, replace(tasks, support_pixels=drawn.contiguous()), how)


def test_steps_that_are_run_again_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    network, params, tasks = setting()
    how = replace(loop(*ALL[1:], steps=4), inner_lr=dict.fromkeys(ALL, 0.05))
    kept = meta_gradient(network, params, tasks, how)
    monkeypatch.setattr(meta, "STEPS_KEPT", 1)
    again = meta_gradient(network, params, tasks, how)
    assert all(torch.equal(again.gradient[name], value) for name, value in kept.gradient.items())


def test_without_a_closed_form_autograd_is_used_and_said_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    network, params, tasks = setting(episodes=(3, 2, 4))
    fast = meta_gradient(network, params, tasks, loop(*ALL)), predict(network, params, tasks, ADAPTATIONS)
    monkeypatch.setattr(Network, "blocks", None)
    say_autograd.cache_clear()
    slow = meta_gradient(network, params, tasks, loop(*ALL)), predict(network, params, tasks, ADAPTATIONS)
    assert [record.message.split()[1] for record in caplog.records] == ["conv4"]
    for name, value in slow[0].gradient.items():
        torch.testing.assert_close(fast[0].gradient[name], value, rtol=1e-9, atol=1e-11)
    for one, other in zip(fast[1], slow[1], strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-11)


# --- predictions

ADAPTATIONS = [
    Adaptation("linear", loop(*ALL, second_order=False)),
    Adaptation("linear", loop(*ALL[2:], second_order=False)),
    Adaptation("linear", loop("head", steps=5, second_order=False)),
    Adaptation("linear", loop(*ALL[:4], second_order=False)),
    Adaptation("linear", loop("head", steps=0, second_order=False)),
    Adaptation("nil", loop(steps=0, second_order=False)),
]


@pytest.mark.parametrize("pooling", ["max", "stride"])
def test_predictions(pooling: str) -> None:
    network, params, tasks = setting(pooling, episodes=(3, 2, 4), tasks=4)
    together = predict(network, params, tasks, ADAPTATIONS)
    for adaptation, scores in zip(ADAPTATIONS, together, strict=True):
        expected = torch.stack([predict_by_autograd(network, params, task, adaptation) for task in tasks])
        torch.testing.assert_close(scores, expected, rtol=1e-10, atol=1e-11)


def test_predictions_that_share_layers_are_the_same_bits() -> None:
    network, params, tasks = setting(size=(28, 28), width=16, episodes=(3, 2, 4), dtype=torch.float32)
    together = predict(network, params, tasks, ADAPTATIONS)
    for adaptation, scores in zip(ADAPTATIONS, together, strict=True):
        assert torch.equal(predict(network, params, tasks, [adaptation])[0], scores)


def test_evaluations_of_several_configs(strokes: ImageTable) -> None:
    def config(frozen: int) -> TrialConfig:
        return TrialConfig.model_validate(
            {
                "episodes": {"ways": 3, "shots": 1, "queries": 2},
                "backbone": {"width": 4},
                "training": {"iterations": 2, "validate_every": 2, "meta_batch": 2, "validation_episodes": 2},
                "evaluation": {"episodes": 50, "frozen_layers": frozen, "inner_steps": 2},
            }
        )

    configs = [config(frozen) for frozen in range(5)]
    *_, progress = train(configs[0], strokes)
    together = evaluate(configs, progress.params, strokes)
    assert [len(accuracies) for accuracies in together] == [50] * 5
    for one, accuracies in zip(configs, together, strict=True):
        assert (evaluate([one], progress.params, strokes)[0] == accuracies).all()
    assert len({tuple(accuracies) for accuracies in together}) > 1


# --- cost


@pytest.mark.parametrize("steps", [1, 5])
def test_every_frozen_layer_makes_a_step_cheaper(steps: int) -> None:
    network, params, tasks = setting(size=(28, 28), width=8, dtype=torch.float32)
    flops = [count_flops(network, params, tasks, loop(*ALL[frozen:], steps=steps)) for frozen in range(5)]
    assert flops == sorted(flops, reverse=True)
    assert len(set(flops)) == 5


def test_flops_are_those_of_the_convolutions() -> None:
    """ANIL passes each image of each block three times (forward, ∂/∂x, ∂/∂w), the first block twice."""
    network, params, tasks = setting(size=(32, 32), channels=3, width=16, episodes=(5, 1, 3), dtype=torch.float32)
    maps = [16 * 16 * 9 * size * size * 2 for size in (16, 8, 4)]
    first = 16 * (9 * 3 + 1) * 32 * 32 * 2
    moments = (9 * 3 + 1) ** 2 * 32 * 32 * 2
    expected = TASKS * 5 * (1 + 3) * (3 * sum(maps) + 2 * first + moments)
    counted = count_flops(network, params, tasks, loop("head", steps=1))
    assert expected < counted < 1.02 * expected


def test_flops_that_were_counted_are_those_of_the_same_shapes() -> None:
    """Whatever was counted before in this process, a count is what a meta-gradient does."""
    sizes: list[dict[str, Any]] = [
        {},
        {"pooling": "stride"},
        {"width": 8},
        {"size": (32, 32)},
        {"channels": 3},
        {"episodes": (5, 2, 3)},
        {"episodes": (5, 1, 4)},
    ]
    hows = [loop(*ALL), loop("head"), loop(*ALL, steps=3), loop(*ALL, second_order=False)]
    cases = [(size, hows[0]) for size in sizes] + [({}, how) for how in hows[1:]]
    for _ in range(2):  # the second time nothing is left to count
        found = []
        for size, how in cases:
            network, params, tasks = setting(**{"size": (28, 28), "episodes": (5, 1, 3)} | size, dtype=torch.float32)
            with FlopCounter() as counter:
                meta_gradient(network, params, tasks[:1], how)
            assert count_flops(network, params, tasks, how) == counter.total * len(tasks)
            found.append(counter.total)
        assert len(set(found)) == len(cases)


def test_chunks_are_bounded_and_even() -> None:
    network, params, _ = setting(width=32)
    assert network.blocks is not None
    chain = meta.Chain.of(network.blocks, network.layers, params)
    pixels = 4 * meta.FLOATS_A_CHUNK // 32 // 10
    for tasks in (1, 7, 10, 11, 32, 34, 1000):
        chunks = [part.stop - part.start for part in chain.chunks(tasks, 1, pixels)]
        assert sum(chunks) == tasks
        assert max(chunks) <= 10
        assert max(chunks) - min(chunks) <= 1
        assert len(chunks) == -(-tasks // 10)
    assert [part.stop - part.start for part in chain.chunks(3, 10**6, 28 * 28)] == [1, 1, 1]
    for larger, most in ((1, 16), (4, 10), (40, 1)):  # a body that tasks share: 16, or four times the numbers
        shared = [part.stop - part.start for part in chain.chunks(1000, 1, larger * pixels, shared=True)]
        assert max(shared) <= most
        assert len(shared) == -(-1000 // most)


# --- determinism

BITS = """
import hashlib, sys
sys.path.insert(0, sys.argv[1])
import torch
from test_closed_form import ALL, loop, meta_gradient, setting

torch.set_num_threads(1)
network, params, tasks = setting(size=(28, 28), width=16, dtype=torch.float32, tasks=6)
digest = hashlib.sha256()
for _ in range(int(sys.argv[2])):
    found = meta_gradient(network, params, tasks, loop(*ALL))
    digest.update(b"".join(value.numpy().tobytes() for value in found.gradient.values()))
print(digest.hexdigest())
"""


def test_same_bits_in_every_process_whatever_runs_beside() -> None:
    """Three processes beside each other, and one with the cores to itself."""
    command = [sys.executable, "-c", BITS, str(Path(__file__).parent), "10"]
    beside = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    digests = {process.communicate()[0] for process in beside}
    digests.add(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    assert [len(digest.strip()) for digest in digests] == [64]
