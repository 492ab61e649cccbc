"""What the JSON records of a home look like, so that one that is damaged, or made by somebody else, is refused where it
is read. Keys that a shape does not name are left alone: later versions may write more.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, RootModel, ValidationError

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,100}$")]
"""Becomes a folder."""
InnerPath = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-][A-Za-z0-9._-]*(/[A-Za-z0-9_-][A-Za-z0-9._-]*)*$")]
"""Of a file below the record's own folder: no part begins with a point, so none leads out of it."""


class Record(BaseModel):
    """Base of the shapes."""

    model_config = ConfigDict(strict=True, extra="allow", frozen=True)


class BestShape(Record):
    """The best validation of a head."""

    iteration: int
    validation_accuracy: float


class ManifestShape(Record):
    """``trainings/<key>/manifest.json``"""

    attempt: Name
    files: dict[InnerPath, str]
    final: int
    best: dict[str, BestShape]
    train_flops: int


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
    threads: int


class AttemptShape(Record):
    """``trainings/<key>/attempts/<id>/attempt.json``"""

    attempt: Name
    asked_by: AskedByShape
    evaluations: list[str] = []
    state: str
    failure: str | None = None
    cause: str | None = None
    after: int = 0
    started_ms: Annotated[int, Field(ge=0, lt=2**47)]
    ended_ms: int | None
    resumed_at: int = 0
    validated_ms: dict[str, int]
    train_seconds: float = 0.0
    cpu_seconds: float = 0.0
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
    """A point of a curve."""

    iteration: int
    train_loss: float
    train_accuracy: float
    validation_loss: float
    validation_accuracy: dict[str, float]
    others: dict[str, float] = {}


class CurveShape(Record):
    """The header of ``progress.safetensors``."""

    curve: list[ValidationShape]
    flops: int = 0


class CutoffsShape(Record):
    """The cut-offs in ``sweeps/<name>/proposals/<n>.json``."""

    cutoffs: list[Annotated[tuple[int, float], Field(strict=False)]] = []
    """(rung, value)"""


class FingerprintsShape(RootModel[dict[str, Annotated[str, Field(pattern="^[0-9a-f]{20}$")]]]):
    """``sweeps/<name>/datasets.json``"""


class RunShape(Record):
    """``sweeps/<name>/run.json``"""

    run: str


class UsedShape(Record):
    """``sweeps/<name>/runs/<id>.json``"""

    seconds: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    gpu_seconds: Annotated[float, Field(ge=0, allow_inf_nan=False)]


class BegunShape(Record):
    """``sweeps/<name>/begun/<key>.json``"""

    begun: list[Annotated[str, Field(pattern="^[^/]+/[^/]+$")]]


class LiveTrialShape(Record):
    """A trial in ``sweeps/<name>/live.json``"""

    number: int
    state: Literal["planned", "running", "completed", "pruned", "failed"]
    label: str
    iteration: int
    iterations: int
    validation_accuracy: float | None
    test_accuracy: float | None
    unit: Literal["%", "return"] = "%"
    error: str | None
    seconds: float
    confirms: int | None


class LiveCountsShape(Record):
    """Trials by state in ``sweeps/<name>/live.json``"""

    planned: int
    completed: int
    pruned: int
    failed: int
    running: int
    cached: int


class LiveResourcesShape(Record):
    """Resources in ``sweeps/<name>/live.json``"""

    cpu: float
    cpus: float
    gpu: float
    gpus: float
    nodes: list[Annotated[str, Field(pattern="^[A-Za-z0-9_.:-]+$")]]
    memory_used_bytes: int | None
    memory_bytes: int | None


class LiveStatusShape(Record):
    """How a sweep stands in ``sweeps/<name>/live.json``"""

    state: Literal["running"]
    trials: LiveCountsShape
    best_trial: LiveTrialShape | None
    lines: list[LiveTrialShape]
    compared: int
    to_compare: int
    elapsed_s: float
    left_s: Annotated[float, Field(allow_inf_nan=False)] | None
    iterations_per_s: float | None
    trials_per_h: float | None
    resources: LiveResourcesShape | None


class LiveShape(Record):
    """``sweeps/<name>/live.json``"""

    run: str
    beat: int
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
