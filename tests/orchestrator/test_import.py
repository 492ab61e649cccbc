"""``orchestrate data import`` and ``verify`` as a user runs them: what they print, refuse, and leave behind."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from miniature import Files, cifar100, folder, mini_imagenet, picture, write_zip
from PIL import Image

ORCHESTRATE = Path(sys.executable).parent / "orchestrate"
DEADLINE_S = 60


def orchestrate(home: Path, *arguments: str, most_bytes: int | None = None) -> subprocess.CompletedProcess[str]:
    """The command's end; a file it writes has at most so many bytes."""

    def limit() -> None:
        if most_bytes is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, most_bytes))

    return subprocess.run(
        [ORCHESTRATE, *arguments, "--home", home], capture_output=True, text=True, timeout=120, preexec_fn=limit
    )


def content(home: Path) -> dict[str, bytes]:
    return {str(path.relative_to(home)): path.read_bytes() for path in home.rglob("*") if path.is_file()}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write_zip(tmp_path / "birds.zip", folder())


def test_says_what_was_imported_and_a_sweep_takes_it(tmp_path: Path, source: Path) -> None:
    home = tmp_path / "home"
    done = orchestrate(home, "data", "import", "folder.birds", "--source", str(source), "--size", "20", "--grey")
    assert done.returncode == 0, done.stderr
    (path,) = (home / "datasets").iterdir()
    assert done.stdout.splitlines() == [
        "folder.birds: 40 images, 10 classes of 4, 20x20x1, 0.0 MiB",
        "  split classes: 6 train, 2 validation, 2 test",
        f"  {path}",
    ]
    listed = json.loads(orchestrate(home, "data", "list", "--json").stdout)["datasets"]
    row = next(row for row in listed if row["name"] == "folder.birds")
    assert (row["images"], row["images_per_class"], row["shape"]) == (40, [4, 4], [20, 20, 1])
    assert row["splits"] == {"classes": {"train": 6, "validation": 2, "test": 2}}

    spec = tmp_path / "birds.yaml"
    episodes = "episodes: {ways: 2, shots: 1, queries: 3}"
    search = "search: {trials: 2, space: {algorithm.name: {choice: [maml, anil]}}}"
    spec.write_text(f"trial: {{dataset: {{name: folder.birds}}, {episodes}}}\n{search}\n")
    assert orchestrate(home, "sweep", str(spec), "--dry-run").returncode == 0
    for asked, said in (
        ("episodes.ways=3", "test has 2 classes, too few for 3 ways"),
        ("episodes.queries=4", "has 4 images, fewer than shots + queries = 5"),
    ):
        done = orchestrate(home, "sweep", str(spec), "--dry-run", "--set", asked)
        assert done.returncode == 2
        assert said in done.stderr
        assert len(done.stderr.splitlines()) == 1


def test_the_same_again_changes_nothing(tmp_path: Path, source: Path) -> None:
    home = tmp_path / "home"
    arguments = ["data", "import", "folder.birds", "--source", str(source)]
    assert orchestrate(home, *arguments).returncode == 0
    before = content(home)
    assert orchestrate(home, *arguments).returncode == 0
    assert content(home) == before


