"""Finds, makes and opens homes: what a path or URL names, whether it can be used, and whether this version may."""

from __future__ import annotations

import os
import uuid
from pathlib import Path
from typing import Any

from pyarrow import fs

from orchestrator.errors import AbsentHome, HomeError, SilentHome
from orchestrator.home_objects import IDENTITY, Home, one_line
from orchestrator.patience import Patience
from orchestrator.seal import open_json, seal_json
from orchestrator.url_secrets import holds_secrets

SCHEMA = 1
"""Version of the layout. A home of another version is refused."""

PATIENCE_S = 4.0
"""How long a user waits for an object store that may not be there at all."""


def open_home(url: str, create: bool = True, patience_s: float = PATIENCE_S) -> Home:
    """The home at a path or URL.

    Args:
        url: a folder, or a URL of ``pyarrow.fs`` (``s3://bucket/path``).
        create: make it where there is none.
        patience_s: how long an object store may take.

    Raises:
        HomeError: there is none (and ``create`` is False), it can't be written, its object store does not answer, or
            its layout is of another version.
    """
    if "://" not in url:
        return _open(url, create)
    try:  # S3 tries for 6 s where the name is unknown, Google's store for 15 minutes
        return Patience(url, patience_s).ask(lambda: _open(url, create))
    except TimeoutError as error:
        way_out = "check the network, the name of the bucket and your credentials"
        raise SilentHome(f"--home {url}: {error.strerror}; {way_out}") from error


def _open(url: str, create: bool) -> Home:
    filesystem, root = _filesystem(url)
    home = Home(filesystem, root, url)
    try:
        record = _read_identity(home)
        if record is None:
            if not create:
                raise AbsentHome(f"--home {url}: no home there; `orchestrate sweep` makes one, or name another")
            home.put_first(IDENTITY, seal_json({"schema": SCHEMA, "id": uuid.uuid4().hex}))
            record = _read_identity(home)
        elif create:
            _check_writable(home)
    except (OSError, ValueError) as error:  # ValueError: what pyarrow calls a path that no filesystem of its has
        reason = getattr(error, "strerror", None) or str(error).splitlines()[0]
        raise HomeError(f"--home {url}: can't be used ({reason}); name a folder that you can write") from error
    if not isinstance(record, dict) or record.get("schema") != SCHEMA or not isinstance(record.get("id"), str):
        found = record.get("schema") if isinstance(record, dict) else record
        raise HomeError(
            f"--home {url}: home.json says schema {found!r}, this version reads {SCHEMA}; use the version that made it"
        )
    home.identified = True
    return home


def _read_identity(home: Home) -> Any:
    """What home.json says; None where there is none. Nothing could make it again, so damage ends everything here."""
    try:
        if home.obstructed(IDENTITY):
            raise ValueError("it is no file")
        data = home.read(IDENTITY)
        return None if data is None else open_json(data)
    except ValueError as error:
        raise HomeError(
            f"--home {home.url}: home.json is damaged ({one_line(str(error))}); put a copy back, or remove it to have "
            "another made: results stay, MLflow takes the sweeps for new ones"
        ) from error


def open_folder(path: str | Path) -> Home:
    """A local folder that is no home, so that objects can be put there as into one; made with the first of them."""
    return Home(fs.LocalFileSystem(), str(Path(path).expanduser().absolute()), str(path))


def existing_home(url: str) -> Home | None:
    """The home, or None where there is none yet and one can be made. Writes nothing.

    Raises:
        HomeError: as ``open_home``; what can be seen of a folder that can't be made, too.
    """
    try:
        return open_home(url, create=False)
    except AbsentHome:
        filesystem, root = _filesystem(url)
        if isinstance(filesystem, fs.LocalFileSystem):
            above = next(folder for folder in (Path(root), *Path(root).parents) if folder.exists())
            if not above.is_dir() or not os.access(above, os.W_OK):
                what = "can't be written" if above.is_dir() else "is not a folder"
                raise HomeError(f"--home {url}: {above} {what}; name a folder that you can write") from None
        return None


def _filesystem(url: str) -> tuple[fs.FileSystem, str]:
    if "://" not in url:
        if not url:
            raise HomeError("--home: empty; name a folder or a URL")
        try:
            return fs.LocalFileSystem(), str(Path(url).expanduser().absolute())
        except RuntimeError as error:
            raise HomeError(f"--home {url}: {str(error).rstrip('.')}; name a folder that you can write") from error
    if "@" in url or holds_secrets(url):
        raise HomeError("--home: a URL with credentials would end up in records and logs; give them by environment")
    try:
        filesystem, root = fs.FileSystem.from_uri(url)
    except (ValueError, OSError) as error:
        raise HomeError(
            f"--home {url}: {str(error).splitlines()[0]}; name a folder, or a URL such as s3://bucket/path"
        ) from error
    return filesystem, root


def _check_writable(home: Home) -> None:
    if home.local is not None:
        probe = home.local / f".probe-{uuid.uuid4().hex}"
        probe.touch()
        probe.unlink()
