"""Makes the pictures of docs/review.md from a sweep: of its report, and of the MLflow UI that ``dashboard`` serves.

python docs/review/pictures.py inner-loop --home runs       a minute; needs Chromium and the packages of `.[dev]`
"""

from __future__ import annotations

import argparse
import io
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote, urlencode

from mlflow import MlflowClient
from PIL import Image
from playwright.sync_api import Locator, Page, sync_playwright

from orchestrator.home import open_home
from orchestrator.report.write import write_report
from orchestrator.results import load_study
from orchestrator.tracking_uri import default_uri, experiment_name

FOLDER = Path(__file__).parent
SIZE = {"width": 1280, "height": 800}
PATIENCE_MS = 120_000
ORCHESTRATE = str(Path(sys.executable).with_name("orchestrate"))


def main() -> None:
    """Writes the pictures beside this file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sweep")
    parser.add_argument("--home", type=Path, default=Path("runs"))
    asked = parser.parse_args()
    program = shutil.which("chromium") or shutil.which("google-chrome")
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=program, args=["--no-sandbox"])
        page = browser.new_page(viewport=SIZE)
        page.set_default_timeout(PATIENCE_MS)
        picture_report(page, asked.sweep, asked.home)
        with dashboard(asked.home) as address:
            picture_mlflow(page, asked.sweep, asked.home, address)
        browser.close()


def keep(data: bytes, name: str) -> None:
    """As WebP: a fifth of the PNG, and sharp."""
    path = FOLDER / f"{name}.webp"
    Image.open(io.BytesIO(data)).convert("RGB").save(path, quality=72, method=6)
    print(f"{path.name}: {path.stat().st_size / 1000:.0f} kB")


def picture_report(page: Page, sweep: str, home: Path) -> None:
    """The page at its top, its search figures, its table sorted, one trial, and a phone in the dark."""
    place = write_report(load_study(sweep, str(home)), open_home(str(home), create=False)).place
    address = (Path(place).absolute() / "index.html").as_uri()
    page.goto(address)
    keep(page.screenshot(), "page")
    for name in ("survivors", "slices", "parallel-coordinates"):
        if page.locator(f"#figure-{name}").count():
            keep(part(page, name).screenshot(), name)
    table = page.locator("[aria-labelledby=table-cells]")
    table.get_by_role("button", name="test, %", exact=False).first.click()
    page.locator("#table-cells").evaluate("one => one.scrollIntoView()")
    keep(page.screenshot(), "table")
    page.get_by_role("link", name="Its config and curve").click()
    keep(page.screenshot(), "trial")
    page.set_viewport_size({"width": 390, "height": 800})
    page.emulate_media(color_scheme="dark")
    page.goto(address)
    keep(page.screenshot(), "phone")
    page.set_viewport_size(SIZE)
    page.emulate_media(color_scheme="light")


def part(page: Page, name: str) -> Locator:
    """A figure of the page, with its title and caption."""
    return page.locator(f"div:has(> #figure-{name})")


def picture_mlflow(page: Page, sweep: str, home: Path, address: str) -> None:
    """The run table, the sweep's own run, a curve, and the trials compared."""
    client = MlflowClient(tracking_uri=default_uri(home))
    experiment = client.get_experiment_by_name(experiment_name())
    runs = list(client.search_runs([experiment.experiment_id]))
    (parent,) = [run for run in runs if run.data.tags.get("metasweep.sweep") == sweep and not is_child(run)]
    trials = [run for run in runs if run.data.tags.get("mlflow.parentRunId") == parent.info.run_id]
    completed = [run for run in trials if "test_accuracy" in run.data.metrics]
    best = max(completed, key=lambda run: run.data.metrics["best_validation_accuracy"])
    place = f"{address}/#/experiments/{experiment.experiment_id}/runs"
    page.goto(f"{place}?viewStateShareKey={parent.info.run_id}")
    page.get_by_text(best.info.run_name).first.wait_for()
    without_assistant(page)
    keep(page.screenshot(), "mlflow-trials")
    page.goto(f"{place}/{parent.info.run_id}")
    page.get_by_text(best.info.run_name).first.wait_for()
    keep(page.screenshot(), "mlflow-sweep")
    page.goto(f"{place}/{best.info.run_id}/model-metrics")
    page.get_by_placeholder("Search metric charts").fill("^(validation|train)_accuracy$")
    page.locator(".js-plotly-plot path.js-line").first.wait_for(state="attached")
    page.wait_for_timeout(1000)  # the chart moves to its place
    keep(page.screenshot(), "mlflow-curve")
    names = [run.info.run_id for run in completed[:20]]
    several = {"runs": f"[{','.join(f'{chr(34)}{name}{chr(34)}' for name in names)}]"}
    several["experiments"] = f'["{experiment.experiment_id}"]'
    page.goto(f"{address}/#/compare-runs?{urlencode(several, quote_via=quote)}")
    page.get_by_text("Parallel Coordinates Plot").first.wait_for()
    page.wait_for_timeout(2000)
    keep(page.screenshot(), "mlflow-compare")


def is_child(run: object) -> bool:
    """Whether an MLflow run is one of a trial."""
    return "mlflow.parentRunId" in run.data.tags  # type: ignore[attr-defined]


def without_assistant(page: Page) -> None:
    """Closes the panel that MLflow opens beside everything, where it does."""
    panel = page.get_by_text("MLflow Assistant").first
    if panel.is_visible():
        panel.locator("xpath=ancestor::*[.//button][1]//button").last.click()


@contextmanager
def dashboard(home: Path) -> Iterator[str]:
    """The server's address, while it runs."""
    command = [ORCHESTRATE, "dashboard", "--home", str(home)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            found = re.search(r"http://[^/\s]+", server.stdout.readline())
            assert found, "the dashboard has printed no address"
            yield found.group()
        finally:
            server.send_signal(signal.SIGINT)
            server.wait(60)


if __name__ == "__main__":
    main()
