"""The inner loop, the meta-gradient and predictions, for many tasks at once, in chunks that bound the memory."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F  # noqa: N812 - the field's name for it
from torch import Tensor

from trainers.closed_form.blocks import STEPS_KEPT, Blocks
from trainers.closed_form.chain import Stretch, Tree
from trainers.closed_form.image_block import Patches
from trainers.closed_form.layers import Gradients, features
from trainers.inner_loop import InnerLoop
from trainers.tasks import Tasks

FLOATS_A_CHUNK = 1_250_000
"""Numbers of a chunk's largest kept map, or of its weights: enough tasks to keep the kernels busy, not much more. In
float32 the last bits of a result depend on it, so changing it changes the trainer version."""

SHARED_BODY_TASKS = 16
"""On a CPU where no block adapts: up to so many tasks a chunk, and up to four times the numbers. Such a chunk keeps one
pass of the body, not one an inner step, and takes as many calls for few tasks as for many. For the trainer version it
is as above."""

FLOATS_A_CHUNK_ON_CUDA = 16 * FLOATS_A_CHUNK
"""The same for a GPU, which has more to keep busy: hundreds of MB for all that a chunk keeps."""


@dataclass(frozen=True)
class Chain:
    """A network that the closed form knows: blocks and a linear head, with weights that all tasks start from."""

    blocks: Blocks
    layers: tuple[str, ...]
    """Names, input first; the last one is the head."""
    params: Tree
    """By layer and short name, [1, …] each."""

    @classmethod
    def of(cls, blocks: Blocks, layers: tuple[str, ...], params: Mapping[str, Tensor]) -> Chain:
        """``params`` by full name, ``"conv1.weight"``."""
        tree: dict[str, dict[str, Tensor]] = {}
        for name, value in params.items():
            layer, _, short = name.partition(".")
            value = value.detach()
            if value.dim() == 4:
                value = value.contiguous(memory_format=torch.channels_last)  # as convolutions want it
            tree.setdefault(layer, {})[short] = value.unsqueeze(0)
        return cls(blocks, layers, tree)

    def chunks(self, tasks: int, images: int, pixels: int, shared: bool = False) -> Iterator[slice]:
        """Slices of tasks, as even as can be, by shapes alone: ``images`` a task of ``pixels`` each.

        ``shared`` says that no block adapts.
        """
        first_weight = self.params[self.layers[0]]["weight"]
        _, width, channels, *_ = first_weight.shape
        # What the first block keeps is a quarter of its map, pooled or strided; narrow ones keep more of the patches.
        largest = images * pixels * max(width, 9 * channels + 1) // 4
        weights = sum(value.numel() for its in self.params.values() for value in its.values())
        on_cuda = first_weight.is_cuda
        size = max(1, (FLOATS_A_CHUNK_ON_CUDA if on_cuda else FLOATS_A_CHUNK) // max(largest, weights))
        if shared and not on_cuda:
            size = max(size, min(SHARED_BODY_TASKS, 4 * FLOATS_A_CHUNK // max(largest, weights)))
        small, larger = divmod(tasks, math.ceil(tasks / size))
        first = 0
        while first < tasks:
            last = first + small + (larger > 0)
            yield slice(first, last)
            first, larger = last, max(0, larger - 1)


class Prefix:
    """The first layers of a chain, computed once for some images: [tasks, images, C, H, W]."""

    def __init__(self, chain: Chain, images: Tensor) -> None:
        self._chain = chain
        self._tasks = len(images)
        self._stretches: list[Stretch] = []
        self._outs: list[Tensor | Patches] = [Patches.of(images, chain.blocks.stride)]

    def out(self, depth: int) -> Tensor | Patches:
        """What the first ``depth`` layers make of the images, by segments."""
        chain = self._chain
        while len(self._outs) <= depth:
            layer = chain.layers[len(self._outs) - 1]
            self._stretches.append(
                Stretch(chain.blocks, [layer], chain.params, self._outs[-1], self._tasks, shared=True)
            )
            self._outs.append(self._stretches[-1].out)
        return self._outs[depth]

    def backward(self, g: Tensor) -> dict[str, Gradients]:
        """Gradients by layer, [1, …], for g = ∂L/∂(the deepest output asked for)."""
        gradients: dict[str, Gradients] = {}
        for index in reversed(range(len(self._stretches))):
            its, g_input = self._stretches[index].backward(g, input_gradient=index > 0)
            gradients |= its
            if g_input is not None:
                g = g_input
        return gradients


class SharedBody:
    """The features of images [tasks, images, C, H, W] by a body that the tasks share, and the way back."""

    def __init__(self, chain: Chain, images: Tensor) -> None:
        self._prefix = Prefix(chain, images)
        last_map = self._prefix.out(len(chain.layers) - 1)
        assert not isinstance(last_map, Patches)  # there is a body
        self._features = features(last_map, len(images), grouped=False, mean=chain.blocks.mean)
        self.out = self._features.out
        """[tasks, images, size]"""

    def backward(self, g: Tensor) -> dict[str, Gradients]:
        """Gradients by layer, [1, …], for g = ∂L/∂out."""
        _, g_map = self._features.backward(g, input_gradient=True)
        assert g_map is not None
        return self._prefix.backward(g_map)


def depth_of_prefix(chain: Chain, loop: InnerLoop) -> int:
    """Layers in front of the first one that adapts; all but the head where none does."""
    adapts = [chain.layers.index(layer) for layer in loop.layers if loop.steps]
    return min(adapts, default=len(chain.layers) - 1)


def loss_gradient(logits: Tensor, labels: Tensor) -> Tensor:
    """∂/∂logits of each task's mean cross-entropy, (p − y) / n: logits [tasks, images, ways], labels [images]."""
    expected = F.one_hot(labels, logits.shape[2])
    return (logits.softmax(2) - expected).div_(len(labels))


