"""Sweeps by name: the files that come with the package."""

from __future__ import annotations

import os
from pathlib import Path

PACKAGED = Path(__file__).parent.parent / "sweeps"


def find_spec(spec: str) -> Path:
    """The file of that path, or the one of that name (``quickstart``, ``paper/table1``) that comes with the package.

    Raises:
        SpecError: neither is there; the nearest name is given.
    """
    from orchestrator.errors import SpecError
    from trainers.registry import nearest

    path = Path(spec)
    packaged = {file.relative_to(PACKAGED).with_suffix("").as_posix(): file for file in PACKAGED.rglob("*.yaml")}
    if not path.parts or os.path.isfile(path) or path.suffix:  # Path's own raise where a name is too long
        return path
    if len(path.parts) > 1 and path.parts[0] not in _folders(packaged):
        return path
    if spec not in packaged:  # and where it is, a folder of that name (its data, say) is not in the way
        if os.path.exists(path):
            return path
        raise SpecError(f"{spec}: no such file, nor a sweep that comes with the package; {nearest(spec, packaged)}")
    return packaged[spec]


def _folders(names: dict[str, Path]) -> set[str]:
    return {name.partition("/")[0] for name in names if "/" in name}
