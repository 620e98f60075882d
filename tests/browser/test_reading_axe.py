"""Every page and state of the reading room passes axe, at a desk and on a tablet, with the focus to be seen."""

from __future__ import annotations

import csv
from collections.abc import Callable
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from portal.reviews.models import Lease, Read, ReviewRules, ReviewTask
from tests.browser.test_reading import tasks
from tests.browser.test_reading_on import ready
from tests.cast import Cast
from tests.conftest import REAL_DATA

FOCUS_IS_SEEN = """() => {
  const style = getComputedStyle(document.activeElement);
  return document.activeElement !== document.body && (style.outlineStyle !== "none" || style.boxShadow !== "none");
}"""


def real_pictures(count: int) -> list[bytes]:
    """Of cervices where there are some here, else none: then pictures are drawn."""
    manifest = REAL_DATA / "manifest.csv"
    if not manifest.exists():
        return []
    with manifest.open() as lines:
        paths = [REAL_DATA / row["path"] for row in csv.DictReader(lines)]
    return [path.read_bytes() for path in paths[:count]]


def passes(page: Page, name: str, screenshot: Any) -> None:
    screenshot(page, name)
    found = Axe().run(page)
    assert found.violations_count == 0, f"{name}\n{found.generate_report()}"
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), name


@pytest.mark.parametrize("width", [1280, 820])
def test_each_state_passes_axe(
    new_page: Callable[..., Page], login: Any, cast: Cast, screenshot: Any, width: int, expected_problems: list[str]
) -> None:
    expected_problems += ["400", "409"]
    page = new_page(width=width, height=1180 if width < 1000 else 800, bypass_csp=True)
    queue = tasks(cast, 3, pictures=real_pictures(3))
    login(page, cast.rita)
    page.goto("/reading/")
    ready(page)
    page.keyboard.press("6")
    page.keyboard.press("8")
    passes(page, f"reading-unusable-{width}", screenshot)
    page.keyboard.press("?")
    passes(page, f"reading-keys-help-{width}", screenshot)
    page.keyboard.press("Escape")
    page.keyboard.press("1")
    page.keyboard.press("Enter")
    expect(page.locator("#undo")).to_be_visible()
    ReviewRules.objects.create(reveal=True)
    page.keyboard.press("s")
    assert page.evaluate(FOCUS_IS_SEEN)
    passes(page, f"reading-undo-and-skip-{width}", screenshot)
    page.keyboard.press("2")
    page.keyboard.press("b")
    page.keyboard.press("ArrowUp")
    page.keyboard.press("b")
    page.locator("#submit").click()
    expect(page.get_by_role("heading", name="The model says")).to_be_visible()
    ready(page)
    passes(page, f"reading-revealed-{width}", screenshot)
    page.goto("/reading/")
    ready(page)
    Lease.objects.filter(task=queue[2]).delete()
    ReviewTask.objects.filter(pk=queue[2].pk).update(state="cancelled")
    expected_problems.append("404")
    page.keyboard.press("1")
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Next picture")).to_be_focused()
    passes(page, f"reading-trouble-{width}", screenshot)
    page.goto("/reading/mine/")
    passes(page, f"reading-mine-{width}", screenshot)
    page.get_by_role("link", name="Amend").first.click()
    ready(page)
    passes(page, f"reading-amend-{width}", screenshot)
    page.goto("/reading/keys/")
    page.get_by_label("Skip the picture").fill("?")
    page.get_by_role("button", name="Keep", exact=True).click()
    passes(page, f"reading-keys-{width}", screenshot)
    assert Read.objects.count() == 2
