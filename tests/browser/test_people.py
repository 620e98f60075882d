"""Invite, accept, log in, add a second factor: in a real browser, without a console error or a CSP violation."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import Page

from tests.browser.conftest import SCREENSHOTS, Login
from tests.cast import PASSWORD, Cast

pytestmark = pytest.mark.django_db(transaction=True)


def test_an_invited_person_makes_an_account_and_adds_a_second_factor(browser_page: Page, login: Login, server: Any, cast: Cast) -> None:
    page = browser_page
    login(page, cast.sys)
    page.goto(f"{server.url}/people/")
    page.get_by_label("E-mail address").fill("new@example.org")
    page.get_by_label("Uploader").check()
    page.get_by_label("Site", exact=False).last.select_option(label="North")
    page.get_by_role("button", name="Make the one-time link").click()
    link = page.get_by_label("One-time link").input_value()
    _picture(page, "people")
    page.get_by_role("button", name="Log out").click()
    page.goto(link)
    page.get_by_label("Your name").fill("New Person")
    page.get_by_label("Password").fill(PASSWORD)
    _picture(page, "invitation")
    page.get_by_role("button", name="Make the account").click()
    page.get_by_label("Email").fill("new@example.org")
    page.get_by_label("Password").fill(PASSWORD)
    _picture(page, "login")
    page.get_by_role("button", name="Log in").click()
    assert page.get_by_text("New Person", exact=True).is_visible()
    for name in ("2fa/", "2fa/totp/activate/", "2fa/webauthn/add/", "password/change/"):
        page.goto(f"{server.url}/accounts/{name}")
        if "/reauthenticate/" in page.url:
            page.get_by_label("Password").fill(PASSWORD)
            page.get_by_role("button", name="Confirm").click()
        page.wait_for_url(f"**/accounts/{name}")
        assert page.locator("h1").is_visible()
        _picture(page, name.strip("/").replace("/", "-"))


def _picture(page: Page, name: str) -> None:
    SCREENSHOTS.mkdir(exist_ok=True)
    page.screenshot(path=SCREENSHOTS / f"{name}.png")
