"""The files that make clusters: by Ray's own schema, for what that lets pass, and the one for Slurm by running it."""

from __future__ import annotations

import itertools
import json
import os
import re
import shlex
import socket
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import pytest
import yaml
from processes import PATIENCE_S, environment, link_data, wait_for
from standing_cluster import own_address

from orchestrator.cli import cli
from orchestrator.cluster.announce import of_launcher, of_words
from orchestrator.placement import Startable

ROOT = Path(__file__).resolve().parents[2]
SLURM = ROOT / "deploy" / "slurm.sh"
BIN = Path(sys.executable).parent


@pytest.fixture(scope="module")
def launcher() -> dict[str, Any]:
    """cluster.yaml, with Ray's defaults filled in, after Ray's own check."""
    from ray.autoscaler._private.util import prepare_config, validate_config

    config: dict[str, Any] = prepare_config(yaml.safe_load((ROOT / "cluster.yaml").read_text()))
    validate_config(config)
    return config


def test_the_launcher_file_has_what_the_schema_lets_pass(launcher: dict[str, Any]) -> None:
    given = yaml.safe_load((ROOT / "cluster.yaml").read_text())
    for key in ("cluster_name", "max_workers", "provider", "auth", "head_node_type", "available_node_types"):
        assert given.get(key), key  # without them Ray takes names and users of its own, or asks
    assert given["auth"]["ssh_user"]
    kinds = launcher["available_node_types"]
    head = kinds.pop(launcher["head_node_type"])
    assert head["resources"]["CPU"] == 0
    assert any(kind["resources"].get("GPU") for kind in kinds.values())
    assert any(not kind["resources"].get("GPU") for kind in kinds.values())
    for kind in kinds.values():
        assert (kind["min_workers"], kind["node_config"]["InstanceMarketOptions"]["MarketType"]) == (0, "spot")
        assert 0 < kind["max_workers"] <= launcher["max_workers"]


def test_the_launcher_file_opens_nothing_and_wants_a_token(launcher: dict[str, Any]) -> None:
    start = [line for line in launcher["head_start_ray_commands"] if "ray start" in line]
    join = [line for line in launcher["worker_start_ray_commands"] if "ray start" in line]
    assert len(start) == len(join) == 1
    assert all("RAY_AUTH_MODE=token" in line for line in start + join)
    assert {"--num-cpus=0", "--dashboard-host=127.0.0.1"} <= set(start[0].split())
    assert "~/.ray/auth_token" in launcher["file_mounts"].values()
    server = next(line for line in launcher["head_start_ray_commands"] if "mlflow server" in line)
    assert "--host 127.0.0.1" in server
    assert "0.0.0.0" not in json.dumps(launcher)


def test_the_launcher_file_installs_this_project_with_its_versions(launcher: dict[str, Any]) -> None:
    install = next(line for line in launcher["setup_commands"] if "pip install" in line)
    assert '-c ~/metasweep/constraints.txt "$HOME/metasweep[rl]"' in install
    assert launcher["file_mounts"]["/home/ubuntu/metasweep"] == "."
    for command in launcher["setup_commands"] + launcher["head_start_ray_commands"]:
        subprocess.run(["bash", "-n", "-c", command], check=True)


