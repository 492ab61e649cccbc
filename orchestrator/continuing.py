"""Takes a sweep up where an earlier run left it, also one whose records were damaged: its spec and its data."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from orchestrator.data import data_folder, ensure_dataset, versions_of
from orchestrator.errors import InputError, SpecError
from orchestrator.inputs import configs_of, continued, datasets_of, sources_of
from orchestrator.record import SweepRecord
from orchestrator.search.proposals import default_window
from orchestrator.search.searcher import window_behind
from orchestrator.spec import SweepSpec
from trainers.config import TrialConfig
from trainers.datasets.image_file import ImageTable, open_image_file
from trainers.episodes import check_data
from trainers.problem import Source


def take_up(
    spec: SweepSpec,
    record: SweepRecord,
    slots: Callable[[], int],
    home_url: str,
    on_build: Callable[[int, int], None],
) -> tuple[SweepSpec, dict[str, Source]]:
    """The spec to run and its data by name, both recorded; for the one driver that holds the sweep's lock.

    Args:
        spec: as asked.
        record: of the sweep.
        slots: how many trials run at once, which decides the window of a new search; asked only for one.
        home_url: where the data are.
        on_build: gets (images done, images in all) while an embedded dataset is built.

    Raises:
        InputError: another spec has that name, or the data that the sweep began with is gone or not known.
    """
    known, pinned = record.spec, record.fingerprints
    spec = continued(spec, known)
    if known is None:
        spec = _found_again(spec, record)
    elif not pinned:
        _check_only_version(spec, home_url)
    data = _open_data(home_url, spec, pinned, on_build)
    if spec.search is not None and spec.search.window is None:
        search = spec.search.model_copy(update={"window": default_window(slots())})
        spec = spec.model_copy(update={"search": search})
    record.put_spec(spec, {name: table.fingerprint for name, table in data.items()})
    return spec, data


def _found_again(spec: SweepSpec, record: SweepRecord) -> SweepSpec:
    """The spec to run where none is stored: as asked; where a damaged one has left proposals, with their window.

    Raises:
        SpecError: the proposals are those of another search.
    """
    first = next(iter(record.proposals()), None)
    if spec.search is None or first is None or first.number != 0:
        return spec
    window = window_behind(spec.search, first)
    if window is None:
        raise SpecError(
            f"sweep {spec.name!r}: its spec.yaml is lost, and it has proposals of another search; give the file that "
            "it began with, or choose another --name"
        )
    return spec.model_copy(update={"search": spec.search.model_copy(update={"window": window})})


def _check_only_version(spec: SweepSpec, home_url: str) -> None:
    """Refuses to guess, where its datasets.json is lost, which data a sweep began with."""
    for name in datasets_of(spec):
        versions = versions_of(data_folder(home_url), name)
        if len(versions) > 1:
            raise InputError(
                f"sweep {spec.name!r}: its datasets.json is lost, and the home has {len(versions)} versions of {name} "
                f"({', '.join(sorted(versions))}); leave only the one that it began with, or choose another --name"
            )


def _open_data(
    home_url: str, spec: SweepSpec, pinned: Mapping[str, str], on_build: Callable[[int, int], None]
) -> dict[str, Source]:
    """The datasets of a sweep, mapped: those it began with, or the newest; an embedded one is built where absent.

    Raises:
        DatasetError: a dataset is absent, damaged, or too small for the sweep's episodes.
        InputError: the data that the sweep began with is gone.
    """
    folder = data_folder(home_url)
    tables: dict[str, ImageTable] = {}
    found: dict[str, Source] = {}
    for name, problem in sources_of(spec).items():
        if problem.needs_dataset:
            found[name] = tables[name] = open_image_file(ensure_dataset(folder, name, on_build, pinned.get(name)))
            noun, way_out = "dataset", "import the old one again, or choose"
        else:
            found[name] = problem.source(name)
            noun, way_out = "environment", "choose"
        if name in pinned and found[name].fingerprint != pinned[name]:
            raise InputError(
                f"{noun} {name!r} has changed since sweep {spec.name!r} began ({pinned[name]} is gone, "
                f"{found[name].fingerprint} is there); {way_out} another --name"
            )
    for config in configs_of(spec):
        if isinstance(config, TrialConfig):
            check_data(config, tables[config.source], spec.grid.between if spec.grid else None)
    return found
