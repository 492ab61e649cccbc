"""What docs/security.md promises: no code from a home or a dataset, no secrets in records, no path that leads out."""

from __future__ import annotations

import ast
import os
import pickle
import socket
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any, NoReturn

import pyarrow
import pytest
import torch
from click.testing import CliRunner, Result

from orchestrator import cli as commands
from orchestrator.doctor import examine
from orchestrator.download import fetch_archives
from orchestrator.errors import ClusterError, HomeError, MetaSweepError, OutOfReach, TrackingError
from orchestrator.home import existing_home
from orchestrator.inputs import Where, check_inputs
from orchestrator.remote import Answer
from orchestrator.spec_file import load_spec
from orchestrator.track import track
from orchestrator.tracking_uri import check_uri
from orchestrator.url_secrets import holds_secrets, masked, without_credentials
from trainers.datasets.source import Source
from trainers.errors import DatasetError

ROOT = Path(__file__).resolve().parents[1]
SECRET = "hunter2"

# What runs code that lies in what it reads, by the last parts of its name.
BUILTINS = ("eval", "exec", "compile")
RUNS_CODE = {
    *("os.system", "os.popen", "runpy.run_path"),
    *("pickle.load", "pickle.loads", "pickle.Unpickler", "marshal.load", "marshal.loads", "shelve.open"),
    *("torch.load", "joblib.load", "pa.deserialize", "pd.read_pickle"),
    *("yaml.load", "yaml.load_all", "yaml.full_load", "yaml.unsafe_load", "yaml.FullLoader", "yaml.UnsafeLoader"),
    *("yaml.Loader", "ZipFile.extractall", "tarfile.open"),
}


def risky(source: str) -> list[str]:
    """Names in a Python source that could run code of what is read, or unpack an archive where it likes."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Name | ast.Attribute):
            name = ast.unparse(node)
            found += [name for one in RUNS_CODE if name == one or name.endswith(f".{one}")]
            found += [name for one in BUILTINS if name == one]
            found += [name for one in ("extractall", "extract") if isinstance(node, ast.Attribute) and node.attr == one]
        elif isinstance(node, ast.keyword) and node.arg in ("allow_pickle", "shell"):
            found.append(f"{node.arg}={ast.unparse(node.value)}")
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names = [alias.name for alias in node.names] + [getattr(node, "module", None) or ""]
            found += [
                name for name in names if name.split(".")[0] in ("pickle", "cloudpickle", "dill", "marshal", "shelve")
            ]
    return found


@pytest.mark.parametrize("package", ["orchestrator", "trainers", "sweeps"])
def test_no_source_runs_what_it_reads(package: str) -> None:
    files = sorted((ROOT / package).rglob("*.py"))
    assert files
    found = {str(path.relative_to(ROOT)): risky(path.read_text(encoding="utf-8")) for path in files}
    found.pop("trainers/snapshots.py", None)  # safetensors.torch.load, which reads numbers alone: the next test
    assert {path: names for path, names in found.items() if names} == {}


def test_the_only_load_is_that_of_safetensors() -> None:
    text = (ROOT / "trainers" / "snapshots.py").read_text(encoding="utf-8")
    assert risky(text) == ["safetensors.torch.load"]


@pytest.mark.parametrize(
    "source",
    [
        *("import pickle", "torch.load(p)", "np.load(p, allow_pickle=True)", "yaml.load(t, Loader=yaml.Loader)"),
        *("eval(t)", "from pickle import loads", "subprocess.run(c, shell=True)", "archive.extractall(folder)"),
    ],
)
def test_the_scan_finds_what_it_looks_for(source: str) -> None:
    assert risky(source)


class Bomb:
    """Unpickled, it makes a folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.path),)


