"""A proposal of a search, how it ended, and which of those before it it knows."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any, Literal

from orchestrator.config_paths import frozen_value, plain_value, with_values
from orchestrator.early_stopping import Curve, Cutoffs
from orchestrator.record_shapes import CutoffsShape, shaped
from trainers.problems import Config


@dataclass(frozen=True)
class Proposal:
    """The parameters that a search chose for one trial."""

    number: int
    values: dict[str, Any]
    """Config path -> value, of the active parameters only."""
    told: str
    """Digest of all that the choice rests on (``Searcher.told``)."""
    cutoffs: Cutoffs = ()
    """Of its trial, where the search stops trials early. They rest on the same."""

    def config(self, base: Config) -> Config:
        """The trial: the base config with these values.

        Raises:
            SpecError: they make no valid config.
        """
        return with_values(base, self.values)

    def to_json(self) -> dict[str, Any]:
        """JSON values that ``from_json`` reads back."""
        values = {path: plain_value(value) for path, value in self.values.items()}
        cutoffs = {"cutoffs": [list(cutoff) for cutoff in self.cutoffs]} if self.cutoffs else {}
        return {"number": self.number, "values": values, "told": self.told, **cutoffs}

    @classmethod
    def from_json(cls, record: Any) -> Proposal:
        """The proposal that a record holds; keys that it does not know are left alone.

        Raises:
            ValueError: the record is none of a proposal.
        """
        match record:
            case {"number": int(number), "values": dict(values), "told": str(told)}:
                cutoffs = tuple((rung, float(value)) for rung, value in shaped(record, CutoffsShape).get("cutoffs", []))
                return cls(number, {path: frozen_value(value) for path, value in values.items()}, told, cutoffs)
        raise ValueError(f"a proposal has number, values and told, got {json.dumps(record)[:80]}")


@dataclass(frozen=True)
class Outcome:
    """How an earlier proposal ended: with a value of every objective, or failed without any."""

    number: int
    state: Literal["complete", "pruned", "failed"]
    values: tuple[float, ...] = ()
    """In the order of ``SearchSpec.objective``. An accuracy is that of the best validation so far."""
    curve: Curve = ()
    """Up to its end in this search, where that stops trials early; of one that failed nobody looks at it."""

    def __post_init__(self) -> None:
        valued = self.state != "failed"
        if valued != bool(self.values) or not all(map(math.isfinite, self.values)):
            raise ValueError(f"complete and pruned have finite values and failed has none, got {self}")


def default_window(concurrency: int) -> int:
    """The window of a search that asks for none: wide enough that a straggler seldom holds the others back."""
    return max(8, 2 * concurrency)


def known_before(number: int, window: int) -> range:
    """Numbers of the proposals that must have ended before proposal ``number`` can be made."""
    return range(max(0, number - window + 1))
