"""GPUs that a machine declares: trials that ask for shares find their places by them, as Ray counts them."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import pytest
from declared_gpus import no_device, noted
from processes import ORCHESTRATE, run
from standing_cluster import standing_cluster

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


def test_two_trials_share_each_declared_gpu(spec_file: Any, fresh_glyphs_home: Path, tmp_path: Path) -> None:
    seeds, half = {"seeds": 6}, {"gpu": 0.5, "cpu": 1}
    shared, too_large = (
        spec_file("shared", grid=seeds, resources=half),
        spec_file("large", grid=seeds, resources={"gpu": 3}),
    )
    with standing_cluster(tmp_path, cpus=8, gpus=2, variables=no_device(tmp_path, together=4)) as head:
        where = ("--home", fresh_glyphs_home, "--address", head.address, "--json")
        refused = run(ORCHESTRATE, "sweep", too_large, *where, **head.variables)
        done = run(ORCHESTRATE, "sweep", shared, *where, **head.variables)
    assert refused.returncode == 2, refused.stderr
    assert "a trial asks for cpu=1 gpu=3, but no machine here has more than 8 and 2; ask for less" in refused.stderr
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["trials"]["completed"] == 6
    steps = noted(tmp_path)
    assert {device for _, device, _, _ in steps} == {"cuda"}
    for gpu in ("0", "1"):
        changes = [1 if what == "began" else -1 for what, _, _, its in steps if its == gpu]
        assert max(itertools.accumulate(changes)) == 2, "so many at once on a GPU"
