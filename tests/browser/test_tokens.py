"""The page of upload tokens in a real browser: shown once, revoked, on a tablet, with axe."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from tests.cast import Cast


@pytest.mark.parametrize("width", [1280, 820])
def test_a_token_is_made_shown_once_and_revoked(
    new_page: Callable[..., Page], login: Any, cast: Cast, screenshot: Callable[[Page, str], Path], width: int
) -> None:
    page = new_page(width=width, bypass_csp=True)
    login(page, cast.alice)
    page.goto("/uploads/")
    page.get_by_role("link", name="Upload tokens").click()
    page.get_by_label("Name").fill("camera room")
    page.get_by_role("button", name="Make the token").click()
    assert page.get_by_label("Token for North").input_value().startswith("winnow_")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    found = Axe().run(page)
    assert found.violations_count == 0, found.generate_report()
    screenshot(page, f"tokens-{width}")
    page.goto("/tokens/")
    expect(page.get_by_label("Token for North")).to_have_count(0)
    page.get_by_role("button", name="Revoke camera room").click()
    expect(page.get_by_role("status").first).to_contain_text("is revoked")
    expect(page.locator("tr", has_text="camera room")).to_contain_text("revoked")
