"""Makes the proposals of a search. Optuna is imported only when something is proposed.

A proposal is a function of (search, its number, the earlier proposals, the outcomes that it is told): no sampler
outlives it. So neither timing, nor concurrency, nor a kill changes a search.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from orchestrator.config_paths import leaves, with_values
from orchestrator.early_stopping import Cutoffs, Standings, cutoffs
from orchestrator.objectives import plain_objectives
from orchestrator.search.proposals import Outcome, Proposal, known_before
from orchestrator.search.samplers import LEARNING
from orchestrator.spec import SearchSpec
from trainers.canonical import digest
from trainers.config import TrialConfig
from trainers.problems import Config

if TYPE_CHECKING:
    from orchestrator.search.study import ToldStudy

WIDEST_WINDOW = 4_000
"""Up to which a window that was lost is looked for."""


class Searcher:
    """Proposals in number order. What it keeps from one to the next is a view of records: one that is made anew from
    the same proposals and outcomes proposes the same, in whatever order results came.

    Args:
        search: the search.
        base: values of the config that the space leaves alone.
        window: the window stored with the sweep.
    """

    def __init__(self, search: SearchSpec, base: Config, window: int) -> None:
        self._search, self._base, self._window = search, base, window
        self._fixed = leaves(base)
        self._proposals: list[Proposal] = []
        self._outcomes: dict[int, Outcome] = {}
        self._known = 0
        """Proposals before this number have all ended."""
        self._identity = _identity(search)
        self._ended = [""]
        """Digest of proposals 0 … k - 1 and their outcomes, for every k that was asked for."""
        self._study: ToldStudy | None = None
        self._standings, self._ranked = Standings(), 0
        """Of proposals before that number."""

    @property
    def number(self) -> int:
        """Of the next proposal."""
        return len(self._proposals)

    @property
    def ready(self) -> bool:
        """Whether all is known that the next proposal is told."""
        return self._known >= len(known_before(self.number, self._window))

    def add(self, proposal: Proposal) -> None:
        """Takes the next proposal, made now or earlier.

        Raises:
            ValueError: it is not the next one.
        """
        if proposal.number != self.number:
            raise ValueError(f"proposal {proposal.number} can't be added: proposal {self.number} comes first")
        self._proposals.append(proposal)

    def end(self, outcome: Outcome) -> None:
        """Takes how a proposal ended, once, in any order."""
        self._outcomes[outcome.number] = outcome
        while self._known in self._outcomes:
            self._known += 1

    def propose(self) -> Proposal:
        """Makes the next proposal; ``add`` takes it.

        Raises:
            ValueError: the outcome of one that must be known is missing.
        """
        told = self.told(self.number)
        values = self._told_study().ask(self.number, self._fixed)
        return Proposal(self.number, values, told, self._cutoffs(values))

    def told(self, number: int) -> str:
        """Digest of all that proposal ``number`` rests on: equal to ``Proposal.told`` unless that has changed since.

        Raises:
            ValueError: a proposal or an outcome that must be known is missing.
        """
        known = len(known_before(number, self._window))
        if self.number < number or self._known < known:
            absent = self.number if self.number < number else self._known
            raise ValueError(f"proposal {number} with window {self._window} needs proposal and outcome {absent} first")
        for one in range(len(self._ended) - 1, known):
            outcome = self._outcomes[one]
            ended = [self._proposals[one].values, outcome.state, outcome.values, self._plain_curve(outcome)]
            self._ended.append(digest([self._ended[one], ended]))
        running = [proposal.values for proposal in self._proposals[known:number]]
        return _told(self._search, self._identity, number, self._window, self._ended[known], running)

    def _cutoffs(self, values: Mapping[str, Any]) -> Cutoffs:
        """Of the trial that these values make."""
        if self._search.early_stopping is None:
            return ()
        for one in known_before(self.number, self._window)[self._ranked :]:
            outcome = self._outcomes[one]
            self._standings.add(() if outcome.state == "failed" else outcome.curve)
            self._ranked += 1
        return cutoffs(self._search.early_stopping, with_values(self._base, values).training, self._standings)

    def _plain_curve(self, outcome: Outcome) -> list[tuple[int, float | None]]:
        """What cut-offs follow from, as JSON values."""
        if self._search.early_stopping is None or outcome.state == "failed":
            return []
        return [(at, value if math.isfinite(value) else None) for at, value in outcome.curve]

    def _told_study(self) -> ToldStudy:
        """The study as the next proposal sees it."""
        from orchestrator.search.study import ToldStudy

        if self._study is None:
            self._study = ToldStudy(self._search)
        if self._search.sampler in LEARNING:
            for number in range(len(self._study), self.number + 1):
                if number >= self._window:  # what this proposal is told, and the one before was not
                    self._study.tell(self._outcomes[number - self._window])
                if number < self.number:
                    self._study.add(self._proposals[number].values)
        return self._study


def window_behind(search: SearchSpec, first: Proposal) -> int | None:
    """The window under which ``first`` is proposal 0 of a search: its own, or any where it has none; None where
    ``first`` was made for another search."""
    windows = [search.window] if search.window is not None else range(1, WIDEST_WINDOW + 1)
    identity = _identity(search)
    return next((window for window in windows if _told(search, identity, 0, window, "", []) == first.told), None)


def propose(
    search: SearchSpec,
    base: Config,
    number: int,
    earlier: Sequence[Proposal],
    outcomes: Sequence[Outcome],
    window: int,
) -> Proposal:
    """Proposal ``number``. Pure: the same arguments, in whatever order, give the same proposal.

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
    return _searcher(search, base, number, earlier, outcomes, window).propose()


def told_digest(
    search: SearchSpec, number: int, earlier: Sequence[Proposal], outcomes: Sequence[Outcome], window: int
) -> str:
    """Digest of what proposal ``number`` rests on; equal to ``Proposal.told`` unless that has changed since.

    Raises:
        ValueError: an earlier proposal or an outcome that must be known is missing.
    """
    return _searcher(search, TrialConfig(), number, earlier, outcomes, window).told(number)


def _searcher(
    search: SearchSpec,
    base: Config,
    number: int,
    earlier: Sequence[Proposal],
    outcomes: Sequence[Outcome],
    window: int,
) -> Searcher:
    searcher = Searcher(search, base, window)
    for proposal in sorted((one for one in earlier if one.number < number), key=lambda one: one.number):
        searcher.add(proposal)
    for outcome in outcomes:
        searcher.end(outcome)
    if searcher.number < number:
        raise ValueError(f"proposal {number} needs proposal {searcher.number} first")
    return searcher


def _identity(search: SearchSpec) -> str:
    """Digest of what all proposals of a search rest on."""
    return digest(
        {
            "sampler": search.sampler,
            "seed": search.seed,
            "objective": plain_objectives(search.objective),
            "space": [[path, parameter.plain()] for path, parameter in search.space.items()],
            "early_stopping": search.early_stopping.model_dump() if search.early_stopping else None,
        }
    )


def _told(
    search: SearchSpec, identity: str, number: int, window: int, ended: str, running: list[dict[str, Any]]
) -> str:
    start = search.start[number] if number < len(search.start) else None
    return digest([identity, window, number, start, ended, running])
