"""Downloads the original archives of a dataset, each checked by its MD5 (the only importer of pooch)."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

from orchestrator.data import FOLDER, way_in
from orchestrator.errors import DatasetError, HomeError
from orchestrator.url_secrets import masked
from trainers.datasets import recipe_of
from trainers.datasets.recipe import Archive, Progress, Recipe

DOWNLOADS = "downloads"
TIMEOUT_S = 20.0
"""How long a server may be silent."""
_CHUNK = 1 << 16
"""Bytes between two looks at the progress."""

OpenBar = Callable[[str], AbstractContextManager[Progress]]
"""Shows the download of the archive of that name: called with (bytes done, bytes in all)."""


def fetch_archives(home: Path, name: str, mirror: str | None, open_bar: OpenBar) -> Path:
    """Downloads the archives of a dataset that are not there yet.

    An archive is there where its MD5 is right, whoever put it there.

    Args:
        home: the home's folder; archives go to ``datasets/downloads`` in it.
        name: of the dataset.
        mirror: URL of a folder with the same archives; None for where they come from.
        open_bar: shows progress.

    Returns:
        The folder with all archives.

    Raises:
        ConfigError: no dataset of that name.
        DatasetError: it has no archives to download, or one could not be had; says what to do without a network.
        HomeError: the folder can't be written.
    """
    recipe = recipe_of(name)
    if not recipe.archives:
        raise DatasetError(_by_hand(home, name, recipe))
    if mirror is not None and not re.match("https?://[^/]", mirror):
        by_hand = f"a folder's archives are read by: orchestrate data import {name} --source FOLDER"
        raise DatasetError(f"--from {masked(mirror)}: must be an http:// or https:// URL; {by_hand}")
    folder = home.absolute() / FOLDER / DOWNLOADS
    absent = [archive for archive in recipe.archives if not _intact(folder / archive.name, archive.md5)]
    for archive in absent:
        url = archive.url if mirror is None else f"{mirror.rstrip('/')}/{archive.name}"
        reason = _download(url, archive, folder, open_bar)
        if reason:
            wanted = " and ".join(other.url for other in absent[absent.index(archive) :])
            way_out = f"try again later, or download {wanted} elsewhere into {folder} and give the same command again"
            raise DatasetError(f"{masked(url)}: {reason}; {way_out}")
    return folder


def _by_hand(home: Path, name: str, recipe: Recipe) -> str:
    if recipe.embedded:
        return f"{name}: there is nothing to fetch, it {way_in(home, name)}"
    origin = f"get its files by hand from {recipe.origin}" if recipe.origin else "its images are your own"
    return f"{name} can't be fetched: {origin}; then {way_in(home, name)}"


def _download(url: str, archive: Archive, folder: Path, open_bar: OpenBar) -> str:
    """Puts an archive into the folder, whole or not at all; gives the reason why not, empty where it did."""
    import pooch
    from requests import RequestException

    pooch.get_logger().setLevel(logging.WARNING)
    try:
        with open_bar(archive.name) as on_bytes:
            downloader = pooch.HTTPDownloader(_Bar(on_bytes), _CHUNK, timeout=TIMEOUT_S)
            pooch.retrieve(url, f"md5:{archive.md5}", archive.name, folder, downloader=downloader)
    except RequestException as error:
        return _reason(error)
    except ValueError:  # what pooch raises of the checksum, in several sentences
        return f"what came is not the official archive: its MD5 is not {archive.md5}"
    except OSError as error:
        raise HomeError(
            f"can't write {folder}: {error.strerror or error}; free space there or choose --home"
        ) from error
    return ""


def _intact(path: Path, md5: str) -> bool:
    from pooch import file_hash

    return path.is_file() and file_hash(str(path), "md5") == md5


def _reason(error: Exception) -> str:
    """What went wrong in a few words: the status, or the innermost cause that the system has words for."""
    from requests import HTTPError
    from requests.exceptions import ChunkedEncodingError

    if isinstance(error, HTTPError) and error.response is not None:
        return f"HTTP {error.response.status_code} {error.response.reason}"
    if isinstance(error, ChunkedEncodingError):
        return "the download was cut off"
    if isinstance(error, ValueError):
        return "not a URL that can be asked"
    words, cause = "no connection", error.__context__
    while cause is not None:
        if isinstance(cause, TimeoutError):
            return f"no answer within {TIMEOUT_S:g} s"
        if isinstance(cause, OSError) and cause.strerror:
            words = f"no connection ({cause.strerror})"
        cause = cause.__context__
    return words


class _Bar:
    """Progress as pooch reports it: chunks, the last one counted as a whole, and then all of it once more."""

    def __init__(self, on_bytes: Progress) -> None:
        self._on_bytes = on_bytes
        self.total = 0
        """Set by pooch; 0 where the server does not say."""
        self._done = 0

    def update(self, size: int) -> None:
        """So many bytes more."""
        self._done = min(self._done + size, self.total)
        if self.total:
            self._on_bytes(self._done, self.total)

    def reset(self) -> None:
        """Nothing to do: the bar never goes back."""

    def close(self) -> None:
        """Nothing to do: whoever opened the bar closes it."""
