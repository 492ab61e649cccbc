"""The page of a report in a real browser: what a reader clicks, types and prints, at every width."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from screens import LAPTOP, PHONE, Opened
from searched_home import NAME, QUESTION, make_searched_home

from orchestrator.home import open_home
from orchestrator.report.write import write_report
from orchestrator.results import Study, load_study

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

TRIALS = 41
"""Some pruned and one failed."""
CELLS = "[aria-labelledby=table-cells]"


@pytest.fixture(scope="session")
def folder(once: Callable[[str, Callable[[Path], object]], Path]) -> Path:
    """A home with a search, and its report in ``report``."""

    def make(folder: Path) -> None:
        home = str(make_searched_home(folder, TRIALS))
        write_report(load_study(NAME, home), open_home(home), str(folder / "report"))

    return once("searched", make)


@pytest.fixture(scope="session")
def study(folder: Path) -> Study:
    return load_study(NAME, str(folder / "home"))


@pytest.fixture(scope="session")
def address(folder: Path) -> str:
    return (folder / "report" / "index.html").as_uri()


def column(table: Locator, name: str) -> list[str]:
    """What stands in a column, from top to bottom, of the rows that are shown."""
    index = [text.strip(" ↕↑↓\u00a0") for text in table.locator("thead th").all_text_contents()].index(name)
    rows = table.locator("tbody tr:visible")
    return [row.locator("th, td").nth(index).inner_text() for row in rows.all()]


def too_wide(page: Page) -> Any:
    """Whether the page scrolls sideways, which of its tables do, and what does not fit into its cell."""
    return page.evaluate(
        """() => {
          const all = selector => [...document.querySelectorAll(selector)];
          const wide = selector => all(selector).filter(one => one.scrollWidth > one.clientWidth + 1);
          const regions = wide('.scroll').map(one => one.getAttribute('aria-labelledby'));
          const cells = wide('tbody th, tbody td').map(one => one.outerHTML);
          return [document.documentElement.scrollWidth > innerWidth, ...regions, ...cells];
        }"""
    )


def test_tables_sort_by_mouse_and_by_keyboard(address: str, study: Study, opened: Opened) -> None:
    page = opened(address)
    table = page.locator(CELLS)
    written = column(table, "trial")
    test = table.get_by_role("columnheader", name="test, %")
    completed = [cell for cell in study.cells if cell.estimate]
    expected = [f"{100 * cell.mean('test_accuracy'):.1f}" for cell in completed]

    def numbers() -> list[str]:
        return [text for text in column(table, "test, %") if text != "–"]

    test.get_by_role("button").click()
    assert test.get_attribute("aria-sort") == "descending"
    assert numbers() == sorted(expected, key=float, reverse=True)
    assert column(table, "test, %")[len(expected) :] == ["–"] * (TRIALS - len(expected))
    test.get_by_role("button").press("Enter")
    assert test.get_attribute("aria-sort") == "ascending"
    assert numbers() == sorted(expected, key=float)
    assert column(table, "test, %")[len(expected) :] == ["–"] * (TRIALS - len(expected))
    page.keyboard.press("Space")
    assert test.get_attribute("aria-sort") is None
    assert column(table, "trial") == written
    table.focus()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert column(table, "trial") == [str(number) for number in range(TRIALS)]


def test_numbers_with_units_and_signs_are_in_order(address: str, opened: Opened) -> None:
    page = opened(address)
    table = page.locator("[aria-labelledby=table-survivors]")
    costs = ["2 GFLOP", "30 MFLOP", "–", "1,500 MFLOP"]
    for cell, text in zip(table.locator("tbody td:last-child").all(), costs, strict=True):
        cell.evaluate("(one, text) => { one.textContent = text; }", text)
    for cell, text in zip(
        table.locator("tbody td:nth-child(2)").all(), ["−0.6", "0.2 to 3", "conv1", "10"], strict=True
    ):
        cell.evaluate("(one, text) => { one.textContent = text; }", text)
    table.get_by_role("button", name="best so far, %").click()
    assert column(table, "best so far, %") == ["2 GFLOP", "1,500 MFLOP", "30 MFLOP", "–"]
    table.get_by_role("button", name="came there").click()
    assert column(table, "came there") == ["conv1", "10", "0.2 to 3", "−0.6"]


def test_filters_keep_what_has_every_word(address: str, study: Study, opened: Opened) -> None:
    page = opened(address)
    page.get_by_label("Show rows with").first.fill("ANIL")
    rows = [row for row in study.rows if row.config.algorithm.name == "anil"]
    assert set(column(page.locator(CELLS), "trial")) == {row.name for row in rows}
    assert page.locator(".filter:has(input[data-filters*=cells]) output").inner_text() == f"{len(rows)} of {TRIALS}"
    page.get_by_label("Show trials with").fill("maml pruned")
    wanted = [row.name for row in study.rows if row.config.algorithm.name == "maml" and row.state == "pruned"]
    shown = page.locator(".trials > li:visible summary")
    assert [one.get_attribute("data-number") for one in shown.all()] == wanted


def test_links_lead_to_trials(address: str, study: Study, opened: Opened) -> None:
    page = opened(address)
    page.get_by_label("Show trials with").fill("nothing has this")
    for row in (study.rows[3], next(row for row in study.rows if row.state == "failed")):
        link = page.locator(f"{CELLS} a[href='#trial-{row.name}'], #failures + ul a[href='#trial-{row.name}']").last
        link.click()
        details = page.locator(f"[id='trial-{row.name}'] details")
        assert details.get_attribute("open") is not None
        assert row.keys.training in details.inner_text()
        assert details.locator("summary").evaluate("one => one === document.activeElement")
    again = opened(f"{address}#trial-7")
    assert study.rows[7].keys.training in again.locator("#trial-7").inner_text()


@pytest.mark.parametrize("width", [390, 640, 800, 992, 1100, 1280])
def test_nothing_needs_sideways_scrolling(width: int, address: str, opened: Opened) -> None:
    page = opened(address, viewport={"width": width, "height": 844})
    assert too_wide(page) == [False]
    if width <= 640:  # a column's name stands before its value, and must not run into it
        broken = "all => all.every(one => getComputedStyle(one, '::before').whiteSpace === 'normal')"
        assert page.locator("tbody th, tbody td").evaluate_all(broken)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(("device", "size"), [("laptop", LAPTOP), ("phone", PHONE)])
def test_it_follows_the_colours_of_the_reader(
    device: str, size: Any, scheme: Any, address: str, opened: Opened, screenshots: Path
) -> None:
    page = opened(address, viewport=size, color_scheme=scheme)
    colour = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(json.loads(f"[{colour[4:-1]}]")) > 384) == (scheme == "light")
    page.screenshot(path=screenshots / f"page-{device}-{scheme}.png")
    page.locator("#tables").scroll_into_view_if_needed()
    page.locator("#tables").evaluate("one => one.scrollIntoView()")
    page.screenshot(path=screenshots / f"page-{device}-{scheme}-tables.png")


def test_it_prints_whole(address: str, opened: Opened, screenshots: Path) -> None:
    page = opened(address, viewport={"width": 720, "height": 1018})  # A4 with margins
    page.emulate_media(media="print")
    assert too_wide(page) == [False]
    assert page.locator(".filter:visible, nav:visible").count() == 0
    assert page.locator(f"{CELLS} tbody tr").last.evaluate("one => one.closest('.scroll').scrollHeight > 800")
    clipped = "one => getComputedStyle(one).overflowY !== 'visible' && one.scrollHeight > one.clientHeight"
    assert not page.locator(".scroll").evaluate_all(f"all => all.some({clipped})")
    page.screenshot(path=screenshots / "page-print.png", full_page=True)
    assert page.pdf(format="A4").startswith(b"%PDF")


def test_without_javascript_every_number_is_there(
    address: str, study: Study, opened: Opened, screenshots: Path
) -> None:
    page = opened(address, java_script_enabled=False)
    assert page.locator("h1").inner_text() == QUESTION
    assert page.locator("button:visible, input:visible").count() == 0
    best = max(study.cells, key=lambda cell: cell.mean("validation_accuracy") or 0.0)
    assert page.locator(f"{CELLS} tbody th").first.inner_text() == str(best.number)
    assert page.locator(f"{CELLS} tbody tr").count() == TRIALS
    page.screenshot(path=screenshots / "page-no-javascript.png")
    phone = opened(address, java_script_enabled=False, viewport=PHONE)
    assert phone.locator(f"{CELLS} thead").is_hidden()  # there is nothing to sort by; each value has its column's name
    assert too_wide_without_script(phone)


def too_wide_without_script(page: Page) -> bool:
    """Whether all tables are as narrow as the page."""
    boxes = [one.bounding_box() for one in page.locator("table").all()]
    return all(box is not None and box["x"] + box["width"] <= PHONE["width"] for box in boxes)
