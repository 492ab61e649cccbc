"""A dataset on a cluster of several nodes: mapped where a node has the file, else one copy in its object store."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from orchestrator.cluster.sharing import open_here
from orchestrator.errors import DatasetError
from orchestrator.single import run_single
from orchestrator.spec_file import load_spec
from trainers.datasets.image_file import ImageTable, open_image_file

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
NETWORK = "10.213.7"
HEAD = f"{NETWORK}.1:6379"
STORE_BYTES = 100_000_000
MAKE_NODE = ["unshare", "--net", "--mount", "--uts", "--pid", "--fork", "--kill-child", "--mount-proc"]

# What the object store of the head still holds when a driver has left, and that this sees what a driver holds.
REMAINS = """
import json, sys, time, numpy, ray
from ray._private.state import available_resources_per_node
ray.init(address=sys.argv[1], log_to_driver=False, configure_logging=False)
head = next(node for node in ray.nodes() if node["NodeManagerAddress"] == sys.argv[1].partition(":")[0])
def held():
    return int(sys.argv[2]) - available_resources_per_node()[head["NodeID"]]["object_store_memory"]
end = time.monotonic() + 20
while (after := held()) and time.monotonic() < end:
    time.sleep(0.1)
kept = ray.put(numpy.zeros(10_000_000, numpy.uint8))
while not (seen := held()) and time.monotonic() < end:
    time.sleep(0.1)
print(json.dumps({"after": after, "seen": seen}))
"""


# Private memory of a process before it opens a dataset, and when it has read all of it.
READER = """
import sys, psutil
import pyarrow, numpy
from orchestrator.cluster.sharing import open_here
open_here(sys.argv[1], "glyphs", sys.argv[2], {})
before = psutil.Process().memory_full_info().uss
data = open_here(sys.argv[1], "glyphs", sys.argv[2], {})
for row in range(0, len(data.pixels), 64):
    data.pixels[row : row + 64].max()
print(psutil.Process().memory_full_info().uss - before)
"""


@dataclass(frozen=True)
class Node:
    """A machine of its own but for the disk: network, host name, processes, shared memory, temporary files."""

    number: int
    pid: int

    @property
    def name(self) -> str:
        return f"node{self.number}"

    def run(self, *command: str | Path, timeout_s: float = 100) -> str:
        """A command there; its output."""
        inside = ["nsenter", "--target", str(self.pid), "--net", "--mount", "--uts", "--pid"]
        secret = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "0123456789abcdef" * 4, "RAY_USAGE_STATS_ENABLED": "0"}
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "MLFLOW_"))}
        done = subprocess.run(
            [*inside, *command], env=inherited | secret, cwd=ROOT, capture_output=True, text=True, timeout=timeout_s
        )
        assert done.returncode == 0, (command, done.stdout, done.stderr)
        return done.stdout

    def shared_memory_bytes(self) -> int:
        """What the object store has ever filled: its pages come when they are first written, and stay."""
        stat = os.statvfs(f"/proc/{self.pid}/root/dev/shm")
        return (stat.f_blocks - stat.f_bfree) * stat.f_frsize


@pytest.fixture
def temporary() -> Iterator[Path]:
    """A folder with a short path, since Ray's sockets lie below; every node sees one of its own there."""
    folder = Path(tempfile.mkdtemp(prefix="msw-"))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def nodes(temporary: Path) -> Iterator[list[Node]]:
    """Three machines on one network."""
    missing = [tool for tool in ("unshare", "nsenter", "ip", "mount") if shutil.which(tool) is None]
    if missing or os.geteuid() != 0:
        pytest.skip(f"namespaces need root, util-linux and iproute2; not here: {', '.join(missing) or 'root'}")
    holders: list[subprocess.Popen[bytes]] = []
    try:
        for _ in range(3):
            holder = subprocess.Popen([*MAKE_NODE, "sh", "-c", "echo; read end"], stdin=-1, stdout=-1, stderr=-1)
            holders.append(holder)
            assert holder.stdout is not None
            assert holder.stderr is not None
            if not holder.stdout.readline():
                pytest.skip(f"namespaces are refused here: {holder.stderr.read().decode().strip()}")
        made = [Node(number, psutil.Process(holder.pid).children()[0].pid) for number, holder in enumerate(holders, 1)]
        for node in made:
            connect(node, made[0], temporary)
        yield made
    finally:
        for holder in holders:  # with it go all processes of the node
            holder.kill()
            holder.communicate()


def connect(node: Node, first: Node, temporary: Path) -> None:
    """Gives a node its name, its own memory file systems, and a cable to the switch in the first node."""
    node.run("hostname", node.name)
    for folder in ("/dev/shm", str(temporary)):
        node.run("mount", "-t", "tmpfs", "tmpfs", folder)
    node.run("ip", "link", "set", "lo", "up")
    device = "switch" if node is first else "cable"
    if node is first:
        node.run("ip", "link", "add", "switch", "type", "bridge")
    else:
        port = f"port{node.number}"
        ends = ["ip", "link", "add", port, "netns", str(first.pid), "type", "veth"]
        subprocess.run([*ends, "peer", "name", "cable", "netns", str(node.pid)], check=True, capture_output=True)
        first.run("ip", "link", "set", port, "master", "switch", "up")
    node.run("ip", "address", "add", f"{NETWORK}.{node.number}/24", "dev", device)
    node.run("ip", "link", "set", device, "up")
    node.run("ip", "route", "add", "default", "via", f"{NETWORK}.254")  # by its route Ray finds a node's own address


