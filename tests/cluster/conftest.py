"""Three machines with a Ray cluster, a bucket on its head, and what one machine alone makes of the same sweep."""

from __future__ import annotations

import json
import os
import select
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from machines import BIN, PORT, Machine, machines
from observer import attempts, outcome
from processes import PATIENCE_S, SERIAL, run, wait_for

from orchestrator.home import open_home
from orchestrator.row_table import results

BUCKET_PORT = 9753

# Once the server listens.
MAKE_BUCKET = """
import sys, time, urllib.error, urllib.request as u
end = time.monotonic() + float(sys.argv[2])
while True:
    try:
        u.urlopen(u.Request(sys.argv[1], method="PUT"))
        break
    except urllib.error.URLError:
        if time.monotonic() > end:
            raise
        time.sleep(0.1)
"""

TRIAL: dict[str, Any] = {
    "dataset": {"name": "glyphs"},
    "episodes": {"ways": 3, "shots": 1, "queries": 2},
    "backbone": {"width": 4, "pooling": "stride"},
    "training": {"meta_batch": 1, "validation_episodes": 4},
    "evaluation": {"episodes": 6},
}


@dataclass
class Cluster:
    """Three machines; Ray runs on the first two, and on the third as a test likes. No disk is shared."""

    machines: Sequence[Machine]
    _observer: subprocess.Popen[str] | None = None

    @property
    def head(self) -> Machine:
        return self.machines[0]

    @property
    def address(self) -> str:
        """Of Ray's head."""
        return f"{self.head.address}:{PORT}"

    @staticmethod
    def give_data(machine: Machine, file: Path) -> None:
        """Puts a dataset into the cache of a machine."""
        cache = machine.private / "cache" / "metasweep" / "datasets"
        machine.run("mkdir", "-p", cache)
        machine.run("cp", file, cache)

    def home(self, name: str) -> str:
        """URL of a home in the bucket."""
        options = f"endpoint_override={self.head.address}:{BUCKET_PORT}&scheme=http&region=us-east-1"
        return f"s3://bucket/{name}?{options}"

    def start(self, spec: Path, *options: str) -> subprocess.Popen[str]:
        """The sweep of a file, driven from the head, into the home of its name."""
        place = ["--home", self.home(spec.stem), "--address", self.address]
        command = [BIN / "orchestrate", "sweep", spec, *place, "--json", *options]
        return self.head.start(*command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    @staticmethod
    def end(driver: subprocess.Popen[str]) -> tuple[int, dict[str, Any], str]:
        """Waits for it; exit code, status and stderr."""
        out, err = driver.communicate(timeout=2 * PATIENCE_S)
        assert "Traceback" not in err
        return driver.returncode, json.loads(out) if out else {}, err

    def look(self, spec: Path) -> dict[str, Any]:
        """The ``attempts`` and the ``outcome`` in the home of a file."""
        if self._observer is None or self._observer.args[-1] != self.home(spec.stem):  # type: ignore[index]
            self.close()
            command = [sys.executable, Path(__file__).with_name("observer.py"), self.home(spec.stem)]
            pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
            self._observer = self.head.start(*command, **pipes)
        assert self._observer.stdin is not None
        assert self._observer.stdout is not None
        print(file=self._observer.stdin, flush=True)
        ready, _, _ = select.select([self._observer.stdout], [], [], PATIENCE_S)
        assert ready, "the observer does not answer"
        found: dict[str, Any] = json.loads(self._observer.stdout.readline())
        return found

    def wait_for_attempt(self, spec: Path, node: Machine, driver: subprocess.Popen[str], after_ms: int = 0) -> None:
        """Returns once a trial that began there after that time has saved progress and goes on."""

        def there() -> bool:
            time.sleep(0.3)  # a look reads all records
            assert driver.poll() is None, driver.communicate()
            return any(
                attempt["node"] == node.name
                and attempt["started_ms"] > after_ms
                and attempt["validated_ms"]
                and attempt["state"] == "running"
                for attempt in self.look(spec)["attempts"]
            )

        wait_for(there, f"nothing began on {node.name}")

    def close(self) -> None:
        """Ends what looks at homes."""
        if self._observer is not None:
            self._observer.kill()
            self._observer.communicate()
            self._observer = None


@pytest.fixture(scope="module")
def private() -> Iterator[Path]:
    """A folder with a short path that every machine sees its own of."""
    folder = Path(tempfile.mkdtemp(prefix="msw-"))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def three(private: Path) -> Iterator[Sequence[Machine]]:
    """Three machines without Ray."""
    with machines(3, private) as made:
        yield made


@pytest.fixture(scope="module")
def cluster(three: Sequence[Machine], private: Path, glyphs_file: Path) -> Iterator[Cluster]:
    """A Ray cluster over the three; the data are on the head only."""
    head = three[0]
    server = [sys.executable, "-m", "moto.server", "--host", head.address, "--port", str(BUCKET_PORT)]
    head.start(*server, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    for machine in three:
        machine.start_ray()
    head.run(sys.executable, "-c", MAKE_BUCKET, f"http://{head.address}:{BUCKET_PORT}/bucket", str(PATIENCE_S))
    made = Cluster(three)
    made.give_data(head, glyphs_file)
    yield made
    made.close()


@pytest.fixture
def spec_file(tmp_path: Path) -> Any:
    """Writes a sweep file of so many trials of so many iterations; gives its path."""

    def write(name: str, seeds: int, iterations: int, validate_every: int, **sections: Any) -> Path:
        training = TRIAL["training"] | {"iterations": iterations, "validate_every": validate_every}
        path = tmp_path / f"{name}.yaml"
        path.write_text(yaml.safe_dump({"trial": TRIAL | {"training": training}, "grid": {"seeds": seeds}} | sections))
        return path

    return write


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory, new_home: Callable[[Path], Path]) -> Any:
    """What one machine makes of a file, without Ray: an ``outcome``. It trains once what several files ask for."""
    home = new_home(tmp_path_factory.mktemp("alone") / "home")

    def made(spec: Path) -> dict[str, Any]:
        done = run(SERIAL, "sweep", spec, "--home", home, PYTHONPATH=os.environ.get("PYTHONPATH", ""))
        assert done.returncode == 0, done.stderr
        opened = open_home(str(home))
        assert {attempt["state"] for attempt in attempts(opened)} == {"complete"}
        asked = {row["training_key"] for row in results(spec.stem, str(home)).to_pylist()}
        return {path: digest for path, digest in outcome(opened).items() if path.partition("/")[0] in asked}

    return made
