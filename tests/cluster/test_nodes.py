"""One sweep on three machines that share no disk: it spreads, survives what happens to them, and changes in no bit."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from declared_gpus import no_device, noted
from machines import STORE_BYTES

from trainers.datasets.image_file import ImageTable

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.timeout(600)]

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


def now_ms() -> int:
    return int(1000 * time.time())


def test_trials_spread_and_the_data_cross_once(
    cluster: Any, spec_file: Any, alone: Any, glyphs: ImageTable, glyphs_file: Path
) -> None:
    head, having, lacking = cluster.machines
    cluster.give_data(having, glyphs_file)
    spec = spec_file("spread", seeds=6, iterations=40, validate_every=20)
    code, status, err = cluster.end(cluster.start(spec))
    assert (code, status["state"], status["trials"]["completed"]) == (0, "done", 6), err
    found = cluster.look(spec)
    nodes = [attempt["node"] for attempt in found["attempts"]]
    assert len(nodes) == 6
    assert {*nodes} == {machine.name for machine in cluster.machines}
    assert found["outcome"] == alone(spec)

    size = glyphs.pixels.nbytes
    assert size <= head.shared_memory_bytes() < 1.2 * size, "the driver's copy, from which others are made"
    assert size <= lacking.shared_memory_bytes() < 1.2 * size, f"one copy for {nodes.count(lacking.name)} trials"
    assert having.shared_memory_bytes() < 0.2 * size, "it maps its own file"
    remains = json.loads(head.run(sys.executable, "-c", REMAINS, cluster.address, str(STORE_BYTES)))
    assert remains["seen"] >= 10_000_000
    assert remains["after"] == 0


def test_a_node_dies_and_one_joins_late(cluster: Any, spec_file: Any, alone: Any) -> None:
    third = cluster.machines[2]
    spec = spec_file("crash", seeds=8, iterations=600, validate_every=50)
    driver = cluster.start(spec)
    cluster.wait_for_attempt(spec, third, driver)
    third.crash()
    died_ms = now_ms()
    third.start_ray()
    cluster.wait_for_attempt(spec, third, driver, after_ms=died_ms)
    code, status, err = cluster.end(driver)
    assert (code, status["trials"]["completed"], status["trials"]["failed"]) == (0, 8, 0), err
    found = cluster.look(spec)
    assert found["outcome"] == alone(spec)
    cut = [attempt for attempt in found["attempts"] if attempt["state"] != "complete"]
    assert {attempt["node"] for attempt in cut} == {third.name}
    again = [attempt for attempt in found["attempts"] if attempt["training_key"] == cut[0]["training_key"]]
    assert again[-1]["state"] == "complete"
    assert again[-1]["resumed_at"] >= 50


def test_a_partition(cluster: Any, spec_file: Any, alone: Any) -> None:
    second = cluster.machines[1]
    spec = spec_file("partition", seeds=4, iterations=600, validate_every=50)
    driver = cluster.start(spec)
    cluster.wait_for_attempt(spec, second, driver)
    second.plug(False)
    code, status, err = cluster.end(driver)
    second.plug(True)
    assert (code, status["trials"]["completed"], status["trials"]["failed"]) == (0, 4, 0), err
    found = cluster.look(spec)
    assert found["outcome"] == alone(spec)
    assert {attempt["node"] for attempt in found["attempts"] if attempt["state"] == "complete"} > {"node1"}


def test_trials_go_where_gpus_are_declared(cluster: Any, spec_file: Any, alone: Any, tmp_path: Path) -> None:
    _, *with_gpu = cluster.machines
    variables = no_device(tmp_path, together=2)
    for machine in with_gpu:
        machine.crash()
        machine.start_ray("--num-gpus=1", **variables)
    sizes = {"seeds": 4, "iterations": 40, "validate_every": 20}
    code, _, err = cluster.end(cluster.start(spec_file("large", **sizes, resources={"gpu": 2})))
    assert code == 2
    assert "a trial asks for cpu=1 gpu=2, but no machine here has more than 1 and 1; ask for less" in err
    spec = spec_file("gpus", **sizes, resources={"gpu": 1})
    code, status, err = cluster.end(cluster.start(spec))
    assert (code, status["trials"]["completed"]) == (0, 4), err
    assert cluster.look(spec)["outcome"] == alone(spec_file("processors", **sizes))
    began = [(device, node) for what, device, node, _ in noted(tmp_path) if what == "began"]
    assert len(began) == 4
    assert {*began} == {("cuda", machine.name) for machine in with_gpu}