@pytest.fixture
def no_unpickling(monkeypatch: pytest.MonkeyPatch) -> None:
    """Any use of pickle or torch.load is an error of its own kind, which nobody catches."""

    def refuse(*_: Any, **__: Any) -> NoReturn:
        pytest.fail("something was unpickled")

    for module, name in ((pickle, "load"), (pickle, "loads"), (pickle, "Unpickler"), (torch, "load")):
        monkeypatch.setattr(module, name, refuse)
    monkeypatch.setattr(pyarrow, "deserialize", refuse, raising=False)


def run(*arguments: str) -> Result:
    """The command in this process, as far as its own exceptions."""
    return CliRunner().invoke(commands.cli, arguments)


def test_a_hostile_home_is_not_unpickled(tmp_path: Path, small_home: Path, no_unpickling: None) -> None:
    bomb = pickle.dumps(Bomb(tmp_path / "exploded"))
    records = [path for path in small_home.rglob("*") if path.is_file() and path.name != "home.json"]
    assert len(records) > 20
    for path in records:
        before = path.read_bytes()
        path.write_bytes(bomb)
        for arguments in (["status"], ["export", "search"], ["report", "grid", "--output", str(tmp_path / "report")]):
            if arguments[0] != "report" or path.name in ("attempt.json", "manifest.json", "progress.safetensors"):
                done = run(*arguments, "--home", str(small_home))
                assert isinstance(done.exception, MetaSweepError | SystemExit | None), done.exception
        if path.parent.name == "datasets":
            assert isinstance(run("data", "verify", "--home", str(small_home)).exception, DatasetError)
        path.write_bytes(before)
    assert not (tmp_path / "exploded").exists()


# --- secrets ----------------------------------------------------------------------------------------------------------

URLS = [
    f"http://me:{SECRET}@host:5000",
    f"postgresql://me:{SECRET}@host/db",
    f"postgresql://me:pa/{SECRET}@host/db",
    f"http://me:pa ss{SECRET}@host",
    f"http://me:{SECRET}@[host",
    f"http://host/?token={SECRET}",
    f"http://host/?a=b&API_KEY={SECRET}",
    f"s3://bucket/x?access_key=me&secret_key={SECRET}",
    f"s3://bucket/x?region=eu&secret%5Fkey={SECRET}",
    f"s3://bucket/x?session_token={SECRET}",
    f"abfs://box@account/x?sig={SECRET}",
    f"mysql+pymysql://host/db?passwd={SECRET}",
]


@pytest.mark.parametrize("url", URLS)
def test_secrets_of_a_home_or_tracking_url_are_not_said(url: str) -> None:
    with pytest.raises(HomeError, match="give them by environment") as caught:
        existing_home(url)
    said = str(caught.value)
    with pytest.raises(TrackingError) as refused:
        check_uri(f"x{url}")
    assert SECRET not in said + str(refused.value)


def test_a_mask_takes_the_secret_and_leaves_the_rest() -> None:
    assert masked(f"at http://me:{SECRET}@host:5000/x") == "at http://***@host:5000/x"
    assert masked(f"s3://b/x?access_key=me&secret_key={SECRET}&region=eu") == (
        "s3://b/x?access_key=***&secret_key=***&region=eu"
    )
    assert without_credentials(f"http://me:{SECRET}@host") == "http://host"
    for harmless in ("s3://bucket/x?region=eu&scheme=http", "http://host:5000", "sqlite:////x/mlflow.db", "./runs"):
        assert masked(harmless) == harmless
        assert not holds_secrets(harmless)


