"""The home: whole objects, first puts, and refusals in one line."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import stat
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pyarrow import fs

from orchestrator.errors import AbsentHome, HomeError, SilentHome
from orchestrator.home import open_home
from orchestrator.home_objects import Home


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return open_home(str(tmp_path / "home"))


def test_put_and_read(home: Home) -> None:
    assert home.read("a/b.json") is None
    home.put("a/b.json", b"one")
    home.put("a/b.json", b"two")
    assert home.read("a/b.json") == b"two"
    assert home.names("a") == ["b.json"]
    assert home.names("nothing") == []


def test_the_first_put_wins(home: Home) -> None:
    assert home.put_first("a/m.json", b"first")
    assert not home.put_first("a/m.json", b"second")
    assert home.read("a/m.json") == b"first"
    assert os.listdir(home.local / "a") == ["m.json"]  # no temporary file stays


def test_the_first_put_wins_on_a_disk_without_links(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    def link(source: Path, target: str) -> None:
        raise OSError(failure, os.strerror(failure))

    monkeypatch.setattr(os, "link", link)
    failure = errno.EPERM
    assert home.put_first("a/m.json", b"first")
    assert not home.put_first("a/m.json", b"second")
    assert home.read("a/m.json") == b"first"
    failure = errno.ENOSPC
    with pytest.raises(OSError, match="No space"):
        home.put_first("a/n.json", b"third")
    assert os.listdir(home.local / "a") == ["m.json"]


def test_the_first_of_many_racing_puts_wins_for_all(home: Home) -> None:
    wins: list[bytes] = []

    def put(value: bytes) -> None:
        if home.put_first("race", value):
            wins.append(value)

    threads = [threading.Thread(target=put, args=(str(number).encode(),)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(wins) == 1
    assert home.read("race") == wins[0]


def test_a_failed_put_leaves_the_old_object_and_no_temporary(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    home.put("a/x", b"old")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space") as failure:
        home.put("a/x", b"new")
    assert failure.value.filename == str(home.local / "a" / "x")
    monkeypatch.undo()
    assert home.read("a/x") == b"old"
    assert os.listdir(home.local / "a") == ["x"]


@pytest.mark.parametrize("put", [Home.put, Home.put_first])
def test_a_put_is_on_the_disk_before_and_after_it_gets_its_name(
    home: Home, monkeypatch: pytest.MonkeyPatch, put: Callable[[Home, str, bytes], Any]
) -> None:
    """Else a power failure leaves the name of something that is not whole, or takes back what counts as done."""
    steps: list[str] = []

    def noted(step: Callable[..., Any], name_of: Callable[[Any], str]) -> Callable[..., Any]:
        def taken(*arguments: Any) -> Any:
            steps.append(name_of(arguments[0]))
            return step(*arguments)

        return taken

    def flushed(descriptor: int) -> str:
        return "folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "content"

    monkeypatch.setattr(os, "fsync", noted(os.fsync, flushed))
    for name in ("replace", "link"):
        monkeypatch.setattr(os, name, noted(getattr(os, name), lambda _: "name"))
    put(home, "a/x", b"1")
    assert steps == ["content", "name", "folder"]


def test_a_disk_that_flushes_no_folders(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.fsync

    def files_only(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "Invalid argument")
        real(descriptor)

    monkeypatch.setattr(os, "fsync", files_only)
    home.put("a/x", b"1")
    assert home.put_first("a/y", b"2")
    assert (home.read("a/x"), home.read("a/y")) == (b"1", b"2")


@pytest.mark.parametrize("put", [Home.put, Home.put_first])
def test_a_home_whose_disk_is_unmounted_gets_nothing(home: Home, put: Callable[[Home, str, bytes], Any]) -> None:
    """What is left of it is the empty folder on which it was mounted."""
    home.put("a/x", b"1")
    shutil.rmtree(home.local)
    home.local.mkdir()
    for its in (home, home.mending(print)):
        with pytest.raises(FileNotFoundError, match="is not there any more") as caught:
            put(its, "a/x", b"2")
        assert caught.value.filename == home.url
    assert list(home.local.iterdir()) == []


def test_an_unfinished_temporary_is_not_an_object(home: Home) -> None:
    home.put("a/x", b"whole")
    (home.local / "a" / ".y.0123").write_bytes(b"part")
    assert home.names("a") == ["x"]


def test_the_id_stays(home: Home) -> None:
    assert open_home(home.url).id == home.id
    assert len(home.id) == 32


def test_absent_home_is_not_made_by_readers(tmp_path: Path) -> None:
    with pytest.raises(AbsentHome, match="orchestrate sweep"):
        open_home(str(tmp_path / "none"), create=False)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "content", ['{"schema": 2, "id": "x"}', '{"schema": 1}', "[]", "{not json"], ids=["later", "no id", "list", "torn"]
)
def test_another_schema_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "home.json").write_text(content)
    with pytest.raises(HomeError) as caught:
        open_home(str(tmp_path))
    assert "home.json" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert (tmp_path / "home.json").read_text() == content


@pytest.mark.parametrize("url", ["", "nope://x/y", "s3://", "s3://KEY:SECRET@bucket/x"])
def test_urls_that_are_none(url: str) -> None:
    with pytest.raises(HomeError) as caught:
        open_home(url)
    assert "--home" in str(caught.value)
    assert "SECRET" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_object_store_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    answer = threading.Event()

    def mute(url: str) -> None:
        answer.wait()
        raise HomeError("too late")

    monkeypatch.setattr("orchestrator.home._filesystem", mute)
    with pytest.raises(SilentHome, match=r"--home s3://bucket/x: no answer within 0.1 s; check the network"):
        open_home("s3://bucket/x", patience_s=0.1)
    answer.set()
    with pytest.raises(HomeError, match="too late"):
        open_home("s3://bucket/x", patience_s=60)


def test_a_file_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(HomeError, match="can't be used"):
        open_home(str(tmp_path / "file" / "home"))


def test_other_filesystems_hold_the_same_objects(tmp_path: Path) -> None:
    """The path that object stores take, on a filesystem that has no links and no rename of ours."""
    remote = Home(fs.SubTreeFileSystem(str(tmp_path), fs.LocalFileSystem()), "bucket", "memory://bucket")
    (tmp_path / "bucket" / "a").mkdir(parents=True)
    assert remote.local is None
    remote.put("a/x", b"1")
    assert not remote.put_first("a/x", b"2")
    assert remote.put_first("a/y", b"3")
    assert (remote.read("a/x"), remote.names("a")) == (b"1", ["x", "y"])
    remote.put_json("a/z", {"b": 1})
    assert json.loads((tmp_path / "bucket" / "a" / "z").read_text())["b"] == 1
    assert remote.read_json("a/z") == {"b": 1}


def test_an_interrupt_leaves_a_whole_object(tmp_path: Path) -> None:
    """Where a put is open, write, close: Arrow closes what is dropped, and an empty object would be put."""

    class Interrupted(fs.SubTreeFileSystem):
        def open_output_stream(self, path: str) -> Any:
            stream = super().open_output_stream(path)
            signal.raise_signal(signal.SIGINT)
            return stream

    (tmp_path / "bucket").mkdir()
    home = Home(Interrupted(str(tmp_path), fs.LocalFileSystem()), "bucket", "memory://bucket")
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # jobs in the background of a shell ignore it
    try:
        with pytest.raises(KeyboardInterrupt):
            home.put("x", b"whole")
    finally:
        signal.signal(signal.SIGINT, before)
    assert home.read("x") == b"whole"


def test_a_put_that_fails_leaves_the_old_object_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = open_home(str(tmp_path / "home"))
    home.put("a/b", b"old")

    def full(source: object, target: object) -> None:
        assert Path(str(source)).read_bytes() == b"new", "all of it is written before it takes the place"
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="No space left"):
        home.put("a/b", b"new")
    assert home.read("a/b") == b"old"
    assert [path.name for path in (tmp_path / "home" / "a").iterdir()] == ["b"]
