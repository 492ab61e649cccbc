"""The MLflow UI of a real sweep, as ``orchestrate dashboard`` serves it, in a real browser."""

from __future__ import annotations

import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

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
    path.write_text(yaml.safe_dump({"trial": TRIAL, "search": SEARCH}))
    home = link_data(glyphs_file, folder / "home")
    done = run(ORCHESTRATE, "sweep", path, "--home", home)
    assert done.returncode == 0, done.stderr
    return home


@pytest.fixture(scope="module")
def link(home: Path) -> Iterator[str]:
    """The address that the dashboard prints, while it runs."""
    command = [*ORCHESTRATE, "dashboard", "--home", str(home)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment()) as dashboard:
        try:
            assert dashboard.stdout is not None
            found = re.search(r"http://\S+", dashboard.stdout.readline())
            assert found, "the dashboard has printed no address"
            yield found.group()
        finally:
            dashboard.send_signal(signal.SIGINT)
            dashboard.wait(60)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_sweep_is_seen_in_mlflow(home: Path, link: str, opened: Opened, screenshots: Path) -> None:
    stored = Read(default_uri(home))
    (parent,) = stored.parents
    by_accuracy = sorted(stored.children, key=lambda run: run.data.metrics["test_accuracy"], reverse=True)
    best = by_accuracy[0]
    runs = f"{link.partition('/#')[0]}/#/experiments/{stored.experiment.experiment_id}/runs"

    page = opened(link, strict=False)  # what MLflow's own page tells its console is its own affair

    def look(address: str, *texts: str, name: str | None = None) -> None:
        page.goto(address)
        for text in texts:
            page.get_by_text(text).first.wait_for(timeout=PATIENCE_MS)
        if name is not None:
            page.screenshot(path=screenshots / f"mlflow-{name}.png")

    page.get_by_text(stored.experiment.name).first.wait_for(timeout=PATIENCE_MS)
    look(runs, parent.info.run_name)
    page.get_by_text(parent.info.run_name, exact=True).first.click()
    page.wait_for_url(f"**/{parent.info.run_id}**", timeout=PATIENCE_MS)
    for child in stored.children:
        page.get_by_text(child.info.run_name).first.wait_for(timeout=PATIENCE_MS)
    page.screenshot(path=screenshots / "mlflow-sweep.png")

    asked = {
        "searchFilter": f"tags.mlflow.parentRunId = '{parent.info.run_id}'",
        "orderByKey": "metrics.`test_accuracy`",
        "orderByAsc": "false",
    }
    query = urlencode(asked, quote_via=quote)
    look(f"{runs}?{query}", *(child.info.run_name for child in stored.children), name="trials")
    assert page.get_by_text(parent.info.run_name, exact=True).count() == 0
    shown = page.get_by_role("link").all_inner_texts()
    names = [child.info.run_name for child in stored.children]
    order = [text.strip() for text in shown if text.strip() in names]
    accuracy = {child.info.run_name: child.data.metrics["test_accuracy"] for child in stored.children}
    assert len(order) == len(names)
    assert [accuracy[one] for one in order] == [run.data.metrics["test_accuracy"] for run in by_accuracy]

    look(f"{runs}/{best.info.run_id}", best.info.run_name, "validation_accuracy", "glyphs", name="trial")
    assert f"{best.data.metrics['test_accuracy']:g}"[:6] in page.locator("body").inner_text()
    page.get_by_text("glyphs (").first.click()  # the dataset
    (dataset,) = [its.dataset for its in best.inputs.dataset_inputs]
    page.get_by_text(dataset.digest).last.wait_for(timeout=PATIENCE_MS)
    page.screenshot(path=screenshots / "mlflow-dataset.png")

    look(f"{runs}/{best.info.run_id}/model-metrics")
    page.get_by_placeholder("Search metric charts").fill("^validation_accuracy$")
    curve = page.locator(".js-plotly-plot path.js-line").first
    curve.wait_for(state="attached", timeout=PATIENCE_MS)
    steps = len(stored.client.get_metric_history(best.info.run_id, "validation_accuracy"))
    assert len(re.findall("[ML]", curve.get_attribute("d") or "")) == steps == 4
    page.screenshot(path=screenshots / "mlflow-curve.png")

    look(f"{runs}/{parent.info.run_id}/artifacts", "spec.yaml", name="artifacts")
