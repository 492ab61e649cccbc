"""A sweep's view, kept up to date from a thread of its own; or a whole one, written at once."""

from __future__ import annotations

import threading
import time
from collections.abc import Collection, Iterable

from orchestrator.errors import OutOfReach
from orchestrator.tracking.client import Client, one_line, open_client
from orchestrator.tracking.mark import Mark, mark
from orchestrator.tracking.mirror import End, Mirror
from orchestrator.tracking_parent import NO_OUTCOME, Outcome
from orchestrator.tracking_uri import check_uri, experiment_name
from orchestrator.tracking_views import SweepView, TrialView, Written
from orchestrator.url_secrets import without_credentials

_LONGEST_PAUSE_S = 30.0

ROUND_S = 3.0
"""Trials that run are written no more often: each write costs the driver some 20 ms, however little it says."""

SLOW_S = 1.0
"""A server that takes longer for a call is not waited for at the end of a sweep."""


class Tracker:
    """Keeps one sweep's view up to date from a background thread, through outages of the server.

    ``problem`` is the last failure in one line, None while writing works; ``experiment_id``, ``run_id`` and ``run_url``
    (servers only) name the parent run once it is there. ``known`` is the mark of an earlier tracker: MLflow is not even
    imported, until a trial runs, or the sweep ends in anything that the mark is not of.

    Raises:
        TrackingError: the URI is malformed. Whether anything answers there is not asked.
    """

    def __init__(
        self, uri: str, experiment: str | None, sweep: SweepView, round_s: float = ROUND_S, known: Mark | None = None
    ) -> None:
        check_uri(uri)
        self._uri, self._experiment, self._sweep = uri, experiment or experiment_name(), sweep
        self._changed = threading.Condition()
        self._pending: dict[str, TrialView] = {}
        self._refusals: dict[str, int] = {}
        self._round_s, self._next_round = round_s, 0.0
        self._round: list[str] = []
        """Identities of the trials that are written in this round."""
        self._written: dict[str, Written] = {}
        """What was written last of each trial, by identity; outlives a mirror."""
        self._end: End | None = None
        self._outcome = NO_OUTCOME
        self._has: Collection[str] | None = None
        """Identities of all trials of the sweep, where they were said."""
        self._client: Client | None = None
        self._abandoned = False
        self._synced = threading.Event()
        self._mirror: Mirror | None = None
        self.problem: str | None = None
        self.experiment_id: str | None = None
        self.run_id: str | None = None
        self.mark: Mark | None = None
        """Of what the store has, once ``finish`` has written all of it, where there can be one."""
        self._known = known
        self._thread = threading.Thread(target=self._write_all, name="tracking", daemon=True)
        if known is None:
            self._thread.start()

    @property
    def run_url(self) -> str | None:
        """The page of the parent run on a tracking server."""
        if self.run_id is None or not self._uri.startswith("http"):
            return None
        return f"{without_credentials(self._uri).rstrip('/')}/#/experiments/{self.experiment_id}/runs/{self.run_id}"

    def record(self, trial: TrialView) -> None:
        """Leaves the trial's latest view for the thread and returns; an older view not yet written is dropped.

        Does nothing after :meth:`finish`.
        """
        with self._changed:
            self._pending[trial.identity] = trial
            if trial.state == "running":
                self._begin()
            self._changed.notify_all()

    def finish(
        self,
        state: End,
        timeout_s: float,
        down_timeout_s: float | None = None,
        outcome: Outcome = NO_OUTCOME,
        has: Collection[str] | None = None,
    ) -> bool:
        """Writes what is left, ends the parent run, and as KILLED every child that has not ended, then adds files.

        Args:
            state: of the sweep.
            timeout_s: how long this may take.
            down_timeout_s: how long it may go on once a write has failed, or where the server takes more than
                ``SLOW_S`` for a call; None: no other limit.
            outcome: what is added to the runs once all else is written and they have ended.
            has: identities of all trials that the sweep has now; runs of others stay, tagged as superseded. None: runs
                stay as they are.

        Returns:
            Whether all of it was written in time.
        """
        until = time.monotonic() + timeout_s
        with self._changed:
            if self._known is not None and state == "FINISHED":
                self.mark = self._mark(self._known.run, outcome, has)
                if self.mark == self._known:
                    return True
            self._begin()
            self._end, self._outcome, self._has = self._end or state, outcome, has
            self._changed.notify_all()
            if down_timeout_s is not None:
                while not (self._synced.is_set() or self._failing or time.monotonic() > until):
                    self._changed.wait(0.1)  # nobody says when a call begins to take long
                until = min(until, time.monotonic() + down_timeout_s)
            self._changed.wait_for(self._synced.is_set, max(0.0, until - time.monotonic()))
            synced = self._synced.is_set()
            self._abandoned = True
            self._changed.notify_all()
        complete = self._mirror is not None and self._mirror.problem is None
        whole = synced and complete and not any(count > 1 for count in self._refusals.values())
        self.mark = self._mark(self.run_id, outcome, has) if whole and self.run_id and state == "FINISHED" else None
        return whole

    def _begin(self) -> None:
        """Starts the thread, if a mark has held it back so far."""
        if self._known is not None:
            self._known = None
            self._thread.start()

    def _mark(self, run: str, outcome: Outcome, has: Collection[str] | None) -> Mark | None:
        digests = {identity: one.digest for identity, one in self._written.items()}
        digests |= {identity: view.digest() for identity, view in self._pending.items()}
        return mark(self._uri, self._experiment, run, self._sweep, digests, outcome, has)

    @property
    def _failing(self) -> bool:
        # A file on this machine is never too slow to be worth waiting for.
        slow = self._client is not None and self._uri.startswith("http") and self._client.answer_s > SLOW_S
        return slow or self.problem is not None

    def _write_all(self) -> None:
        pause_s = 0.5
        while not self._abandoned and not self._synced.is_set():
            view = self._take()
            try:
                self._write(view)
            except Exception as error:  # MLflow raises anything; a view must not end a sweep
                # After a lost answer only MLflow knows what it holds: look again before writing more.
                self._mirror = None
                self._keep(view, error)
                self._rest(pause_s)
                pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
            else:
                pause_s = 0.5
                if not self._refusals:
                    self.problem = self._mirror.problem if self._mirror else None

    def _rest(self, pause_s: float) -> None:
        """Waits before the next attempt: ``pause_s``, but half a second once the sweep has ended."""
        with self._changed:
            if self._end is None:
                self._changed.wait_for(lambda: self._abandoned or self._end is not None, pause_s)
            else:
                self._changed.wait_for(lambda: self._abandoned, 0.5)

    def _take(self) -> TrialView | None:
        """The next view; None where there is none and the parent run is to be opened or ended."""
        with self._changed:
            self._changed.wait_for(lambda: self._pending or self._end or self._abandoned or self._mirror is None)
            self._round = [identity for identity in self._round if identity in self._pending]
            if not self._round:  # what comes more often than a round is written once
                pause_s = self._next_round - time.monotonic()
                self._changed.wait_for(lambda: self._end or self._abandoned, max(0.0, pause_s))
                self._next_round = time.monotonic() + self._round_s
                self._round = list(self._pending)
            return self._pending.pop(self._round.pop(0)) if self._round else None

    def _write(self, view: TrialView | None) -> None:
        if self._mirror is None:
            self._client = open_client(self._uri)
            where = (self._client, self._uri, self._experiment)
            self._mirror = Mirror(*where, self._sweep, self._written, lambda: self._abandoned)
            self.experiment_id, self.run_id = self._mirror.experiment_id, self._mirror.run_id
        elif view is None and self._end is not None:
            if self._has is not None:
                self._mirror.supersede_all_but(self._has)
            self._mirror.end(self._end)
            self._mirror.add(self._outcome)  # last: files may take longer than anybody waits
            with self._changed:
                self._synced.set()
                self._changed.notify_all()
        if view is not None:
            self._mirror.write(view)
            self._refusals.pop(view.identity, None)
        if not self._round:
            self._mirror.show_progress()

    def _keep(self, view: TrialView | None, error: Exception) -> None:
        with self._changed:
            self.problem = one_line(error)
            self._changed.notify_all()
        if view is None:
            return
        # A request that MLflow calls wrong is tried twice, since it says the same of a run that was just deleted.
        if getattr(error, "error_code", None) in ("INVALID_PARAMETER_VALUE", "BAD_REQUEST"):
            self._refusals[view.identity] = self._refusals.get(view.identity, 0) + 1
        if self._refusals.get(view.identity, 0) < 2:
            with self._changed:
                self._pending.setdefault(view.identity, view)


def write_all(
    uri: str, experiment: str, sweep: SweepView, trials: Iterable[TrialView], end: End, outcome: Outcome = NO_OUTCOME
) -> None:
    """Makes MLflow equal to these views, in this thread; what it holds already is not written again.

    Runs of trials that are not among them stay, tagged as superseded.

    Raises:
        OutOfReach: MLflow could not be written; what was written before stays, and the same call goes on.
    """
    try:
        mirror = Mirror(open_client(uri), uri, experiment, sweep, {})
        written = set()
        for trial in trials:
            mirror.write(trial)
            written.add(trial.identity)
        mirror.supersede_all_but(written)
        mirror.show_progress()
        mirror.end(end)
        mirror.add(outcome)
    except Exception as error:  # MLflow raises anything
        raise OutOfReach(one_line(error)) from error
    if mirror.problem is not None:
        raise OutOfReach(mirror.problem)
