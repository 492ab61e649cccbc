"""What a search proposes. Optuna is imported only when something is proposed.

A proposal is a function of (search, its number, the earlier proposals, the outcomes that it is told): no study or
sampler outlives it. So neither timing, nor concurrency, nor a kill changes a search.
"""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from orchestrator.config_paths import frozen_value, leaves, plain_value, with_values
from orchestrator.objectives import plain_objectives
from orchestrator.search.domains import distribution, encoded
from orchestrator.search.samplers import GENERATION, SAMPLERS, generations
from orchestrator.spec import SearchSpec
from trainers.canonical import digest
from trainers.config import TrialConfig

if TYPE_CHECKING:
    import optuna


@dataclass(frozen=True)
class Proposal:
    """The parameters that a search chose for one trial."""

    number: int
    values: dict[str, Any]
    """Config path -> value, of the active parameters only."""
    told: str
    """Digest of all that the choice rests on (``told_digest``)."""

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


WIDEST_WINDOW = 4_000
"""Up to which a window that was lost is looked for."""


def default_window(concurrency: int) -> int:
    """The window of a search that asks for none: wide enough that a straggler seldom holds the others back."""
    return max(8, 2 * concurrency)


def window_behind(search: SearchSpec, first: Proposal) -> int | None:
    """The window under which ``first`` is proposal 0 of a search: its own, or any where it has none; None where
    ``first`` was made for another search."""
    windows = [search.window] if search.window is not None else range(1, WIDEST_WINDOW + 1)
    return next((window for window in windows if told_digest(search, 0, [], [], window) == first.told), None)


def known_before(number: int, window: int) -> range:
    """Numbers of the proposals that must have ended before proposal ``number`` can be made."""
    return range(max(0, number - window + 1))


def propose(
    search: SearchSpec,
    base: TrialConfig,
    number: int,
    earlier: Sequence[Proposal],
    outcomes: Sequence[Outcome],
    window: int,
) -> Proposal:
    """Proposal ``number``. Pure: the same arguments, in whatever order results came, give the same proposal.

    Args:
        search: the search.
        base: values of the config that the space leaves alone.
        number: which proposal.
        earlier: proposals 0 … number - 1.
        outcomes: of 0 … number - window at least; later ones are not looked at.
        window: the window stored with the sweep.

    Raises:
        ValueError: an earlier proposal or an outcome that must be known is missing.
    """
    import optuna

    told = _told(number, earlier, outcomes, window)
    with warnings.catch_warnings():  # parts of Optuna are marked experimental; what they do is tested here
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        sampler = SAMPLERS[search.sampler](search, number)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(sampler=sampler, directions=[one.direction for one in search.objective])
    study.add_trials(_trials(search, told, window))
    if number < len(search.start):
        start = search.start[number]
        study.enqueue_trial({path: encoded(search.space[path], value) for path, value in start.items()})
    values = _chosen(study.ask(), search, leaves(base))
    return Proposal(number, values, _digest(search, number, told, window))


def told_digest(
    search: SearchSpec, number: int, earlier: Sequence[Proposal], outcomes: Sequence[Outcome], window: int
) -> str:
    """Digest of what proposal ``number`` rests on; equal to ``Proposal.told`` unless that has changed since.

    Raises:
        ValueError: an earlier proposal or an outcome that must be known is missing.
    """
    return _digest(search, number, _told(number, earlier, outcomes, window), window)


Told = Sequence[tuple[Proposal, Outcome | None]]
"""Earlier proposals in number order; None stands for one whose outcome is not told."""


def _told(number: int, earlier: Sequence[Proposal], outcomes: Sequence[Outcome], window: int) -> Told:
    proposals = {proposal.number: proposal for proposal in earlier}
    ended = {outcome.number: outcome for outcome in outcomes}
    must = known_before(number, window)
    absent = [one for one in range(number) if one not in proposals] or [one for one in must if one not in ended]
    if absent:
        raise ValueError(f"proposal {number} with window {window} needs proposal and outcome {absent[0]} first")
    return [(proposals[one], ended[one] if one in must else None) for one in range(number)]


def _digest(search: SearchSpec, number: int, told: Told, window: int) -> str:
    """Of one objective its name and values stand by themselves, as in records from before there were several."""
    one = len(search.objective) == 1
    return digest(
        {
            "sampler": search.sampler,
            "seed": search.seed,
            "window": window,
            "objective": search.objective[0].metric if one else plain_objectives(search.objective),
            "space": [[path, parameter.plain()] for path, parameter in search.space.items()],
            "number": number,
            "start": search.start[number] if number < len(search.start) else None,
            "told": [
                [proposal.values, outcome.state if outcome else "running", _plain_values(outcome, one)]
                for proposal, outcome in told
            ],
        }
    )


def _plain_values(outcome: Outcome | None, one: bool) -> Any:
    if outcome is None or not outcome.values:
        return None
    return outcome.values[0] if one else list(outcome.values)


def _trials(search: SearchSpec, told: Told, window: int) -> list[optuna.trial.FrozenTrial]:
    """Earlier proposals as Optuna's trials."""
    from optuna.trial import TrialState, create_trial

    states = {"complete": TrialState.COMPLETE, "failed": TrialState.FAIL, None: TrialState.RUNNING}
    distributions = {path: distribution(parameter) for path, parameter in search.space.items()}
    ends = [outcome.state if outcome else None for _, outcome in told]
    trials = []
    for (proposal, outcome), end, generation in zip(told, ends, generations(ends, window), strict=True):
        active = {path: one for path, one in distributions.items() if path in proposal.values}
        trials.append(
            create_trial(
                state=states[end],
                values=outcome.values or None if outcome else None,
                params={path: encoded(search.space[path], proposal.values[path]) for path in active},
                distributions=active,
                system_attrs={GENERATION: generation},
            )
        )
    return trials


def _chosen(trial: optuna.trial.Trial, search: SearchSpec, fixed: Mapping[str, Any]) -> dict[str, Any]:
    """Asks for the parameters in the order of the space, each only where the ones before make it active."""
    values: dict[str, Any] = {}
    for path, parameter in search.space.items():
        if not parameter.active(values, fixed):
            continue
        if parameter.kind == "choice":
            decoded = {encoded(parameter, value): value for value in parameter.domain}
            values[path] = decoded[trial.suggest_categorical(path, list(decoded))]
        elif parameter.kind == "int":
            values[path] = trial.suggest_int(path, *parameter.domain)
        else:
            values[path] = trial.suggest_float(path, *parameter.domain, log=parameter.kind == "loguniform")
    return values
