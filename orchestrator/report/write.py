"""Writes the report on a study: into its home, or into a folder."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module

from orchestrator.errors import HomeError, InputError
from orchestrator.home import open_folder
from orchestrator.home_objects import Home
from orchestrator.record_shapes import ReportShape
from orchestrator.report import PARTS
from orchestrator.report.formats import FORMATS
from orchestrator.report.markdown_page import markdown_page
from orchestrator.report.page import page
from orchestrator.report.part import Figure, Table
from orchestrator.report.provenance import provenance
from orchestrator.report.relations import JudgedRelation, judged_relations
from orchestrator.results import Study
from orchestrator.spec_file import spec_to_yaml

LISTING = "report.json"
"""Names the files of a report: those that the next one lacks are removed, and nothing else in the folder is."""


@dataclass(frozen=True)
class WrittenReport:
    """Where the files of a report are."""

    place: str
    """Folder or URL."""
    files: tuple[str, ...]
    """Paths below it."""
    relations: tuple[JudgedRelation, ...]

    def below(self, folder: str) -> list[str]:
        """Full paths of the files in ``tables`` or ``figures``."""
        return [f"{self.place}/{name}" for name in self.files if name.startswith(f"{folder}/")]


def write_report(study: Study, home: Home, output: str | None = None) -> WrittenReport:
    """Writes tables, figures, ``report.md``, ``index.html`` and the sweep's file; takes the place of an earlier report.

    Args:
        study: what to report.
        home: where the study is stored; the report goes to ``sweeps/<name>/report`` there.
        output: a local folder instead.

    Raises:
        InputError: the place can't be written.
    """
    if output == "":
        raise InputError("--output: empty; name a folder, or leave it out")
    relations = judged_relations(study)
    files = dict(_files(study, relations))
    target, folder = (home, f"sweeps/{study.spec.name}/report/") if output is None else (open_folder(output), "")
    try:
        _replace(target, folder, files)
    except OSError as error:
        reason = error.strerror or str(error).splitlines()[0]
        if output is None:
            raise HomeError(f"--home {home.url}: can't be written ({reason}); name a folder with --output") from error
        raise InputError(f"--output {output}: {reason}; name a folder that can be written") from error
    return WrittenReport(f"{target.url.rstrip('/')}/{folder}".rstrip("/"), tuple(files), tuple(relations))


def make_parts(study: Study) -> list[Table | Figure]:
    """All tables and figures that apply to a study, in the order of the page."""
    made: list[Table | Figure] = []
    for place in PARTS.values():
        module, _, function = place.partition(":")
        made += getattr(import_module(module), function)(study)
    return made


def report_files(study: Study) -> tuple[dict[str, bytes], list[JudgedRelation]]:
    """The files of a report by their paths, and what it judges; nothing is written."""
    relations = judged_relations(study)
    return dict(_files(study, relations)), relations


def _files(study: Study, relations: Sequence[JudgedRelation]) -> Iterator[tuple[str, bytes]]:
    parts, source = make_parts(study), provenance(study)
    for part in parts:
        if isinstance(part, Table):
            for ending, write in FORMATS:
                yield f"tables/{part.name}.{ending}", write(part).encode()
        else:
            yield f"figures/{part.name}.svg", part.svg.encode()
            yield f"figures/{part.name}.png", part.png
    yield "spec.yaml", spec_to_yaml(study.spec).encode()
    yield "report.md", markdown_page(parts, source, relations).encode()
    yield "index.html", page(study, parts, source).encode()


def _replace(target: Home, folder: str, files: dict[str, bytes]) -> None:
    """Puts the files and removes those of an earlier report; a kill between leaves a listing of both."""
    listing = f"{folder}{LISTING}"
    before = list((target.read_json(listing, ReportShape) or {}).get("files", []))
    target.put_json(listing, {"files": sorted({*before, *files})})
    for name, data in files.items():
        target.put(f"{folder}{name}", data)
    for name in before:
        if name not in files:
            target.remove(f"{folder}{name}")
    target.put_json(listing, {"files": sorted(files)})
