"""A folder and a zip are the same to an import, and neither can lead it astray."""

from __future__ import annotations

import os
import pickle
import zipfile
from pathlib import Path

import pytest
from miniature import write_folder, write_zip

from trainers.datasets.source import DEEPEST, LARGEST_FILE, Source
from trainers.errors import DatasetError

FILES = {"b/2.txt": b"two", "a/1.txt": b"one", "read me.md": b"\xef\xbb\xbfhello", "é/ü.txt": b""}
HIDDEN = {".DS_Store": b"x", "__MACOSX/a/._1.txt": b"x", "a/.hidden/3.txt": b"x"}


@pytest.fixture(params=["folder", "zip"])
def source(request: pytest.FixtureRequest, tmp_path: Path) -> Source:
    write = {"folder": write_folder, "zip": write_zip}[request.param]
    return Source(write(tmp_path / "source", FILES | HIDDEN))


def test_names_are_sorted_and_hidden_ones_left_out(source: Source) -> None:
    assert list(source.sizes.items()) == [(name, len(FILES[name])) for name in sorted(FILES)]


def test_reads(source: Source) -> None:
    for name, content in FILES.items():
        assert source.read(name) == content
    assert source.read_text("read me.md") == "hello"
    with pytest.raises(DatasetError, match=r"source/absent can't be read .*; mend that"):
        source.read("absent")


def test_another_process_opens_it_anew(source: Source) -> None:
    source.read("a/1.txt")
    data = pickle.dumps([source, source])
    assert len(data) < 500
    copies = pickle.loads(data)
    assert copies[0] is copies[1] is pickle.loads(data)[0]
    assert copies[0].read("a/1.txt") == b"one"


def test_empty_folders_are_known(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "folder", FILES)
    (folder / "c" / "d").mkdir(parents=True)
    (folder / ".git").mkdir()
    assert Source(folder).empty_folders == ("c/d",)
    assert Source(write_zip(tmp_path / "zip", FILES | {"c/": b"", "c/d/": b"", "a/": b""})).empty_folders == ("c/d",)


def refused(path: Path) -> str:
    with pytest.raises(DatasetError) as caught:
        _ = Source(path).sizes
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("name", ["../x.png", "a/../../x.png", "/etc/x.png", "..\\x.png", "C:\\x.png", "c:/x.png"])
def test_names_that_lead_outside_are_refused(tmp_path: Path, name: str) -> None:
    assert f"unsafe name {name!r}" in refused(write_zip(tmp_path / "bad.zip", {"good.png": b"", name: b"x"}))


def test_a_truncated_zip_is_refused(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "cut.zip", {"a.png": bytes(500)})
    data = path.read_bytes()
    for size in (0, 10, len(data) // 2, len(data) - 1):
        path.write_bytes(data[:size])
        assert "is no readable zip" in refused(path)


def test_too_large_a_file_is_refused_before_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "bomb.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("big.png", bytes(LARGEST_FILE + 1))
    assert f"is of {LARGEST_FILE + 1} bytes" in refused(path)
    folder = write_folder(tmp_path / "folder", {"big.png": b""})
    os.truncate(folder / "big.png", LARGEST_FILE + 1)
    assert f"is of {LARGEST_FILE + 1} bytes" in refused(folder)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_name_twice_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "twice.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for content in (b"1", b"2"):
            archive.writestr("a.png", content)
    assert "'a.png' twice" in refused(path)


def test_a_damaged_or_encrypted_member_is_refused(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "bad.zip", {"a.png": b"payload"})
    good = path.read_bytes()
    path.write_bytes(good.replace(b"payload", b"pAyload"))
    with pytest.raises(DatasetError, match=r"bad.zip/a.png can't be read \(Bad CRC-32"):
        Source(path).read("a.png")
    central = good.index(b"PK\x01\x02")
    path.write_bytes(good[: central + 8] + b"\x01" + good[central + 9 :])
    with pytest.raises(DatasetError, match=r"a.png can't be read .*encrypted"):
        Source(path).read("a.png")


def test_links_are_followed_and_may_not_lead_in_a_circle(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "folder", {"a/1.png": b"one"})
    (tmp_path / "link").symlink_to(folder)
    assert list(Source(tmp_path / "link").sizes) == ["a/1.png"]
    (folder / "b").symlink_to(folder / "a")
    assert list(Source(folder).sizes) == ["a/1.png", "b/1.png"]
    (folder / "a" / "again").symlink_to(folder)
    assert f"deeper than {DEEPEST} folders" in refused(folder)
    (folder / "a" / "again").unlink()
    (folder / "a" / "2.png").symlink_to("nowhere")
    assert "2.png is neither file nor folder" in refused(folder)


def test_what_is_absent_is_refused(tmp_path: Path) -> None:
    assert "no such file or folder" in refused(tmp_path / "absent")
