"""One sweep on three machines that share no disk: it spreads, survives what happens to them, and changes in no bit."""

from __future__ import annotations

import time
from typing import Any

from trainers.datasets.image_file import ImageTable


def now_ms() -> int:
    return int(1000 * time.time())


def test_trials_spread_and_the_data_cross_once(cluster: Any, spec_file: Any, alone: Any, glyphs: ImageTable) -> None:
    spec = spec_file("spread", seeds=9, iterations=40, validate_every=20)
    code, status, err = cluster.end(cluster.start(spec))
    assert (code, status["state"], status["trials"]["completed"]) == (0, "done", 9), err
    found = cluster.look(spec)
    nodes = [attempt["node"] for attempt in found["attempts"]]
    assert len(nodes) == 9
    assert {*nodes} == {machine.name for machine in cluster.machines}
    for machine in cluster.machines:
        size = glyphs.pixels.nbytes
        assert size <= machine.shared_memory_bytes() < 1.2 * size, f"one copy for all trials of {machine.name}"
    assert found["outcome"] == alone(spec)


def test_a_node_dies_and_one_joins_late(cluster: Any, spec_file: Any, alone: Any) -> None:
    third = cluster.machines[2]
    spec = spec_file("crash", seeds=9, iterations=600, validate_every=100)
    driver = cluster.start(spec)
    cluster.wait_for_attempt(spec, third, driver)
    third.crash()
    died_ms = now_ms()
    third.start_ray()
    cluster.wait_for_attempt(spec, third, driver, after_ms=died_ms)
    code, status, err = cluster.end(driver)
    assert (code, status["trials"]["completed"], status["trials"]["failed"]) == (0, 9, 0), err
    found = cluster.look(spec)
    assert found["outcome"] == alone(spec)
    cut = [attempt for attempt in found["attempts"] if attempt["state"] != "complete"]
    assert {attempt["node"] for attempt in cut} == {third.name}
    again = [attempt for attempt in found["attempts"] if attempt["training_key"] == cut[0]["training_key"]]
    assert again[-1]["state"] == "complete"
    assert again[-1]["resumed_at"] >= 100


def test_a_partition(cluster: Any, spec_file: Any, alone: Any) -> None:
    second = cluster.machines[1]
    spec = spec_file("partition", seeds=6, iterations=600, validate_every=100)
    driver = cluster.start(spec)
    cluster.wait_for_attempt(spec, second, driver)
    second.plug(False)
    code, status, err = cluster.end(driver)
    second.plug(True)
    assert (code, status["trials"]["completed"], status["trials"]["failed"]) == (0, 6, 0), err
    found = cluster.look(spec)
    assert found["outcome"] == alone(spec)
    assert {attempt["node"] for attempt in found["attempts"] if attempt["state"] == "complete"} > {"node1"}
