"""The meta-step of a training: as it is on a CPU, replayed as a CUDA graph on a GPU.

Small networks leave a GPU waiting for launches: a step is thousands of short kernels. The closed form has static
shapes and reads nothing back before its end, so that all of them can be captured once and launched as one graph.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

import torch
from torch import Tensor

from trainers.backbones import Params
from trainers.meta_step import Learning, MetaGradient, MetaSums, meta_gradient, meta_sums
from trainers.network import Network
from trainers.tasks import Tasks

WARM_UPS = 2
"""Runs in front of a capture, in which libraries choose kernels and make their workspaces."""


class MetaStep:
    """``meta_gradient`` of one network, parameters and way of learning, for meta-batches of one shape.

    The parameters are read where they lie at each call, so they have to be updated in place. On CUDA a result is valid
    until the next call.
    """

    def __init__(self, network: Network, params: Params, learning: Learning) -> None:
        self._network, self._params, self._learning = network, params, learning
        self._replay: Callable[[Tasks], MetaSums] | None = None
        self._eager = network.blocks is None or next(iter(params.values())).device.type != "cuda"

    def __call__(self, tasks: Tasks) -> MetaGradient:
        """The meta-gradient of ``tasks``. Every call on CUDA is a replay, the first too: resumed, it is the same."""
        if not self._eager and self._replay is None:
            try:
                self._replay = _capture(self._network, self._params, tasks, self._learning)
            except RuntimeError as error:  # what a driver or a library can't capture still runs
                logging.getLogger(__name__).warning("no CUDA graph of the meta-step (%s)", error)
                self._eager = True
        if self._replay is None:
            return meta_gradient(self._network, self._params, tasks, self._learning)
        return self._replay(tasks).result()


def _capture(network: Network, params: Params, tasks: Tasks, learning: Learning) -> Callable[[Tasks], MetaSums]:
    """The step as a graph over memory of its own; the function copies a meta-batch there and launches it.

    Raises:
        RuntimeError: it can't be captured on this device.
    """
    inputs = tasks.copy()
    aside = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    aside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(aside):
        for _ in range(WARM_UPS):
            meta_sums(network, params, inputs, learning)
    torch.cuda.current_stream().wait_stream(aside)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        sums = meta_sums(network, params, inputs, learning)

    def replay(tasks: Tasks) -> MetaSums:
        for into, value in zip(inputs.tensors, tasks.tensors, strict=True):
            _copy(into, value)
        graph.replay()
        return sums

    return replay


def _copy(into: Tensor, value: Tensor) -> None:
    assert into.shape == value.shape, (into.shape, value.shape)  # copy_ would broadcast
    into.copy_(value)