def loss_gradient_tangent(logits: Tensor, dlogits: Tensor) -> Tensor:
    """Change of ``loss_gradient``: p ∘ (l̇ − Σ p l̇) / n."""
    p = logits.softmax(2)
    return p.mul_(dlogits - (p * dlogits).sum(2, keepdim=True)).div_(logits.shape[1])


Step = Stretch | Tree
"""An inner step: its passes, or the parameters that it started from, where it is to be run again."""


def adapt(chain: Chain, x: Tensor | Patches, labels: Tensor, tasks: int, loop: InnerLoop) -> tuple[Tree, list[Step]]:
    """The inner loop from the prefix's output ``x``.

    Returns:
        The other layers' parameters of every task, [tasks, …], and the steps if ``second_order``.
    """
    tail = chain.layers[depth_of_prefix(chain, loop) :]
    adapted: Tree = {
        layer: {name: value.expand(tasks, *value.shape[1:]) for name, value in chain.params[layer].items()}
        for layer in tail
    }
    steps: list[Step] = []
    count = loop.steps if loop.layers else 0
    for number in range(count):
        step, gradients = inner_step(chain, adapted, x, labels, tasks)
        if loop.second_order:
            steps.append(step if number >= count - STEPS_KEPT else adapted)
        adapted = {
            layer: {
                name: torch.sub(value, gradients[layer][name], alpha=loop.inner_lr[layer])
                for name, value in its.items()
            }
            if layer in loop.layers
            else its
            for layer, its in adapted.items()
        }
    return adapted, steps


def inner_step(
    chain: Chain, params: Tree, x: Tensor | Patches, labels: Tensor, tasks: int
) -> tuple[Stretch, dict[str, Gradients]]:
    """The passes of a step through the layers of ``params`` [tasks, …], and the gradients of the support losses."""
    step = Stretch(chain.blocks, list(params), params, x, tasks, shared=False)
    gradients, _ = step.backward(loss_gradient(step.out, labels))
    return step, gradients


@dataclass
class Sums:
    """Sums over tasks, added to chunk by chunk."""

    gradient: dict[str, dict[str, Tensor]] = field(default_factory=dict)
    """By layer and short name, [1, …] each."""
    losses: list[Tensor] = field(default_factory=list)
    """Of chunks of tasks."""
    correct: list[Tensor] = field(default_factory=list)
    """Query images classified correctly, of chunks of tasks."""

    def add(self, gradients: Tree) -> None:
        """Adds gradients [groups, …]."""
        for layer, its in gradients.items():
            mine = self.gradient.setdefault(layer, {})
            for name, value in its.items():
                summed = value.sum(0, keepdim=True)
                mine[name] = mine[name].add_(summed) if name in mine else summed


def meta_gradient(chain: Chain, tasks: Tasks, loop: InnerLoop) -> Sums:
    """Sum over tasks of ∂L_query(θ_m(θ))/∂θ, of query losses and of correct answers."""
    sums = Sums()
    _, images, height, width, _ = tasks.support_pixels.shape
    shared = depth_of_prefix(chain, loop) == len(chain.layers) - 1
    for part in chain.chunks(len(tasks), images, height * width, shared):
        _add_chunk(sums, chain, tasks[part], loop)
    return sums


