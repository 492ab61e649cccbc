"""The meta-step as other libraries take it: a torch module, one task at a time, double backward by autograd.

Every function adds the meta-gradient of a meta-batch to the parameters' ``.grad``, in second order. For ANIL the inner
loop gets the head alone, on features of the body, as their examples do it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn
from torch.func import functional_call

from trainers.tasks import Task


class Network(nn.Module):
    """Conv4 and a linear head, with the weights of one of our networks."""

    def __init__(self, params: Mapping[str, Tensor], pooling: bool) -> None:
        super().__init__()
        blocks: list[nn.Module] = []
        for layer in ("conv1", "conv2", "conv3", "conv4"):
            width, channels = params[f"{layer}.weight"].shape[:2]
            conv = nn.Conv2d(channels, width, 3, padding=1, stride=1 if pooling else 2, bias=False)
            norm = nn.BatchNorm2d(width, track_running_stats=False)
            blocks += [conv, norm, nn.ReLU(), *([nn.MaxPool2d(2)] if pooling else [])]
            _copy(conv.weight, params[f"{layer}.weight"])
            _copy(norm.weight, params[f"{layer}.gamma"])
            _copy(norm.bias, params[f"{layer}.beta"])
        self.body = nn.Sequential(*blocks, nn.Flatten() if pooling else Mean())
        ways, features = params["head.weight"].shape
        self.head = nn.Linear(features, ways)
        _copy(self.head.weight, params["head.weight"])
        _copy(self.head.bias, params["head.bias"])
        self.to(params["head.bias"].dtype)

    def forward(self, x: Tensor) -> Tensor:
        """Logits of images [n, C, H, W]."""
        return self.head(self.body(x))


class Mean(nn.Module):
    """Spatial mean of a map."""

    def forward(self, x: Tensor) -> Tensor:
        """[n, C, H, W] -> [n, C]"""
        return x.mean((2, 3))


def _copy(target: nn.Parameter, source: Tensor) -> None:
    target.data = source.detach().clone()


def _learner(network: Network, anil: bool, task: Task) -> tuple[nn.Module, Tensor, Tensor]:
    """(what adapts, its support inputs, its query inputs)."""
    if anil:
        return network.head, network.body(task.support), network.body(task.query)
    return network, task.support, task.query


def learn2learn_algorithm(network: Network, anil: bool, tasks: Sequence[Task], inner_lr: float, steps: int) -> None:
    """What learn2learn's ``MAML.clone`` and ``adapt`` do, written out: its package does not build beside this torch."""
    for task in tasks:
        learner, support, query = _learner(network, anil, task)
        params = {name: value.clone() for name, value in learner.named_parameters()}
        for _ in range(steps):
            loss = F.cross_entropy(functional_call(learner, params, support), task.support_labels)
            gradients = torch.autograd.grad(loss, list(params.values()), create_graph=True)
            params = {name: value - inner_lr * g for (name, value), g in zip(params.items(), gradients, strict=True)}
        loss = F.cross_entropy(functional_call(learner, params, query), task.query_labels)
        (loss / len(tasks)).backward()


def higher(network: Network, anil: bool, tasks: Sequence[Task], inner_lr: float, steps: int) -> None:
    """``higher.innerloop_ctx`` over SGD."""
    import higher as library

    learner = network.head if anil else network
    optimizer = torch.optim.SGD(learner.parameters(), lr=inner_lr)
    for task in tasks:
        _, support, query = _learner(network, anil, task)
        with library.innerloop_ctx(learner, optimizer, copy_initial_weights=False) as (adapted, inner):
            for _ in range(steps):
                inner.step(F.cross_entropy(adapted(support), task.support_labels))
            (F.cross_entropy(adapted(query), task.query_labels) / len(tasks)).backward()


def torchopt(network: Network, anil: bool, tasks: Sequence[Task], inner_lr: float, steps: int) -> None:
    """``torchopt.MetaSGD``, its state taken back after each task."""
    import torchopt as library

    learner = network.head if anil else network
    optimizer = library.MetaSGD(learner, lr=inner_lr)
    initial = library.extract_state_dict(learner), library.extract_state_dict(optimizer)
    for task in tasks:
        _, support, query = _learner(network, anil, task)
        for _ in range(steps):
            optimizer.step(F.cross_entropy(learner(support), task.support_labels))
        (F.cross_entropy(learner(query), task.query_labels) / len(tasks)).backward()
        library.recover_state_dict(learner, initial[0])
        library.recover_state_dict(optimizer, initial[1])


def learn2learn(network: Network, anil: bool, tasks: Sequence[Task], inner_lr: float, steps: int) -> None:
    """``learn2learn.algorithms.MAML``, where the package can be imported."""
    import learn2learn as library

    learner = library.algorithms.MAML(network.head if anil else network, lr=inner_lr)
    for task in tasks:
        _, support, query = _learner(network, anil, task)
        adapted = learner.clone()
        for _ in range(steps):
            adapted.adapt(F.cross_entropy(adapted(support), task.support_labels))
        (F.cross_entropy(adapted(query), task.query_labels) / len(tasks)).backward()


def _learn2learn_or_its_algorithm() -> tuple[str, Peer]:
    try:
        import learn2learn as library  # noqa: F401
    except ImportError:
        return "learn2learn (its algorithm)", learn2learn_algorithm
    return "learn2learn", learn2learn


Peer = Callable[[Network, bool, Sequence[Task], float, int], None]

PEERS: dict[str, Peer] = dict([_learn2learn_or_its_algorithm()]) | {"higher": higher, "torchopt": torchopt}
