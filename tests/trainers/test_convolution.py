"""A block's convolution by matrix products of windows, as it runs on CUDA, beside torch's own."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812

from trainers.closed_form import convolution
from trainers.closed_form.convolution import (
    POSITIONS_A_PIECE,
    by_windows,
    convolution_backward,
    in_pieces,
    input_gradient_by_windows,
    pieces_of,
    sum_of_products,
    takes_columns,
    weight_gradient_by_columns,
    weight_gradient_by_windows,
)
from trainers.config import TrialConfig
from trainers.episodes import Episode
from trainers.inner_loop import InnerLoop
from trainers.meta_step import meta_gradient, meta_gradient_by_autograd
from trainers.network import Network
from trainers.tasks import as_tasks

DEVICES = [
    "cpu",
    pytest.param(
        "cuda",
        marks=[pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")],
    ),
]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize(("groups", "images", "c_in", "c_out", "size"), [(3, 2, 4, 5, (7, 6)), (1, 3, 2, 2, (1, 3))])
def test_windows_give_the_convolution_and_its_gradients(
    groups: int, images: int, c_in: int, c_out: int, size: tuple[int, int], stride: int, device: str
) -> None:
    torch.manual_seed(0)
    x = torch.randn(images, groups * c_in, *size, dtype=torch.float64, device=device)
    w = torch.randn(groups * c_out, c_in, 3, 3, dtype=torch.float64, device=device)
    x, w = (value.contiguous(memory_format=torch.channels_last) for value in (x, w))
    expected = F.conv2d(x, w, stride=stride, padding=1, groups=groups)
    found = by_windows(x, w, stride, groups)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-13)
    assert found.is_contiguous(memory_format=torch.channels_last)
    g = torch.randn_like(expected)
    gx, gw, _ = torch.ops.aten.convolution_backward(
        g, x, w, None, [stride] * 2, [1, 1], [1, 1], False, [0, 0], groups, [True, True, False]
    )
    torch.testing.assert_close(input_gradient_by_windows(g, x, w, stride, groups), gx, rtol=0, atol=1e-13)
    torch.testing.assert_close(weight_gradient_by_windows(g, x, w, stride, groups), gw, rtol=0, atol=1e-12)
    for wanted in [(True, False), (False, True)]:
        parts = convolution_backward(g, x, w, stride, groups, wanted)
        assert [part is not None for part in parts] == list(wanted)


@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize(
    ("images", "c_in", "c_out", "size"),
    [
        (5, 4, 3, (7, 6)),
        (2, 3, 2, (14, 13)),
        (3, 1, 2, (4, 4)),
        (2, 3, 2, (1, 3)),
        (2, 2, 1, (2, 1)),
        (1, 1, 1, (1, 1)),
    ],
)
def test_columns_give_the_gradient_of_the_weights(
    images: int, c_in: int, c_out: int, size: tuple[int, int], stride: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    x = torch.randn(images, c_in, *size, dtype=torch.float64).contiguous(memory_format=torch.channels_last)
    w = torch.randn(c_out, c_in, 3, 3, dtype=torch.float64, requires_grad=True)
    out = F.conv2d(x, w, stride=stride, padding=1)
    g = torch.randn_like(out)
    (expected,) = torch.autograd.grad(out, w, g)
    found = weight_gradient_by_columns(g, x, stride)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
    monkeypatch.setattr(convolution, "OPERATIONS_A_PRODUCT", 1)
    parts = convolution_backward(g, x, w.detach(), stride, 1, (True, True))
    assert parts[0] is not None
    assert parts[1] is not None
    torch.testing.assert_close(parts[1], expected, rtol=0, atol=1e-12)
    assert convolution_backward(g, x, w.detach(), stride, 1, (True, False))[1] is None


def test_columns_are_taken_by_shapes_alone() -> None:
    w = torch.empty(64, 64, 3, 3)
    assert takes_columns(torch.empty(320, 64, 7, 7), w, 2, 1)
    assert not takes_columns(torch.empty(320, 64, 7, 7), w, 1, 1)  # torch's own is good there
    assert not takes_columns(torch.empty(20, 64, 7, 7), w, 2, 1)
    assert not takes_columns(torch.empty(320, 640, 7, 7), torch.empty(640, 64, 3, 3), 2, 10)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("positions", [1, 1000, 5 * 42 * 42, 2 * 2053])
def test_sums_over_positions_are_those_of_one_product(positions: int, device: str) -> None:
    torch.manual_seed(0)
    a, b = (torch.randn(3, positions, size, dtype=torch.float64, device=device) for size in (4, 5))
    expected = torch.einsum("bpm,bpn->bmn", a, b)
    torch.testing.assert_close(sum_of_products(a, b), expected, rtol=0, atol=1e-11)
    pieces = pieces_of(positions)
    torch.testing.assert_close(in_pieces(a, b, pieces, None), expected, rtol=0, atol=1e-11)
    in_double = sum_of_products(a.float(), b.float(), torch.float64)
    assert in_double.dtype == torch.float64
    torch.testing.assert_close(in_double, expected, rtol=0, atol=1e-2)


def test_pieces_are_added_up_in_the_precision_asked_for() -> None:
    a, b = torch.ones(1, 8, 1), torch.ones(1, 8, 1)
    a[:, :2] = 2.0**24  # float32 has no number for what comes out
    assert in_pieces(a, b, 4, torch.float64).item() == 2.0**25 + 6
    assert in_pieces(a, b, 8, torch.float64).item() == 2.0**25 + 6


def test_pieces_are_equal_and_neither_long_nor_tiny() -> None:
    for positions in [1, 1023, 1024, 1025, 5 * 42 * 42, 75 * 84 * 84, 7919]:
        pieces = pieces_of(positions)
        assert positions % pieces == 0
        assert pieces == 1 or POSITIONS_A_PIECE // 8 <= positions // pieces <= POSITIONS_A_PIECE
    assert pieces_of(75 * 84 * 84) > 500
    assert pieces_of(7919) == 1  # a prime


def assert_meta_gradient_is_that_of_autograd(name: str, pooling: str) -> None:
    config = TrialConfig.model_validate(
        {
            "episodes": {"ways": 3, "shots": 1, "queries": 2},
            "backbone": {"width": 4, "pooling": pooling},
            "algorithm": {"name": name, "inner_steps": 2},
        }
    )
    rng = np.random.default_rng(0)
    episodes = [
        Episode(*(rng.integers(0, 256, (3, count, 17, 17, 3), dtype=np.uint8) for count in (1, 2))) for _ in range(2)
    ]
    network = Network(config, (17, 17, 3))
    params = {key: value.double() for key, value in network.init(0).items()}
    tasks, loop = as_tasks(episodes, params["head.bias"]), InnerLoop.of_training(config)
    found = meta_gradient(network, params, tasks, loop)
    for key, value in meta_gradient_by_autograd(network, params, tasks, loop).gradient.items():
        torch.testing.assert_close(found.gradient[key], value, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("pooling", ["max", "stride"])
@pytest.mark.parametrize("name", ["maml", "boil"])
def test_a_meta_gradient_by_windows_is_that_of_autograd(
    name: str, pooling: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = []

    def takes_windows(x: torch.Tensor, groups: int) -> bool:
        taken.append(groups)
        return True

    monkeypatch.setattr(convolution, "takes_windows", takes_windows)
    assert_meta_gradient_is_that_of_autograd(name, pooling)
    assert 2 in taken


@pytest.mark.parametrize("name", ["maml", "anil", "boil"])
def test_a_meta_gradient_by_columns_is_that_of_autograd(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    taken = []

    def takes_columns(x: torch.Tensor, w: torch.Tensor, stride: int, groups: int) -> bool:
        taken.append(groups == 1)
        return groups == 1

    monkeypatch.setattr(convolution, "takes_columns", takes_columns)
    assert_meta_gradient_is_that_of_autograd(name, "stride")
    assert any(taken) == (name == "anil")
