"""What the Content-Security-Policy stops is noticed: by the fixture that fails a test, and by the portal's own log."""

from __future__ import annotations

from typing import Any

from playwright.sync_api import Page

from tests.browser.conftest import Login
from tests.cast import Cast


def test_a_planted_inline_script_is_stopped_told_and_reported(
    browser_page: Page, login: Login, server: Any, cast: Cast, expected_problems: list[str]
) -> None:
    expected_problems += ["Content Security Policy", "CSP report"]
    reports: list[str] = []
    told: list[str] = []
    browser_page.on("request", lambda sent: reports.append(sent.url) if sent.url.endswith("/csp-report") else None)
    browser_page.on("console", lambda line: told.append(line.text) if line.type == "error" else None)
    login(browser_page, cast.alice)
    browser_page.goto("/")
    assert not told, "the page itself violates its policy"
    browser_page.evaluate("document.body.insertAdjacentHTML('beforeend', '<b style=\"color: red\" onclick=\"steal()\">x</b>')")
    with browser_page.expect_request("**/csp-report"):
        browser_page.evaluate(
            "() => { const one = document.createElement('script'); one.textContent = 'window.stolen = 1'; document.body.append(one) }"
        )
    assert browser_page.evaluate("window.stolen") is None
    assert any("Content Security Policy" in line for line in told)
    assert reports
