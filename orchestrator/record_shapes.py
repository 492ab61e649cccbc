"""What the JSON records of a home look like, so that one that is damaged, or made by somebody else, is refused where it
is read. Keys that a shape does not name are left alone: later versions may write more. Every number has bounds, far
beyond any that a sweep writes, within which all that is made of it can be calculated and stored.
"""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, RootModel, ValidationError

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,100}$")]
"""Becomes a folder."""
InnerPath = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-][A-Za-z0-9._-]*(/[A-Za-z0-9_-][A-Za-z0-9._-]*)*$")]
"""Of a file below the record's own folder: no part begins with a point, so none leads out of it."""
Iteration = Annotated[int, Field(ge=0, le=10**9)]
"""No training has more."""
IterationKey = Annotated[str, Field(pattern=r"^[0-9]{1,10}$")]
"""The same as a key of JSON."""
Count = Annotated[int, Field(ge=0, lt=2**63)]
"""Fits into a column of a table."""
Operations = Annotated[int, Field(ge=0, le=10**30)]
"""Floating-point operations; the largest trainings that anybody has made took 10^27."""
TimeMs = Annotated[int, Field(ge=0, lt=2**47)]
"""Since 1970; what a date can be made of."""
Amount = Annotated[float, Field(ge=-1e12, le=1e12)]
"""Of seconds, cores, or either a second."""
Spent = Annotated[float, Field(ge=0, le=1e12)]
"""Seconds."""


def _within_single_precision(value: float) -> float:
    if math.isfinite(value) and abs(value) > 1e39:
        raise ValueError("it is beyond all that is measured")
    return value


Measured = Annotated[float, AfterValidator(_within_single_precision)]
"""An accuracy, a return or a loss."""


class Record(BaseModel):
    """Base of the shapes."""

    model_config = ConfigDict(strict=True, extra="allow", frozen=True, allow_inf_nan=False)


class BestShape(Record):
    """The best validation of a head."""

    iteration: Iteration
    validation_accuracy: Measured


class ManifestShape(Record):
    """``trainings/<key>/manifest.json``"""

    attempt: Name
    files: dict[InnerPath, str]
    final: Iteration
    best: dict[str, BestShape]
    train_flops: Operations


class ConfigShape(Record):
    """``trainings/<key>/config.json``"""

    dataset_fingerprint: str


class FailureShape(Record):
    """``trainings/<key>/failure.json``"""

    cause: str


class AskedByShape(Record):
    """Who asked for an attempt."""

    sweep: str | None = None
    run: str | None = None
    git_commit: str | None = None


class EnvironmentShape(Record):
    """What decides the bits of an attempt: exactly this, since two environments are one where all of it is equal."""

    model_config = ConfigDict(extra="forbid")

    device: str
    instruction_set: str
    torch: str
    threads: Annotated[int, Field(ge=0, le=10**6)]


class AttemptShape(Record):
    """``trainings/<key>/attempts/<id>/attempt.json``"""

    attempt: Name
    asked_by: AskedByShape
    evaluations: list[str] = []
    state: str
    failure: str | None = None
    cause: str | None = None
    after: Count = 0
    started_ms: TimeMs
    ended_ms: TimeMs | None
    resumed_at: Iteration = 0
    validated_ms: dict[IterationKey, TimeMs]
    train_seconds: Spent = 0.0
    cpu_seconds: Spent = 0.0
    environment: EnvironmentShape | None
    versions: dict[str, str]
    node: str = ""


class EvaluationShape(Record):
    """Header of ``trainings/<key>/evaluations/<key>.arrow``"""

    weights_sha256: str
    timed_on: EnvironmentShape | None = None


class AnalysisShape(Record):
    """Header of ``analyses/<key>/scores.arrow``"""

    weights_sha256: list[str]


class ValidationShape(Record):
    """A point of a curve. What was measured may be no number: a training that diverges has a curve up to there."""

    model_config = ConfigDict(allow_inf_nan=True)

    iteration: Iteration
    train_loss: Measured
    train_accuracy: Measured
    validation_loss: Measured
    validation_accuracy: dict[str, Measured]
    others: dict[str, Measured] = {}


class CurveShape(Record):
    """The header of ``progress.safetensors``."""

    curve: list[ValidationShape]
    flops: Operations = 0


class CutoffsShape(Record):
    """The cut-offs in ``sweeps/<name>/proposals/<n>.json``."""

    cutoffs: list[Annotated[tuple[Iteration, Measured], Field(strict=False)]] = []
    """(rung, value)"""


class FingerprintsShape(RootModel[dict[str, Annotated[str, Field(pattern="^[0-9a-f]{20}$")]]]):
    """``sweeps/<name>/datasets.json``"""


class RunShape(Record):
    """``sweeps/<name>/run.json``"""

    run: str


class UsedShape(Record):
    """``sweeps/<name>/runs/<id>.json``"""

    seconds: Spent
    gpu_seconds: Spent


class BegunShape(Record):
    """``sweeps/<name>/begun/<key>.json``"""

    begun: list[Annotated[str, Field(pattern="^[^/]+/[^/]+$")]]


class LiveTrialShape(Record):
    """A trial in ``sweeps/<name>/live.json``"""

    number: Count
    state: Literal["planned", "running", "completed", "pruned", "failed"]
    label: str
    iteration: Iteration
    iterations: Iteration
    validation_accuracy: Measured | None
    test_accuracy: Measured | None
    unit: Literal["%", "return"] = "%"
    error: str | None
    seconds: Amount
    confirms: Count | None


class LiveCountsShape(Record):
    """Trials by state in ``sweeps/<name>/live.json``"""

    planned: Count
    completed: Count
    pruned: Count
    failed: Count
    running: Count
    cached: Count


class LiveResourcesShape(Record):
    """Resources in ``sweeps/<name>/live.json``"""

    cpu: Amount
    cpus: Amount
    gpu: Amount
    gpus: Amount
    nodes: list[Annotated[str, Field(pattern="^[A-Za-z0-9_.:-]+$")]]
    memory_used_bytes: Count | None
    memory_bytes: Count | None


class LiveStatusShape(Record):
    """How a sweep stands in ``sweeps/<name>/live.json``"""

    state: Literal["running"]
    trials: LiveCountsShape
    best_trial: LiveTrialShape | None
    lines: list[LiveTrialShape]
    compared: Count
    to_compare: Count
    elapsed_s: Amount
    left_s: Amount | None
    iterations_per_s: Amount | None
    trials_per_h: Amount | None
    resources: LiveResourcesShape | None


class LiveShape(Record):
    """``sweeps/<name>/live.json``"""

    run: str
    beat: Count
    over: bool
    status: LiveStatusShape | None


class TrackingShape(Record):
    """``sweeps/<name>/tracking.json``"""

    uri: str | None
    synced: bool


class TrackedShape(Record):
    """``sweeps/<name>/tracked.json``"""

    run: str
    digest: str


class ReportShape(Record):
    """``report.json`` of a report's folder."""

    files: list[InnerPath]


def shaped(value: Any, shape: type[BaseModel] | None) -> Any:
    """The JSON value itself.

    Raises:
        ValueError: it has not this shape; says where.
    """
    try:
        if shape is not None:
            shape.model_validate(value)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"])) or "all of it"
        raise ValueError(f"{place}: {first['msg']}") from None
    return value