class TestVerify:
    def test_tells_what_is_damaged(self, tmp_path: Path, source: Path) -> None:
        home = tmp_path / "home"
        for name in ("birds", "signs"):
            orchestrate(home, "data", "import", f"folder.{name}", "--source", str(source))
        birds, signs = sorted((home / "datasets").iterdir())
        done = orchestrate(home, "data", "verify")
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.splitlines() == [f"folder.birds: intact: {birds}", f"folder.signs: intact: {signs}"]

        data = bytearray(signs.read_bytes())
        data[len(data) // 2] ^= 1
        signs.write_bytes(data)
        done = orchestrate(home, "data", "verify")
        assert done.returncode == 2
        assert done.stdout.splitlines()[1] == f"folder.signs: damaged: {signs}"
        assert done.stderr.startswith(f"error: {signs} is damaged (its pixels")
        assert len(done.stderr.splitlines()) == 1

        done = orchestrate(home, "data", "verify", "--json")
        assert done.returncode == 2
        rows = json.loads(done.stdout)["datasets"]
        assert [(row["name"], row["intact"]) for row in rows] == [("folder.birds", True), ("folder.signs", False)]
        assert orchestrate(home, "data", "verify", "folder.birds").returncode == 0
        assert orchestrate(home, "data", "verify", "folder.signs").returncode == 2

    def test_needs_something_to_verify(self, tmp_path: Path) -> None:
        done = orchestrate(tmp_path / "home", "data", "verify")
        assert done.returncode == 0
        assert "no dataset in" in done.stdout
        done = orchestrate(tmp_path / "home", "data", "verify", "omniglot")
        assert done.returncode == 2
        assert "omniglot is not in" in done.stderr
        assert not (tmp_path / "home").exists()


BAD = {
    "a text file named .png": ("folder.birds", folder() | {"birds/a/c00/0.png": b"text\n"}, "neither PNG nor JPEG"),
    "a broken image": ("folder.birds", folder() | {"birds/a/c00/0.png": picture(1)[:90]}, "is damaged"),
    "a class in two parts": (
        "cifar_fs",
        cifar100(1) | {"cifar100/splits/bertinetto/test.txt": b"apple\n"},
        "class 'apple' is in test, and in train",
    ),
    "a class without images": (
        "cifar_fs",
        cifar100(1) | {"cifar100/splits/bertinetto/test.txt": b"unicorn\n"},
        "class 'unicorn' has no images",
    ),
    "a missing image": (
        "mini_imagenet",
        mini_imagenet(1) | {"mini/val.csv": b"filename,label\nx.jpg,x\n"},
        "1 classes",
    ),
    "no images": ("folder.birds", {"notes.txt": b""}, "holds no PNG or JPEG"),
    "a name that leads outside": ("folder.birds", folder() | {"../x.png": picture(1)}, "unsafe name"),
    "an absolute name": ("folder.birds", folder() | {"/x.png": picture(1)}, "unsafe name"),
}


@pytest.mark.parametrize(("name", "files", "message"), BAD.values(), ids=BAD)
def test_bad_input_is_one_line_and_changes_nothing(
    tmp_path: Path, source: Path, name: str, files: Files, message: str
) -> None:
    home = tmp_path / "home"
    bad = write_zip(tmp_path / "bad.zip", files)
    done = orchestrate(home, "data", "import", name, "--source", str(bad))
    assert not home.exists()
    orchestrate(home, "data", "import", "folder.birds", "--source", str(source))
    before = content(home)
    done = orchestrate(home, "data", "import", name, "--source", str(bad))
    assert done.returncode == 2, done.stderr
    assert content(home) == before
    errors = [line for line in done.stderr.splitlines() if not line.startswith("importing ")]
    assert len(errors) == 1
    assert errors[0].startswith(f"error: {bad}")
    assert message in errors[0]


def test_a_full_disk_changes_nothing(tmp_path: Path, source: Path) -> None:
    home = tmp_path / "home"
    orchestrate(home, "data", "import", "folder.birds", "--source", str(source), "--size", "20")
    before = content(home)
    done = orchestrate(home, "data", "import", "folder.birds", "--source", str(source), most_bytes=100_000)
    assert done.returncode == 2
    assert done.stderr == (
        f"error: can't write {home / 'datasets'}: File too large; free space there or choose --home\n"
    )
    assert content(home) == before


@pytest.mark.skipif(os.cpu_count() == 1, reason="one CPU: no process is started")
class TestInterrupted:
    @pytest.fixture
    def running(self, tmp_path: Path) -> subprocess.Popen[str]:
        """An import that takes some ten seconds, when its first images are done and its processes at work."""
        noise = np.random.default_rng(0).integers(0, 256, (1500, 1500, 3), np.uint8)
        Image.fromarray(noise).save(tmp_path / "noise.jpg", quality=90)
        for row in range(300):
            place = tmp_path / "source" / "abc"[row % 3] / f"{row}.jpg"
            place.parent.mkdir(parents=True, exist_ok=True)
            os.link(tmp_path / "noise.jpg", place)
        command = [ORCHESTRATE, "data", "import", "folder.noise", "--source", tmp_path / "source"]
        process = subprocess.Popen(
            [*command, "--home", tmp_path / "home"], stderr=subprocess.PIPE, text=True, start_new_session=True
        )
        assert process.stderr is not None
        assert "importing folder.noise: 300 images" in process.stderr.readline()
        assert len(in_session(process.pid)) > 2
        assert [path.suffix for path in (tmp_path / "home" / "datasets").iterdir()] == [".tmp"]
        return process

    def test_leaves_nothing(self, running: subprocess.Popen[str], tmp_path: Path) -> None:
        """Ctrl-C goes to every process of the terminal."""
        os.killpg(running.pid, signal.SIGINT)
        _, said = running.communicate(timeout=DEADLINE_S)
        assert running.returncode == 130
        assert "Traceback" not in said
        assert not content(tmp_path / "home")
        wait_until_gone(running.pid)

    def test_killed_leaves_no_process(self, running: subprocess.Popen[str], tmp_path: Path) -> None:
        running.kill()
        running.wait(timeout=DEADLINE_S)
        wait_until_gone(running.pid)


def wait_until_gone(leader: int) -> None:
    """The last process of a session sees that its parent is gone, and goes."""
    end = time.monotonic() + DEADLINE_S
    while in_session(leader):
        assert time.monotonic() < end, "its processes live on"
        time.sleep(0.05)


def in_session(leader: int) -> list[int]:
    """The living processes of a session."""
    done = subprocess.run(["ps", "-o", "pid=,stat=", "-s", str(leader)], capture_output=True, text=True)
    rows = [line.split() for line in done.stdout.splitlines()]
    return [int(pid) for pid, state in rows if not state.startswith("Z")]
