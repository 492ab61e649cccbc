"""Does analyses in a worker: loads the weights of both trainings, compares them, records what came of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from orchestrator.analyses import Analysis, put_scores, weights_file
from orchestrator.failure import failure_of
from orchestrator.store import Keys, Store
from trainers.between_trainings import Side, similarities
from trainers.config import TrialConfig
from trainers.datasets.image_file import ImageTable
from trainers.snapshots import DamagedSnapshot, Weights


def attempt_analyses(
    store: Store, analyses: Sequence[Analysis], data: ImageTable, device: str = "cpu"
) -> Iterator[dict[str, Any]]:
    """Does and records analyses on one set of points.

    Never raises. The one event is ``{"kind": "compared", "analyses": count}``, or a failure of them; some of them may
    be recorded then. A network that is not finite is recorded so, as NaN: it would be again. A training whose weights
    are gone or damaged counts as incomplete from then on.
    """
    try:
        _compare(store, analyses, data, device)
    except Exception as error:  # whatever it is, it is theirs and not the sweep's
        yield failure_of(error).event("failed")
    else:
        yield {"kind": "compared", "analyses": len(analyses)}


def _compare(store: Store, analyses: Sequence[Analysis], data: ImageTable, device: str) -> None:
    sides: dict[tuple[str, str], Side] = {}
    for analysis in analyses:
        for (name, config), keys in zip(analysis.networks.items(), analysis.keys, strict=True):
            if name not in sides:
                sides[name] = Side(config, _params(store, config, keys))
    places = {name: place for place, name in enumerate(sides)}
    pairs = [(places[one], places[other]) for one, other in (analysis.networks for analysis in analyses)]
    found = similarities(list(sides.values()), pairs, data, analyses[0].between, device)
    for analysis, scores in zip(analyses, found, strict=True):
        put_scores(store, analysis, scores)


def _params(store: Store, config: TrialConfig, keys: Keys) -> Mapping[str, Any]:
    file = weights_file(store, config, keys)
    data = store.read_file(*file) if file else None
    if data is None:
        training = file[0] if file else keys.training
        store.set_training_aside(training, "its weights are gone or damaged")
        raise DamagedSnapshot(
            f"the weights of training {training} are gone or damaged; the same command trains it again"
        )
    return Weights.from_bytes(data).params
