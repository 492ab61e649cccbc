"""What a problem is: what its trials learn from, how they train and are tested, and what their score is called."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Literal, Protocol, TypeVar

from pydantic import BaseModel

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from torch import Tensor

    from trainers.snapshots import Progress

ConfigT = TypeVar("ConfigT", bound=BaseModel)


class Source(Protocol):
    """What the tasks of a trial are made from: the images of a dataset, or an environment."""

    @property
    def fingerprint(self) -> str:
        """Digest of all of it that can change a result: 20 hex digits."""


def with_minus(text: str) -> str:
    """A number for people: ``−0.6`` for ``-0.6``, and no sign before 0."""
    return (text.lstrip("+-") if float(text) == 0 else text).replace("-", "−")


def score_text(value: float, unit: str) -> str:
    """A score with one decimal, without its unit: a fraction as per cent, a return as it is: ``46.3``, ``−20.3``."""
    return with_minus(f"{100 * value if unit == '%' else value:.1f}")


@dataclass(frozen=True)
class Score:
    """What a problem judges its trials by. More of it is better."""

    word: str
    """``accuracy``"""
    words: str
    """``accuracies``"""
    column: str
    """Of an evaluation's record: the score of every test task."""
    validation: str
    """Metric of a row: the best validation so far, as a search maximizes it."""
    test: str
    """Metric of a row: its mean over the test's tasks; ``test_ci95``, half the width of its 95 % interval."""
    test_ci95: str
    unit: Literal["%", "return"]
    """How it is written, as ``orchestrator.stats`` has it: a fraction as per cent, a return as it is."""

    def number(self, value: float) -> str:
        """As ``score_text``."""
        return score_text(value, self.unit)

    def shown(self, value: float) -> float:
        """A value as its axis has it."""
        return 100 * value if self.unit == "%" else value

    def stored(self, shown: float) -> float:
        """The inverse of ``shown``."""
        return shown / 100 if self.unit == "%" else shown

    def heading(self, of: str) -> str:
        """Of a column: ``test, %``, ``test return``; a return says what it is where ``of`` names only the part."""
        if self.unit == "%":
            return f"{of}, %"
        return f"{of} {self.word}" if of.lower() in ("test", "validation") else of

    def axis(self, of: str) -> str:
        """Of a figure: ``test accuracy (%)``."""
        return f"{of} {self.word}{' (%)' * (self.unit == '%')}"

    @property
    def difference(self) -> Literal["points", "return"]:
        """How a difference of two is written."""
        return "points" if self.unit == "%" else "return"

    @property
    def suffix(self) -> str:
        """What stands behind a number of it."""
        return " %" if self.unit == "%" else ""

    def text(self, value: float) -> str:
        """A value with its unit: ``46.3 %``."""
        return self.number(value) + self.suffix


class Problem(ABC, Generic[ConfigT]):
    """One of the problems that a trial can be about. Its members import what they need when they are called."""

    score: ClassVar[Score]
    metrics: ClassVar[tuple[str, ...]]
    """Of a row, in the order of an export."""
    tested: ClassVar[Mapping[str, tuple[str, str]]]
    """Column of an evaluation's record -> metrics of a row: its mean over tasks, and half of its 95 % interval."""
    count: ClassVar[str]
    """Metric of a row: how many tasks its test has."""
    cost: ClassVar[tuple[str, str, float]]
    """Metric of what a training takes, its heading in a table, and the unit of that."""
    tasks_word: ClassVar[str]
    """What a test has many of, for people: ``episodes``."""
    held_back: ClassVar[str]
    """What they are of, for people: ``classes never seen in training``."""
    other_tasks: ClassVar[str]
    """What a test's interval holds for, for people: ``episodes of the same test classes``."""
    source_word: ClassVar[str]
    """What tasks are made from, for people: ``dataset``."""
    sources_share_a_scale: ClassVar[bool]
    """Whether scores of different sources can be compared, or stand on one axis."""
    needs_dataset: ClassVar[bool]
    """Whether its source is the file of a dataset: ``source`` has others."""
    uses_gpus: ClassVar[bool]
    """Whether a GPU makes its trials faster."""
    compares_trainings: ClassVar[bool]
    """Whether what two trainings have learned can be compared, image by image."""
    trainer_version: ClassVar[int]
    evaluation_version: ClassVar[int]

    @property
    def task_word(self) -> str:
        """One of ``tasks_word``."""
        return self.tasks_word.removesuffix("s")

    def source(self, name: str) -> Source:
        """What tasks are made from, by its name, where it is no file of a home.

        Raises:
            InputError: it can't be used on this machine; names the way out.
        """
        raise NotImplementedError(f"{name} is a file of a home")

    @abstractmethod
    def training_identity(self, config: ConfigT) -> dict[str, Any]:
        """What decides a training, without its length, seed and source: JSON values, defaults left out."""

    @abstractmethod
    def evaluation_identity(self, config: ConfigT) -> dict[str, Any]:
        """What decides an evaluation beside its training and source: JSON values."""

    @abstractmethod
    def resolved_training(self, config: ConfigT) -> dict[str, Any]:
        """Every value that a training runs with, spelled out, as JSON: for people who open a record."""

    @abstractmethod
    def train(
        self,
        config: ConfigT,
        source: Any,
        start: Progress | None = None,
        device: str = "cpu",
        due: Callable[[], bool] = lambda: False,
    ) -> Iterator[Progress]:
        """Trains, giving its progress at every validation, and in between wherever ``due`` asks for it.

        Raises:
            TrainingDiverged: something in it is not finite; names the iteration.
        """

    @abstractmethod
    def tested_together(self, config: ConfigT) -> Hashable:
        """What configs must share, beside their weights, to be tested by one call."""

    @abstractmethod
    def paired_by(self, config: ConfigT) -> Hashable:
        """What decides what task i of a test is: tests that share it are compared task by task."""

    @abstractmethod
    def evaluate(
        self, configs: Sequence[ConfigT], params: Mapping[str, Tensor], source: Any, device: str = "cpu"
    ) -> list[dict[str, npt.NDArray[np.float64]]]:
        """By column what is measured of every test task, in order, for each config; ``score.column`` is among them.

        Raises:
            AdaptationDiverged: one of them has nothing that can be measured; who wants the others asks one by one.
        """

    def measure(
        self, config: ConfigT, params: Mapping[str, Tensor], source: Any, device: str = "cpu"
    ) -> dict[str, npt.NDArray[np.float64]]:
        """What a config asks to be measured beside: columns as of ``evaluate``.

        Raises:
            AdaptationDiverged: there is nothing to compare.
        """
        return {}

    def is_timed(self, config: ConfigT) -> bool:
        """Whether a test measures seconds, so that its environment belongs to what it says."""
        return False

    @abstractmethod
    def costs(self, config: ConfigT, iterations: int, flops: float, source_shape: Any) -> dict[str, float]:
        """Metrics that follow from a config and its counted operations, whatever came of it.

        Args:
            config: of the trial.
            iterations: that it has done.
            flops: counted in them.
            source_shape: of an image of the dataset; None where it is not known, or there is none.
        """