def _add_chunk(sums: Sums, chain: Chain, tasks: Tasks, loop: InnerLoop) -> None:
    depth = depth_of_prefix(chain, loop)
    prefix = Prefix(chain, tasks.support())
    adapted, steps = adapt(chain, prefix.out(depth), tasks.support_labels, len(tasks), loop)
    v = _query_gradients(sums, chain, tasks, adapted, depth)
    back: Tensor | None = None
    while steps:  # v ← v − ∇²L_support(P_j) (lr ∘ v), and the same for the support's way through the prefix
        step = steps.pop()
        if not isinstance(step, Stretch):
            step, _ = inner_step(chain, step, prefix.out(depth), tasks.support_labels, len(tasks))
        direction = {
            layer: {name: value * loop.inner_lr[layer] for name, value in v[layer].items()} for layer in loop.layers
        }
        change = loss_gradient_tangent(step.out, step.tangent(direction))
        dv, dx = step.tangent_backward(change, input_gradient=depth > 0)
        v = {layer: {name: value - dv[layer][name] for name, value in its.items()} for layer, its in v.items()}
        if dx is not None:
            back = dx.neg() if back is None else back.sub_(dx)
    sums.add(v)
    if back is not None:
        sums.add(prefix.backward(back))


def _query_gradients(sums: Sums, chain: Chain, tasks: Tasks, adapted: Tree, depth: int) -> Tree:
    """∂L_query/∂(adapted parameters) [tasks, …]; what reaches the prefix directly is added to the sums."""
    gradients: dict[str, list[Gradients]] = {}
    _, images, height, width, _ = tasks.query_pixels.shape
    for part in chain.chunks(len(tasks), images, height * width, shared=depth == len(chain.layers) - 1):
        prefix = Prefix(chain, tasks.query(part))
        its = {layer: {name: value[part] for name, value in values.items()} for layer, values in adapted.items()}
        count = part.stop - part.start
        stretch = Stretch(chain.blocks, chain.layers[depth:], its, prefix.out(depth), count, shared=False)
        labels = tasks.query_labels
        losses = F.cross_entropy(stretch.out.flatten(0, 1), labels.repeat(count), reduction="none")
        sums.losses.append(losses.view(count, -1).mean(1))
        sums.correct.append((stretch.out.argmax(2) == labels).sum(1))
        its_gradients, g = stretch.backward(loss_gradient(stretch.out, labels), input_gradient=depth > 0)
        for layer, values in its_gradients.items():
            gradients.setdefault(layer, []).append(values)
        if g is not None:
            sums.add(prefix.backward(g))
    return {
        layer: {name: _join([part[name] for part in parts]) for name in parts[0]} for layer, parts in gradients.items()
    }


def _join(parts: list[Tensor]) -> Tensor:
    """Along the first dimension; in memory as the parts are, which ``torch.cat`` alone does not keep."""
    if len(parts) == 1:
        return parts[0]
    joined = torch.empty_like(parts[0][:1].expand(sum(map(len, parts)), *parts[0].shape[1:]))
    return torch.cat(parts, out=joined)


def scores(chain: Chain, tasks: Tasks, loops: Sequence[InnerLoop | None]) -> list[Tensor]:
    """What each way of adapting makes of the query sets, without outer gradients; they share what none of them adapts.

    Returns:
        For each loop logits [tasks, query images, ways]; for None features [tasks, support + query images, size].
    """
    found: list[list[Tensor]] = [[] for _ in loops]
    _, images, height, width, _ = tasks.query_pixels.shape
    images = max(images, tasks.support_pixels.shape[1])
    for part in chain.chunks(len(tasks), images, height * width):
        count = part.stop - part.start
        support, query = Prefix(chain, tasks.support(part)), Prefix(chain, tasks.query(part))
        for index, loop in enumerate(loops):
            depth = len(chain.layers) - 1 if loop is None else depth_of_prefix(chain, loop)
            x, q = support.out(depth), query.out(depth)
            if loop is None:
                assert not isinstance(x, Patches)  # there is a body
                assert not isinstance(q, Patches)
                both = [features(one, count, grouped=False, mean=chain.blocks.mean).out for one in (x, q)]
                found[index].append(torch.cat(both, dim=1))
                continue
            adapted, _ = adapt(chain, x, tasks.support_labels, count, loop)
            tail = chain.layers[depth:]
            found[index].append(Stretch(chain.blocks, tail, adapted, q, count, shared=False).out)
    return [torch.cat(parts) for parts in found]
