"""What a sweep may use, and what it has used: hours, GPU-hours and trials. Pure: whoever asks brings the seconds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import Field, model_validator

from trainers.config import Frozen, PositiveInt
from trainers.errors import ConfigError

Hours = Annotated[float, Field(gt=0, allow_inf_nan=False)]

Begun = frozenset[tuple[str, str]]
"""(training key, evaluation key) of trials that a sweep has handed to the cluster."""

_UNITS = {"hours": "h", "gpu_hours": "GPU-h", "trials": "trials"}


class Budget(Frozen):
    """Limits; the first one that is reached ends a sweep: trials that run are finished, no other begins."""

    hours: Hours | None = None
    """Wall clock of all runs of the sweep, each from its first trial to its end."""
    gpu_hours: Hours | None = None
    """Time of all attempts × ``resources.gpu``."""
    trials: PositiveInt | None = None
    """Trials begun, each once however often it is taken up again. What the store answers is none."""

    @model_validator(mode="after")
    def _says_something(self) -> Budget:
        if not self.limits:
            raise ConfigError("must have hours, gpu_hours or trials; give one, or leave budget: out")
        return self

    @property
    def limits(self) -> dict[str, float]:
        """Those that are given, by name."""
        return {name: limit for name, limit in self.model_dump().items() if limit is not None}


@dataclass(frozen=True)
class Used:
    """By all runs of a sweep, or by one."""

    seconds: float = 0.0
    gpu_seconds: float = 0.0
    begun: Begun = frozenset()

    def __add__(self, other: Used) -> Used:
        return Used(self.seconds + other.seconds, self.gpu_seconds + other.gpu_seconds, self.begun | other.begun)

    @property
    def amounts(self) -> dict[str, float]:
        """In the units of ``Budget``, by its names."""
        trials = len({training for training, _ in self.begun})
        return {"hours": self.seconds / 3600, "gpu_hours": self.gpu_seconds / 3600, "trials": trials}


def spent(budget: Budget | None, used: Used) -> bool:
    """Whether a limit is reached. Never without a budget."""
    return budget is not None and any(used.amounts[name] >= limit for name, limit in budget.limits.items())


def budget_json(budget: Budget, used: Used, not_begun: int) -> dict[str, Any]:
    """The budget of a status object: its limits, and by the same names what is used and what is left.

    ``not_begun``: how many trials a spent budget leaves out.
    """
    limits, amounts = budget.limits, used.amounts
    return {
        "spent": spent(budget, used),
        "not_begun": not_begun,
        "limits": limits,
        "used": {name: amounts[name] for name in limits},
        "left": {name: max(limit - amounts[name], 0) for name, limit in limits.items()},
    }


def budget_text(status: Mapping[str, Any]) -> str:
    """``1.25 of 2 h, 7 of 10 trials``, from ``budget_json``."""
    limits, used = status["limits"], status["used"]
    return ", ".join(f"{_shown(used[name])} of {_shown(limits[name])} {_UNITS[name]}" for name in limits)


def left_out_text(not_begun: int) -> str:
    """``7 trials did not begin``."""
    return f"{not_begun} trial{'s' if not_begun > 1 else ''} did not begin"


def _shown(amount: float) -> str:
    return str(amount) if isinstance(amount, int) else f"{amount:.3g}"
