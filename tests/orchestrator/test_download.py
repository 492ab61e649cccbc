"""``orchestrate data fetch`` against a server on this machine: what comes whole, and all that goes wrong."""

from __future__ import annotations

import hashlib
import resource
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from miniature import picture, write_zip

from trainers.datasets.image_file import verify_image_file
from trainers.datasets.omniglot import OMNIGLOT

# Omniglot's two archives with 6 and 4 classes, under checksums of their own.
PROGRAM = """
import sys
from orchestrator import download
from trainers.datasets import omniglot
from trainers.datasets.recipe import Archive
omniglot.CHARACTERS = {{"images_background": 6, "images_evaluation": 4}}
omniglot.VALIDATION_ALPHABETS = 1
omniglot.MAML_BOUNDS = {{"train": (0, 6), "validation": (6, 8), "test": (8, 10)}}
omniglot.Omniglot.archives = tuple(Archive({origin!r} + "/" + name, md5) for name, md5 in {archives!r}.items())
download.TIMEOUT_S = {timeout_s!r}
from orchestrator.cli import main
main()
"""


@pytest.fixture(scope="module")
def archives(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Name -> content."""
    folder, found = tmp_path_factory.mktemp("archives"), {}
    for part, alphabets in {"images_background": 3, "images_evaluation": 2}.items():
        files = {
            f"{part}/{part[7]}{index // 2}/character0{index % 2 + 1}/{index:04d}_{drawer:02d}.png": picture(
                100 * index + drawer, 105, 105, "1"
            )
            for index in range(2 * alphabets)
            for drawer in range(1, 21)
        }
        found[f"{part}.zip"] = write_zip(folder / f"{part}.zip", files).read_bytes()
    return found


class Server:
    """Serves bytes by path on a free port, and notes what was asked."""

    def __init__(self) -> None:
        self.content: dict[str, bytes] = {}
        self.sent: dict[str, int] = {}
        """Bytes of a path that are really sent."""
        self.asked: list[str] = []
        self.waiting = threading.Event()
        """Set while a client waits for more than was sent."""
        self.mute = False
        """Keep the connection after an answer that was cut."""
        self.release = threading.Event()
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                server.asked.append(self.path)
                body = server.content.get(self.path)
                if body is None:
                    self.send_error(404)
                    return
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body[: server.sent.get(self.path)])
                if server.mute:
                    self.wfile.flush()
                    server.waiting.set()
                    server.release.wait()

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}"


@pytest.fixture
def server(archives: dict[str, bytes]) -> Iterator[Server]:
    """A server that has both archives below ``/python``."""
    made = Server()
    made.content = {f"/python/{name}": body for name, body in archives.items()}
    thread = threading.Thread(target=made.http.serve_forever)
    thread.start()
    yield made
    made.release.set()
    made.http.shutdown()
    made.http.server_close()
    thread.join()


class Fetch:
    """The command, with the small Omniglot in place of the real one."""

    def __init__(self, home: Path, archives: dict[str, bytes], origin: str) -> None:
        self.home = home
        self.md5s = {name: hashlib.md5(body).hexdigest() for name, body in archives.items()}
        self.origin = origin
        self.timeout_s = 60.0
        self.most_bytes = resource.RLIM_INFINITY
        """Of a file that it writes."""

    def start(self, *options: str) -> subprocess.Popen[str]:
        program = PROGRAM.format(origin=self.origin, archives=self.md5s, timeout_s=self.timeout_s)
        command = [sys.executable, "-c", program, "data", "fetch", "omniglot", "--home", str(self.home), *options]
        limit = partial(resource.setrlimit, resource.RLIMIT_FSIZE, (self.most_bytes, resource.RLIM_INFINITY))
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=limit)

    def __call__(self, *options: str) -> subprocess.CompletedProcess[str]:
        with self.start(*options) as process:
            out, err = process.communicate(timeout=60)
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    def refused(self, *options: str) -> str:
        """Its one line, when it is refused; nothing but whole archives stays."""
        done = self(*options)
        assert done.returncode == 2, (done.stdout, done.stderr)
        (line,) = (line for line in done.stderr.splitlines() if not line.startswith("downloading"))
        assert self.whole_archives() == self.files()
        return line

    def files(self) -> list[str]:
        return sorted(str(path.relative_to(self.home)) for path in self.home.rglob("*") if path.is_file())

    def whole_archives(self) -> list[str]:
        found = [(f"datasets/downloads/{name}", md5) for name, md5 in sorted(self.md5s.items())]
        return [
            name
            for name, md5 in found
            if (self.home / name).is_file() and hashlib.md5((self.home / name).read_bytes()).hexdigest() == md5
        ]


@pytest.fixture
def fetch(tmp_path: Path, server: Server, archives: dict[str, bytes]) -> Fetch:
    return Fetch(tmp_path / "home", archives, f"{server.url}/python")


def test_the_official_archives() -> None:
    """What README and messages promise; the checksums are those that torchvision, too, has of these files."""
    assert {archive.name: archive.md5 for archive in OMNIGLOT.archives} == {
        "images_background.zip": "68d2efa1b9178cc56df9314c21c6e718",
        "images_evaluation.zip": "6b91aef0f799c5bb55b94e3f2daec811",
    }
    for archive in OMNIGLOT.archives:
        assert archive.url == f"https://raw.githubusercontent.com/brendenlake/omniglot/master/python/{archive.name}"


def test_fetched_once(fetch: Fetch, server: Server, archives: dict[str, bytes]) -> None:
    done = fetch()
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("omniglot: 200 images, 10 classes of 20, 28x28x1")
    assert server.asked == ["/python/images_background.zip", "/python/images_evaluation.zip"]
    for name, body in archives.items():
        assert f"downloading {name}: {len(body)} bytes" in done.stderr
    (path,) = (fetch.home / "datasets").glob("omniglot-*.arrow")
    assert verify_image_file(path).pixels.any()
    assert fetch.files() == [*fetch.whole_archives(), f"datasets/{path.name}", "home.json"]
    assert len(fetch.whole_archives()) == 2

    assert fetch().returncode == 0
    assert len(server.asked) == 2, "a second time, nothing is downloaded"
    (fetch.home / "datasets/downloads/images_evaluation.zip").write_bytes(b"damaged")
    assert fetch().returncode == 0
    assert server.asked[2:] == ["/python/images_evaluation.zip"]
    assert len(fetch.whole_archives()) == 2


def test_from_a_mirror(fetch: Fetch, server: Server) -> None:
    server.content = {path.replace("/python", "/mirror"): body for path, body in server.content.items()}
    assert fetch("--from", f"{server.url}/mirror/").returncode == 0
    assert server.asked == ["/mirror/images_background.zip", "/mirror/images_evaluation.zip"]


def test_archives_put_there_by_hand(fetch: Fetch, server: Server, archives: dict[str, bytes]) -> None:
    folder = fetch.home / "datasets" / "downloads"
    folder.mkdir(parents=True)
    for name, body in archives.items():
        (folder / name).write_bytes(body)
    assert fetch().returncode == 0
    assert server.asked == []


def way_out(fetch: Fetch, *names: str) -> str:
    wanted = " and ".join(f"{fetch.origin}/{name}" for name in names)
    return f"download {wanted} elsewhere into {fetch.home}/datasets/downloads and give the same command again"


BOTH = ("images_background.zip", "images_evaluation.zip")


def test_no_network(fetch: Fetch) -> None:
    with socket.socket() as bound:  # a port at which nothing listens, kept from others meanwhile
        bound.bind(("127.0.0.1", 0))
        fetch.origin = f"http://127.0.0.1:{bound.getsockname()[1]}"
        line = fetch.refused()
    assert line.startswith(f"error: {fetch.origin}/images_background.zip: no connection (Connection refused); ")
    assert way_out(fetch, *BOTH) in line


def test_no_such_host(fetch: Fetch) -> None:
    line = fetch.refused("--from", "http://nobody:secret@host.invalid/there")
    assert "host.invalid/there/images_background.zip: no connection" in line
    assert way_out(fetch, *BOTH) in line, "by hand they come from where they always come from"
    assert "secret" not in line


def test_wrong_checksum(fetch: Fetch, server: Server) -> None:
    path = "/python/images_background.zip"
    server.content[path] = server.content[path][:-1] + b"!"
    line = fetch.refused()
    assert f"its MD5 is not {fetch.md5s['images_background.zip']}" in line
    assert way_out(fetch, *BOTH) in line


@pytest.mark.parametrize(("absent", "there"), [BOTH, BOTH[::-1]])
def test_not_found(fetch: Fetch, server: Server, absent: str, there: str) -> None:
    folder = fetch.home / "datasets" / "downloads"
    folder.mkdir(parents=True)
    (folder / there).write_bytes(server.content[f"/python/{there}"])
    del server.content[f"/python/{absent}"]
    line = fetch.refused()
    assert f"{fetch.origin}/{absent}: HTTP 404 Not Found; " in line
    assert way_out(fetch, absent) in line
    assert fetch.whole_archives() == [f"datasets/downloads/{there}"], "what came whole is kept"


def test_cut_off(fetch: Fetch, server: Server) -> None:
    server.sent["/python/images_background.zip"] = 100_000
    assert len(server.content["/python/images_background.zip"]) > 100_000
    assert "the download was cut off" in fetch.refused()


def test_a_server_that_falls_silent(fetch: Fetch, server: Server) -> None:
    server.sent["/python/images_background.zip"] = 10
    server.mute, fetch.timeout_s = True, 0.2
    assert "no answer within 0.2 s" in fetch.refused()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted(fetch: Fetch, server: Server, number: signal.Signals) -> None:
    server.sent["/python/images_background.zip"] = 100_000
    server.mute = True
    with fetch.start() as process:
        assert server.waiting.wait(60)
        process.send_signal(number)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in said
    assert fetch.files() == []


def test_a_full_disk(fetch: Fetch) -> None:
    fetch.most_bytes = 100_000
    assert f"can't write {fetch.home}/datasets/downloads: File too large; free space" in fetch.refused()


def test_a_folder_that_cannot_be_written(fetch: Fetch) -> None:
    fetch.home.mkdir()
    (fetch.home / "datasets").write_text("in the way")
    done = fetch()
    assert done.returncode == 2
    assert f"can't write {fetch.home}/datasets/downloads" in done.stderr
    assert fetch.files() == ["datasets"]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("glyphs", ["nothing to fetch", "is made when a sweep first needs it"]),
        ("cifar_fs", ["by hand from github.com/bertinetto/r2d2", "orchestrate data import cifar_fs --source PATH"]),
        ("fc100", ["by hand from github.com/bertinetto/r2d2", "orchestrate data import fc100 --source PATH"]),
        ("mini_imagenet", ["by hand from image-net.org", "orchestrate data import mini_imagenet --source PATH"]),
        ("folder.birds", ["your own", "orchestrate data import folder.birds --source PATH"]),
        ("omniglt", ["'omniglt'", "'omniglot'"]),
    ],
)
def test_nothing_to_download(tmp_path: Path, name: str, words: list[str]) -> None:
    command = [str(Path(sys.executable).parent / "orchestrate"), "data", "fetch", name, "--home", "home"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (2, "", 1)
    assert [word for word in words if word not in done.stderr] == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("url", ["ftp://host/x", "folder", "http://", ""])
def test_a_mirror_that_is_none(fetch: Fetch, url: str) -> None:
    line = fetch.refused("--from", url)
    assert f"--from {url}: must be an http:// or https:// URL" in line
    assert "orchestrate data import omniglot --source FOLDER" in line