@contextmanager
def unwell_server() -> Iterator[int]:
    """An MLflow server that says it is well and answers everything else with its own words of the request."""

    class Answers(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            well = self.path == "/health"
            self.send_response(200 if well else 500)
            self.end_headers()
            self.wfile.write(b"OK" if well else f"no: {self.headers['Authorization']} {self.path}".encode())

        do_POST = do_GET  # noqa: N815

        def log_message(self, *_: Any) -> None:
            """Silent."""

    with HTTPServer(("127.0.0.1", 0), Answers) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


def test_a_secret_is_in_nothing_that_a_sweep_leaves_or_says(small_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from orchestrator import sweep

    monkeypatch.setattr(sweep, "TRACKING_END_TIMEOUT_S", 1.0)
    monkeypatch.setattr(sweep, "TRACKING_DOWN_TIMEOUT_S", 1.0)
    said: list[str] = []
    with unwell_server() as port:
        uri = f"http://me:{SECRET}@127.0.0.1:{port}"
        spec = load_spec(small_home.parent / "grid.yaml")
        found = sweep.run_sweep(spec, Where(home=str(small_home), tracking_uri=uri), on_warning=said.append)
    assert found["tracking"] == {"uri": f"http://***@127.0.0.1:{port}", "synced": False}
    said += [str(found), run("status", "grid", "--json", "--home", str(small_home)).output]
    assert any("does not have everything" in line for line in said)  # it was asked, and refused
    assert SECRET not in " ".join(said)
    files = [path for path in small_home.rglob("*") if path.is_file()]
    assert [path for path in files if SECRET.encode() in path.read_bytes()] == []


def test_a_server_out_of_reach_is_named_without_its_secret(small_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))  # and nothing listens
        address = f"127.0.0.1:{bound.getsockname()[1]}"
        uri, spec = f"http://me:{SECRET}@{address}", load_spec(small_home.parent / "grid.yaml")
        check_inputs(spec, Where(str(small_home), tracking_uri=uri), said.append)
        with pytest.raises(TrackingError) as required:
            check_inputs(spec, Where(str(small_home), tracking_uri=uri, require_tracking=True), said.append)
        with pytest.raises(OutOfReach) as gone:
            track("grid", str(small_home), uri)
        monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
        said += [str(required.value), str(gone.value), *(its.found for its in examine(".") if its.what == "mlflow")]
    assert ["http://***@" + address in line for line in said] == [True] * 4
    assert SECRET not in " ".join(said)


@pytest.mark.parametrize("scheme", ["ftp", "http"])
def test_a_mirror_is_named_without_its_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scheme: str) -> None:
    monkeypatch.setattr("orchestrator.download._download", lambda *_: "not found")
    with pytest.raises(DatasetError) as caught:
        fetch_archives(tmp_path, "omniglot", f"{scheme}://me:{SECRET}@host", lambda name: nullcontext())
    assert f"{scheme}://***@host" in str(caught.value)
    assert SECRET not in str(caught.value)


# --- paths and servers ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["../x.png", "/x.png", "a/../../x.png", "C:\\x.png", "a\\..\\..\\x.png"])
def test_a_zip_whose_names_lead_out_is_refused(tmp_path: Path, name: str) -> None:
    with zipfile.ZipFile(tmp_path / "source.zip", "w") as archive:
        archive.writestr(name, b"")
    with pytest.raises(DatasetError, match="unsafe name"):
        _ = Source(tmp_path / "source.zip").sizes


@pytest.mark.parametrize("name", ["{}/x.png", "../x.png", "a/../../x.png"])
def test_a_file_of_a_cluster_that_leads_out_is_not_kept(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "report"
    folder.mkdir()
    with pytest.raises(ClusterError, match="leads out of its folder"):
        Answer(0, b"", "", {name.format(tmp_path): b""}).write_files(folder)
    assert [*tmp_path.rglob("*")] == [folder]


@pytest.mark.parametrize(("host", "warned"), [(None, False), ("localhost", False), ("0.0.0.0", True), ("::", True)])
def test_the_dashboard_is_for_this_machine_unless_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, host: str | None, warned: bool
) -> None:
    (tmp_path / "home.json").write_text('{"schema": 1, "id": "0"}')
    asked: list[str] = []
    monkeypatch.setattr("orchestrator.dashboard.serve_dashboard", lambda *its: asked.append(its[3]))
    done = run("dashboard", "--home", str(tmp_path), *(["--host", host] if host else []))
    assert asked == [host or "127.0.0.1"]
    assert ("anybody who can reach this machine" in done.output) == warned