def start_ray(nodes: list[Node], temporary: Path) -> None:
    """A Ray cluster over the nodes, one trial on each."""
    common = ["--num-cpus=1", f"--object-store-memory={STORE_BYTES}", "--disable-usage-stats"]
    for node in nodes:
        own = f"--node-ip-address={NETWORK}.{node.number}"
        head = ["--head", "--port=6379", "--include-dashboard=false", f"--temp-dir={temporary}"]
        node.run(BIN / "ray", "start", own, *common, *(head if node.number == 1 else [f"--address={HEAD}"]))


def results(home: Path) -> dict[str, Any]:
    """What trials leave that does not depend on where they ran: digests of weights, and accuracies."""
    manifests = {}
    for path in home.glob("trainings/*/manifest.json"):
        files = json.loads(path.read_text())["files"]
        manifests[path.parent.name] = {name.split("/", 2)[2]: digest for name, digest in files.items()}
    evaluations = {str(path.relative_to(home)): path.read_bytes() for path in home.glob("trainings/*/evaluations/*")}
    return manifests | evaluations


@pytest.mark.slow
def test_nodes_with_and_without_the_file(
    nodes: list[Node], temporary: Path, fresh_glyphs_home: Path, spec_file: Any, glyphs: ImageTable
) -> None:
    home, (head, lacking, having) = fresh_glyphs_home, nodes
    lacking.run("mount", "-t", "tmpfs", "tmpfs", home / "datasets")
    start_ray(nodes, temporary)
    spec = spec_file(grid={"seeds": 8})
    command = [BIN / "orchestrate", "sweep", spec, "--home", home, "--address", HEAD, "--json"]
    status = json.loads(head.run("env", f"TMPDIR={temporary}", *command))
    assert (status["state"], status["trials"]["completed"]) == ("done", 8)
    ran_on = [json.loads(path.read_text())["node"] for path in home.glob("trainings/*/attempts/*/attempt.json")]
    assert {*ran_on} == {node.name for node in nodes}

    size = glyphs.pixels.nbytes
    assert size <= head.shared_memory_bytes() < 1.2 * size, "the driver's copy, from which others are made"
    assert size <= lacking.shared_memory_bytes() < 1.2 * size, f"one copy for {ran_on.count('node2')} trials"
    assert having.shared_memory_bytes() < 0.2 * size, "it maps its own file"

    remains = json.loads(head.run(sys.executable, "-c", REMAINS, HEAD, str(STORE_BYTES)))
    assert remains["seen"] >= 10_000_000
    assert remains["after"] == 0

    alone = fresh_glyphs_home.parent / "alone"
    shutil.copytree(fresh_glyphs_home / "datasets", alone / "datasets")
    for seed in range(8):
        config = load_spec(spec, [f"training.seed={seed}"]).trial
        run_single(config, str(alone), lambda done, total: None, lambda line: None)
    assert results(home) == results(alone)
    assert len(results(home)) == 16


def test_the_file_of_the_machine_comes_first(fresh_glyphs_home: Path, glyphs: ImageTable) -> None:
    shared = {glyphs.fingerprint: "a reference that is not asked for"}
    found = open_here(str(fresh_glyphs_home), "glyphs", glyphs.fingerprint, shared)
    assert found.fingerprint == glyphs.fingerprint


def test_a_further_reader_takes_no_memory_of_its_own(fresh_glyphs_home: Path, glyphs: ImageTable) -> None:
    first = open_image_file(next((fresh_glyphs_home / "datasets").iterdir()))
    first.pixels.max()
    command = [sys.executable, "-c", READER, str(fresh_glyphs_home), glyphs.fingerprint]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert int(done.stdout) < 0.1 * first.pixels.nbytes


def test_a_home_on_an_object_store_has_its_files_in_the_cache_of_the_machine(
    glyphs_file: Path, glyphs: ImageTable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(DatasetError, match=r"glyphs, fingerprint .* is not in .*/metasweep; import the dataset again"):
        open_here("s3://bucket/home", "glyphs", glyphs.fingerprint, {})
    folder = tmp_path / "metasweep" / "datasets"
    folder.mkdir(parents=True)
    shutil.copyfile(glyphs_file, folder / glyphs_file.name)
    assert open_here("s3://bucket/home", "glyphs", glyphs.fingerprint, {}).fingerprint == glyphs.fingerprint


@pytest.mark.parametrize("damage", ["cut", "another dataset under its name"])
def test_a_file_that_is_not_the_right_one(glyphs_file: Path, glyphs: ImageTable, tmp_path: Path, damage: str) -> None:
    digest = "0" * 20 if damage != "cut" else glyphs.fingerprint
    path = tmp_path / "datasets" / f"glyphs-{digest}.arrow"
    path.parent.mkdir()
    content = glyphs_file.read_bytes()
    path.write_bytes(content[:-100] if damage == "cut" else content)
    with pytest.raises(DatasetError, match="import the dataset again"):
        open_here(str(tmp_path), "glyphs", digest, {})


def test_a_table_travels_beside_its_pickle(glyphs_file: Path) -> None:
    """So that Ray copies pixels once, into shared memory, and a worker's view of them is read-only and no copy."""
    table = open_image_file(glyphs_file)
    buffers: list[pickle.PickleBuffer] = []
    pickled = pickle.dumps(table, protocol=5, buffer_callback=buffers.append)
    assert len(pickled) < 0.02 * table.pixels.nbytes
    frozen = [buffer.raw().toreadonly() for buffer in buffers]
    again: ImageTable = pickle.loads(pickled, buffers=frozen)
    assert (again.fingerprint, again.classes, again.splits) == (table.fingerprint, table.classes, table.splits)
    assert not again.pixels.flags.writeable
    assert any(np.shares_memory(again.pixels, np.frombuffer(buffer, np.uint8)) for buffer in frozen)
    assert (again.pixels[::500] == table.pixels[::500]).all()