def test_the_kubernetes_file_is_a_cluster_with_a_token_from_a_secret() -> None:
    (cluster,) = yaml.safe_load_all((ROOT / "deploy" / "kuberay.yaml").read_text())
    assert (cluster["apiVersion"], cluster["kind"]) == ("ray.io/v1", "RayCluster")
    spec = cluster["spec"]
    pinned = re.search(r"^ray==(.+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    assert pinned
    assert spec["rayVersion"] == pinned[1]
    assert spec["authOptions"] == {"mode": "token", "secretName": "metasweep-token"}
    head, workers = spec["headGroupSpec"], spec["workerGroupSpecs"]
    assert (head["serviceType"], head["rayStartParams"]["num-cpus"]) == ("ClusterIP", "0")
    assert all((group["minReplicas"], group["replicas"]) == (0, 0) for group in workers)
    rays = [head["template"]["spec"]["containers"][0], *(g["template"]["spec"]["containers"][0] for g in workers)]
    for container in rays:
        values = {one["name"]: one.get("value") or one["valueFrom"] for one in container["env"]}
        assert values["RAY_AUTH_MODE"] == "token"
        assert values["RAY_AUTH_TOKEN"] == {"secretKeyRef": {"name": "metasweep-token", "key": "auth_token"}}
        assert container["image"]
        assert container["resources"]["requests"] == container["resources"]["limits"]
    copied = re.findall(r"^COPY (\w+) /metasweep/\1$", (ROOT / "deploy" / "Dockerfile").read_text(), re.MULTILINE)
    assert copied == ["orchestrator", "trainers", "sweeps"]


def test_heads_are_told_what_can_be_started(launcher: dict[str, Any]) -> None:
    workers = [Startable({"CPU": 16}, 8), Startable({"CPU": 8, "GPU": 1}, 2)]
    told = [line for line in launcher["head_start_ray_commands"] if "cluster.announce" in line]
    assert len(told) == 1
    assert "--launcher ~/ray_bootstrap_config.yaml" in told[0]
    assert same(of_launcher(ROOT / "cluster.yaml"), workers)
    (cluster,) = yaml.safe_load_all((ROOT / "deploy" / "kuberay.yaml").read_text())
    head = cluster["spec"]["headGroupSpec"]["template"]["spec"]["containers"][0]
    _, *machines = head["lifecycle"]["postStart"]["exec"]["command"][2].partition(">")[0].split("--machine")
    assert same([of_words(words.split()) for words in machines], workers)
    groups = cluster["spec"]["workerGroupSpecs"]
    names = {"num-cpus": "CPU", "num-gpus": "GPU"}
    there = [
        Startable({names[key]: float(n) for key, n in group["rayStartParams"].items()}, group["maxReplicas"])
        for group in groups
    ]
    assert same(there, workers)


def same(some: Any, others: Any) -> bool:
    return sorted(map(repr, map(plain, some))) == sorted(map(repr, map(plain, others)))


def plain(kind: Startable) -> tuple[Any, int]:
    return sorted((name, float(amount)) for name, amount in kind.machine.items()), kind.most


def test_the_slurm_file_is_a_sound_script() -> None:
    subprocess.run(["bash", "-n", SLURM], check=True)
    found = subprocess.run([BIN / "shellcheck", SLURM], capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stdout
    for variables, words in (({}, "is no Slurm job"), ({"SLURM_JOB_ID": "7"}, "no /nowhere/bin/orchestrate")):
        said = subprocess.run(
            ["bash", SLURM, "quickstart"],
            capture_output=True,
            text=True,
            env={"PATH": os.environ["PATH"], "HOME": "/nowhere", "METASWEEP_VENV": "/nowhere", **variables},
            check=False,
        )
        assert (said.returncode, words in said.stderr) == (2, True), said.stderr


SHIM = {
    "scontrol": 'echo node1; echo node2; echo "$@" >> "$SHIM_LOG"',
    # Options of srun end where its command begins; where it would run is noted.
    "srun": 'while [[ $1 == --* ]]; do [[ $1 == --nodelist=* ]] && echo "$1" >> "$SHIM_LOG"; shift; done; exec "$@"',
    "hostname": 'echo "fe80::1 $SHIM_ADDRESS"',
}


@pytest.mark.cluster
@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_slurm_file_runs_a_sweep_on_all_nodes_and_leaves_nothing(glyphs_file: Path, tmp_path: Path) -> None:
    shims = tmp_path / "shims"
    shims.mkdir()
    for name, text in SHIM.items():
        (shims / name).write_text(f"#!/usr/bin/env bash\n{text}\n")
        (shims / name).chmod(0o755)
    spec = tmp_path / "slurm.yaml"
    tiny = {"iterations": 2, "validate_every": 2, "meta_batch": 1, "validation_episodes": 2}
    trial = {"training": tiny, "backbone": {"width": 2}, "episodes": {"ways": 2, "queries": 1}}
    grid = {"train": {"algorithm.name": ["maml", "anil"]}}
    spec.write_text(yaml.safe_dump({"trial": trial | {"evaluation": {"episodes": 2}}, "grid": grid}))
    home = link_data(glyphs_file, tmp_path / "home")
    number = next(n for n in itertools.count(os.getpid()) if not listens(20000 + n % 10000))  # the port of its head
    done = subprocess.run(
        ["bash", SLURM, spec, "--home", home, "--json"],
        env=environment()
        | {
            "PATH": f"{shims}{os.pathsep}{os.environ['PATH']}",
            "HOME": str(tmp_path),
            "METASWEEP_VENV": str(BIN.parent),
            "SLURM_JOB_ID": str(number),
            "SLURM_JOB_NODELIST": "node[1-2]",
            "SLURM_CPUS_PER_TASK": "1",
            "SHIM_LOG": str(tmp_path / "log"),
            "SHIM_ADDRESS": own_address(),
        },
        capture_output=True,
        text=True,
        timeout=3 * PATIENCE_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    status = next(json.loads(line) for line in done.stdout.splitlines() if line.startswith('{"name"'))
    assert (status["state"], status["trials"]["completed"]) == ("done", 2)
    log = (tmp_path / "log").read_text().split("\n")
    assert log[:3] == ["show hostnames node[1-2]", "--nodelist=node1", "--nodelist=node1"]
    assert "--nodelist=node2" in log
    assert list(tmp_path.glob(".metasweep-slurm-*")) == []  # its token

    def gone() -> bool:  # by whole lines, however few columns COLUMNS says
        running = subprocess.run(["ps", "-ewwo", "args"], capture_output=True, text=True, check=True).stdout
        return f"/tmp/ray-{number}" not in running

    wait_for(gone, "parts of its cluster stay")


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((own_address(), port)) == 0


DOC = (ROOT / "docs" / "cluster.md").read_text()
COMMANDS = [
    line.partition("#")[0].strip().removeprefix(".venv/bin/")
    for block in re.findall(r"```\n(.*?)```", DOC, re.DOTALL)
    for line in block.splitlines()
    if re.match(r"(\.venv/bin/)?orchestrate ", line)
]


@pytest.mark.parametrize("line", COMMANDS)
def test_a_command_of_the_page_exists_as_it_stands_there(line: str) -> None:
    _, name, *arguments = shlex.split(line)
    command = cli.commands[name]
    command.make_context(name, arguments)  # raises where an option is unknown


def test_scripts_can_be_run() -> None:
    assert SLURM.stat().st_mode & stat.S_IXUSR
    assert len(COMMANDS) > 10
    assert isinstance(cli, click.Group)
