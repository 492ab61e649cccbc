"""GPUs that a machine declares: trials that ask for shares find their places by them, as Ray counts them."""

from __future__ import annotations

import itertools
import json
import os
from pathlib import Path
from typing import Any

import pytest
from processes import ORCHESTRATE, run
from standing_cluster import standing_cluster

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

# Notes which GPU each attempt has, when it begins and ends, and has it calculated on the processor: there is no GPU.
# Nothing is calculated before four have begun.
NO_DEVICE = """
import importlib.abc, importlib.machinery, os, sys, time
def note(*words):
    log = os.open(os.environ["GPU_LOG"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(log, (" ".join(words) + "\\n").encode())
    os.close(log)
class Finder(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name != "orchestrator.attempt":
            return None
        sys.meta_path.remove(self)
        spec = importlib.machinery.PathFinder.find_spec(name, path)
        load = spec.loader.exec_module
        def exec_module(module):
            load(module)
            attempt = module.attempt_trial
            def attempt_trial(store, configs, data, asked_by, device, **options):
                said = f"{device} {os.environ['CUDA_VISIBLE_DEVICES']}"
                note("began", said)
                end = time.monotonic() + 60
                while sum(line.startswith("began") for line in open(os.environ["GPU_LOG"])) < 4:
                    assert time.monotonic() < end, "four do not run at once"
                    time.sleep(0.05)
                yield from attempt(store, configs, data, asked_by, "cpu", **options)
                note("ended", said)
            module.attempt_trial = attempt_trial
        spec.loader.exec_module = exec_module
        return spec
sys.meta_path.insert(0, Finder())
"""


def test_two_trials_share_each_declared_gpu(spec_file: Any, fresh_glyphs_home: Path, tmp_path: Path) -> None:
    log, shim = tmp_path / "gpus", tmp_path / "shim"
    shim.mkdir()
    (shim / "sitecustomize.py").write_text(NO_DEVICE)
    paths = os.pathsep.join(filter(None, [str(shim), os.environ.get("PYTHONPATH", "")]))
    seeds, half = {"seeds": 6}, {"gpu": 0.5, "cpu": 1}
    shared, too_large = (
        spec_file("shared", grid=seeds, resources=half),
        spec_file("large", grid=seeds, resources={"gpu": 3}),
    )
    with standing_cluster(tmp_path, cpus=8, gpus=2, variables={"PYTHONPATH": paths, "GPU_LOG": str(log)}) as head:
        where = ("--home", fresh_glyphs_home, "--address", head.address, "--json")
        refused = run(ORCHESTRATE, "sweep", too_large, *where, **head.variables)
        done = run(ORCHESTRATE, "sweep", shared, *where, **head.variables)
    assert refused.returncode == 2, refused.stderr
    assert "a trial asks for cpu=1 gpu=3, but no machine here has more than 8 and 2; ask for less" in refused.stderr
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["trials"]["completed"] == 6
    steps = [line.split() for line in log.read_text().splitlines()]
    assert {device for _, device, _ in steps} == {"cuda"}
    for gpu in ("0", "1"):
        changes = [1 if what == "began" else -1 for what, _, its in steps if its == gpu]
        assert max(itertools.accumulate(changes)) == 2, "so many at once on a GPU"
