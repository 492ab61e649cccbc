"""A proposal of a search, how it ended, and which of those before it it knows."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any, Literal

from orchestrator.config_paths import frozen_value, plain_value, with_values
from trainers.config import TrialConfig


@dataclass(frozen=True)
class Proposal:
    """The parameters that a search chose for one trial."""

    number: int
    values: dict[str, Any]
    """Config path -> value, of the active parameters only."""
    told: str
    """Digest of all that the choice rests on (``Searcher.told``)."""

    def config(self, base: TrialConfig) -> TrialConfig:
        """The trial: the base config with these values.

        Raises:
            SpecError: they make no valid config.
        """
        return with_values(base, self.values)

    def to_json(self) -> dict[str, Any]:
        """JSON values that ``from_json`` reads back."""
        values = {path: plain_value(value) for path, value in self.values.items()}
        return {"number": self.number, "values": values, "told": self.told}

    @classmethod
    def from_json(cls, record: Any) -> Proposal:
        """The proposal that a record holds; keys that it does not know are left alone.

        Raises:
            ValueError: the record is none of a proposal.
        """
        match record:
            case {"number": int(number), "values": dict(values), "told": str(told)}:
                return cls(number, {path: frozen_value(value) for path, value in values.items()}, told)
        raise ValueError(f"a proposal has number, values and told, got {json.dumps(record)[:80]}")


@dataclass(frozen=True)
class Outcome:
    """How an earlier proposal ended: with a value of every objective, or failed without any."""

    number: int
    state: Literal["complete", "failed"]
    values: tuple[float, ...] = ()
    """In the order of ``SearchSpec.objective``. An accuracy is that of the best validation so far."""

    def __post_init__(self) -> None:
        complete = self.state == "complete"
        if complete != bool(self.values) or not all(map(math.isfinite, self.values)):
            raise ValueError(f"complete has finite values and failed has none, got {self}")


def default_window(concurrency: int) -> int:
    """The window of a search that asks for none: wide enough that a straggler seldom holds the others back."""
    return max(8, 2 * concurrency)


def known_before(number: int, window: int) -> range:
    """Numbers of the proposals that must have ended before proposal ``number`` can be made."""
    return range(max(0, number - window + 1))
