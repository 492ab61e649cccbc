"""A cluster without machines until there are trials: Ray's autoscaler starts them, and they run the trials."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from in_process import TINY
from processes import ORCHESTRATE, attempts, driving, faults, run
from standing_cluster import LAUNCHER, standing_cluster

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.timeout(600)]

SWEEP: dict[str, Any] = {
    "trial": TINY | {"training": TINY["training"] | {"iterations": 20, "validate_every": 20}},
    "grid": {"seeds": 4},
}


def test_machines_are_started_for_trials(tmp_path: Path, new_home: Callable[[Path], Path]) -> None:
    home, spec = new_home(tmp_path / "home"), tmp_path / "grows.yaml"
    spec.write_text(yaml.safe_dump(SWEEP))
    two_are_there = tmp_path / "two-are-there"
    waits = faults(FAULT_WAIT="/.progress.safetensors", FAULT_UNTIL=two_are_there)  # else one machine might do it all
    with standing_cluster(tmp_path, cpus=0, grows_by=2, variables=waits) as head:
        announce = [sys.executable, "-m", "orchestrator.cluster.announce", "--address", head.address]
        there: tuple[Any, ...] = ("--home", home, "--address", head.address)

        def machines() -> str:
            looked = run(ORCHESTRATE, "doctor", "--address", head.address, "--json", **head.variables)
            findings = {one["what"]: one["found"] for one in json.loads(looked.stdout)["findings"]}
            return f"{findings['machines']}; {findings.get('autoscaler', 'nothing more')}"

        untold = run(ORCHESTRATE, "sweep", spec, *there, **head.variables)
        assert untold.returncode == 2
        assert "no machine here has more than 0 and 0" in untold.stderr

        told = run(tuple(announce), "--launcher", tmp_path / LAUNCHER, **head.variables)
        assert (told.returncode, told.stderr) == (0, "")
        assert machines() == "1 there: 0 CPUs, 0 GPUs; starts up to 2 of 1 CPUs, 0 GPUs"
        with driving(home, spec, *there[2:], "--json", **head.variables) as driver:
            driver.wait_until(lambda: len(attempts(home)) == 2, "no second machine takes a trial")
            two_are_there.touch()
            code, out, err = driver.end()
        assert code == 0, err
        assert json.loads(out)["trials"]["completed"] == 4
        assert "logging.cc" not in err
        assert machines().startswith("3 there: 2 CPUs")
    ended = attempts(home)
    assert [one["state"] for one in ended] == ["complete"] * 4
    assert len({one["pid"] for one in ended}) == 2  # a worker on each
