"""A real browser: the Chromium of this machine, driven by Playwright. Where it is not there, tests are skipped."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from screens import LAPTOP, Opened

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

ROOT = Path(__file__).resolve().parents[2]
NAMES = ("chromium", "chromium-browser", "google-chrome")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.browser)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed: `make setup` does it")
    program = next(filter(None, map(shutil.which, NAMES)), None)
    if program is None:
        pytest.skip("no Chromium on this machine: `apt-get install chromium`, say")
    with playwright.sync_playwright() as driver:
        # Chromium's own sandbox refuses root; /dev/shm may be small in containers.
        arguments = ["--no-sandbox"] * (os.getuid() == 0) + ["--disable-dev-shm-usage"]
        one = driver.chromium.launch(executable_path=program, args=arguments)
        yield one
        one.close()


@pytest.fixture
def opened(browser: Browser) -> Iterator[Opened]:
    """Opens addresses, each in a context of its own that knows no other."""
    contexts, errors = [], []

    def open_address(address: str, wait_until: Any = "load", strict: bool = True, **options: Any) -> Page:
        context = browser.new_context(**({"viewport": LAPTOP} | options))
        contexts.append(context)
        page = context.new_page()
        if strict:
            page.on("console", lambda told: errors.append(told.text) if told.type in ("error", "warning") else None)
            page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(address, wait_until=wait_until, timeout=120_000)
        return page

    yield open_address
    for context in contexts:
        context.close()
    assert errors == []


@pytest.fixture(scope="session")
def screenshots() -> Path:
    """Folder of the pictures that tests leave: ``ORCHESTRATE_SCREENSHOTS``, or ``build/screenshots``."""
    folder = Path(os.environ.get("ORCHESTRATE_SCREENSHOTS") or ROOT / "build" / "screenshots")
    folder.mkdir(parents=True, exist_ok=True)
    return folder
