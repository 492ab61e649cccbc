"""Counts floating-point operations as they are done."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry


class FlopCounter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts those of the convolutions and matrix products inside its block, as ``torch.utils.flop_counter`` does.

    That counter imports torch's compiler, seconds for every process that trains; this one says that it need not. Nor
    does that one know a product that is done in place (``addmm_``), which counts here as if it were not.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.total: int = 0

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        counted = _counted(func)
        if counted is None:
            with self:  # an operation that is made of others, where autograd has not taken it apart
                parts = func.decompose(*args, **kwargs)
            return func(*args, **kwargs) if parts is NotImplemented else parts
        out = func(*args, **kwargs)
        self.total += counted(*args, **kwargs, out_val=out)
        return out


def _counted(operation: Any) -> Callable[..., int] | None:
    """What counts an operator, by its name; one in place is that of the same name without the underscore."""
    packet = operation._overloadpacket
    known: Callable[..., int] | None = flop_registry.get(packet)
    if known is None and packet.__name__.endswith("_"):
        known = flop_registry.get(getattr(torch.ops.aten, packet.__name__[:-1], None))
    return known
