"""The pages of patients in a browser: reached by keyboard, fitting a tablet, passing axe."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from tests.cast import Cast, make_image

pytestmark = pytest.mark.django_db(transaction=True)
WIDTHS = ((1280, 800), (820, 1180))


def passes_axe(page: Page) -> None:
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), f"too wide: {page.url}"
    results = Axe().run(page)
    assert results.violations_count == 0, results.generate_report()


def test_the_pages_are_reached_by_keyboard_fit_a_tablet_and_pass_axe(
    new_page: Callable[..., Page], login: Any, cast: Cast, screenshot: Any
) -> None:
    for n in range(5):
        make_image(cast.north, state="settled", patient="P1", exam=f"V{n % 2}", name=f"p1-{n}.jpg")
    make_image(cast.north, state="in_review", patient="P2", p_non_regular=0.5)
    for width, height in WIDTHS:
        page = new_page(width=width, height=height)
        login(page, cast.lena)
        page.goto("/patients/")
        passes_axe(page)
        screenshot(page, f"patients-{width}")
        page.get_by_role("link", name="P1", exact=True).focus()
        page.keyboard.press("Enter")
        expect(page.get_by_role("heading", name="Patient P1")).to_be_visible()
        passes_axe(page)
        screenshot(page, f"patient-{width}")
