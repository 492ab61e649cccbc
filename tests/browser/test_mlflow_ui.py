"""The MLflow UI of a real sweep, as ``orchestrate dashboard`` serves it, in a real browser."""

from __future__ import annotations

import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from mlflow_server import Read
from processes import ORCHESTRATE, environment, link_data, run
from screens import Opened

from orchestrator.tracking_uri import default_uri

NAME = "looked-at"
TRIAL: dict[str, Any] = {
    "dataset": {"name": "glyphs"},
    "episodes": {"ways": 3, "shots": 1, "queries": 2},
    "backbone": {"width": 4, "pooling": "stride"},
    "training": {"iterations": 20, "validate_every": 5, "meta_batch": 1, "validation_episodes": 10},
    "evaluation": {"episodes": 20},
}
SEARCH: dict[str, Any] = {
    "trials": 4,
    "sampler": "random",
    "space": {"algorithm.inner_lr": {"loguniform": [0.05, 1.0]}},
}
PATIENCE_MS = 120_000
"""For what takes seconds on a machine that is not busy."""


@pytest.fixture(scope="module")
def home(glyphs_file: Path, tmp_path_factory: pytest.TempPathFactory, browser: Any) -> Path:
    """A home with a finished sweep; none where there is no browser to look at it."""
    folder = tmp_path_factory.mktemp("looked-at")
    path = folder / f"{NAME}.yaml"
    path.write_text(yaml.safe_dump({"question": "Which is best?", "trial": TRIAL, "search": SEARCH}))
    home = link_data(glyphs_file, folder / "home")
    done = run(ORCHESTRATE, "sweep", path, "--home", home, ORCHESTRATE_TRACK_REPORT="yes")
    assert done.returncode == 0, done.stderr
    return home


@pytest.fixture(scope="module")
def links(home: Path) -> Iterator[list[str]]:
    """The addresses that the dashboard prints, while it runs: of the sweep's trials, and of its own run."""
    command = [*ORCHESTRATE, "dashboard", NAME, "--home", str(home)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment()) as dashboard:
        try:
            assert dashboard.stdout is not None
            yield re.findall(r"http://\S+", dashboard.stdout.readline() + dashboard.stdout.readline())
        finally:
            dashboard.send_signal(signal.SIGINT)
            dashboard.wait(60)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_sweep_is_seen_in_mlflow(home: Path, links: list[str], opened: Opened, screenshots: Path) -> None:
    stored = Read(default_uri(home))
    (parent,) = stored.parents
    by_accuracy = sorted(stored.children, key=lambda run: run.data.metrics["test_accuracy"], reverse=True)
    best = by_accuracy[0]
    of_trials, of_sweep = links
    runs = of_sweep.rpartition("/")[0]

    page = opened(of_trials, strict=False)  # what MLflow's own page tells its console is its own affair

    def look(address: str, *texts: str, name: str | None = None) -> None:
        page.goto(address)
        for text in texts:
            page.get_by_text(text).first.wait_for(timeout=PATIENCE_MS)
        if name is not None:
            page.screenshot(path=screenshots / f"mlflow-{name}.png")

    look(of_trials, *(child.info.run_name for child in stored.children), name="trials")
    assert page.get_by_text(parent.info.run_name, exact=True).count() == 0
    header = page.get_by_role("columnheader").all_inner_texts()
    assert {"test_accuracy", "algorithm.inner_lr"} <= {text.strip() for text in header}
    shown = page.get_by_role("link").all_inner_texts()
    names = [child.info.run_name for child in stored.children]
    order = [text.strip() for text in shown if text.strip() in names]
    accuracy = {child.info.run_name: child.data.metrics["test_accuracy"] for child in stored.children}
    assert len(order) == len(names)
    assert [accuracy[one] for one in order] == [run.data.metrics["test_accuracy"] for run in by_accuracy]

    look(of_sweep, *names, "Which is best?", "best_validation_accuracy", name="sweep")

    look(f"{runs}/{best.info.run_id}", best.info.run_name, "validation_accuracy", "glyphs-train", name="trial")
    assert f"{best.data.metrics['test_accuracy']:g}"[:6] in page.locator("body").inner_text()
    page.get_by_text("glyphs-train (").first.click()
    digests = {its.dataset.name: its.dataset.digest for its in best.inputs.dataset_inputs}
    assert len(digests) == 3
    page.get_by_text(digests["glyphs-train"]).last.wait_for(timeout=PATIENCE_MS)
    page.screenshot(path=screenshots / "mlflow-dataset.png")

    look(f"{runs}/{best.info.run_id}/model-metrics")
    page.get_by_placeholder("Search metric charts").fill("^validation_accuracy$")
    curve = page.locator(".js-plotly-plot path.js-line").first
    curve.wait_for(state="attached", timeout=PATIENCE_MS)
    steps = len(stored.client.get_metric_history(best.info.run_id, "validation_accuracy"))
    assert len(re.findall("[ML]", curve.get_attribute("d") or "")) == steps == 4
    page.screenshot(path=screenshots / "mlflow-curve.png")

    look(f"{of_sweep}/artifacts", "spec.yaml", "trials.json", "report", name="artifacts")
