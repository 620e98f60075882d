"""The frame of the pages in a real browser."""

from __future__ import annotations

import re
from typing import Any

from playwright.sync_api import Page, expect

from tests.cast import Cast


def test_a_stranger_is_asked_to_log_in(browser_page: Page, server: Any) -> None:
    browser_page.goto("/")
    expect(browser_page).to_have_url(re.compile("/accounts/login/"))


def test_the_first_page_names_who_is_logged_in(browser_page: Page, login: Any, cast: Cast) -> None:
    login(browser_page, cast.rita)
    browser_page.goto("/")
    expect(browser_page.locator("header.bar")).to_contain_text("Rita")
