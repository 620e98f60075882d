"""A real Chromium on a real server. `browser_page` is logged out, 1280x800; a console error or a CSP violation fails the test.

def test_x(browser_page, login, server, cast):
    login(browser_page, cast.rita)
    browser_page.goto(server.url + "/reading/")
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.contrib.sessions.backends.db import SessionStore
from playwright.sync_api import Browser, ConsoleMessage, Page, Playwright, sync_playwright

from portal.accounts.models import User
from tests.cast import Cast, make_cast

HOW_TO_GET_ONE = "no Chromium here: install Debian's (`apt-get install chromium`) or set WINNOW_CHROMIUM to one"
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-dev-shm-usage"]
SCREENSHOTS = Path(os.environ.get("WINNOW_SCREENSHOTS", "/tmp/winnow-screenshots"))
Login = Callable[[Page, User], None]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.browser)


def chromium() -> str | None:
    """The browser that is here: named by WINNOW_CHROMIUM, or on the path."""
    named = os.environ.get("WINNOW_CHROMIUM")
    return named or next((found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None)


@pytest.fixture(scope="session")
def own_playwright() -> Iterator[Playwright]:
    with sync_playwright() as started:
        yield started


@pytest.fixture(scope="session")
def own_browser(own_playwright: Playwright) -> Iterator[Browser]:
    """One Chromium for all tests; each test has a context of its own."""
    path = chromium()
    if path is None:
        pytest.skip(HOW_TO_GET_ONE)
    browser = own_playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
    yield browser
    browser.close()


@pytest.fixture
def cast(transactional_db: None) -> Cast:
    """Committed, so that the server's threads see it."""
    return make_cast()


@pytest.fixture
def server(live_server: Any, settings: Any) -> Any:
    """The portal on a port of its own (`server.url`); static files straight from their sources."""
    settings.STORAGES = {
        **settings.STORAGES,
        "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
    }
    return live_server


@pytest.fixture
def expected_problems() -> list[str]:
    """Patterns of console lines that a test provokes on purpose (`expected_problems.append("409")`)."""
    return []


@pytest.fixture
def new_page(own_browser: Browser, server: Any, expected_problems: list[str]) -> Iterator[Callable[..., Page]]:
    """Makes logged-out pages, each a browser of its own: `new_page()` or `new_page(width=820, height=1180)`."""
    problems: list[str] = []
    contexts = []

    def make(*, width: int = 1280, height: int = 800, **more: Any) -> Page:
        context = own_browser.new_context(viewport={"width": width, "height": height}, base_url=server.url, **more)
        context.set_default_timeout(15_000)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: problems.append(_line(message)) if message.type == "error" else None)
        page.on("pageerror", lambda error: problems.append(f"uncaught: {error}"))
        page.on("request", lambda sent: problems.append(f"CSP report: {sent.post_data}") if sent.url.endswith("/csp-report") else None)
        return page

    yield make
    for context in contexts:
        context.close()
    known = ["favicon.ico", *expected_problems]
    unexpected = [line for line in problems if not any(re.search(pattern, line) for pattern in known)]
    assert not unexpected, "the browser's console (errors and CSP violations):\n" + "\n".join(unexpected)


def _line(message: ConsoleMessage) -> str:
    return f"{message.text} [{message.location.get('url', '')}]"


@pytest.fixture
def browser_page(new_page: Callable[..., Page]) -> Page:
    """A logged-out page at 1280x800."""
    return new_page()


@pytest.fixture
def login(server: Any) -> Login:
    """Log a page in as a person, by a session cookie: the login form has tests of its own."""

    def log_in(page: Page, user: User) -> None:
        session = SessionStore()
        session[SESSION_KEY] = str(user.pk)
        session[BACKEND_SESSION_KEY] = "django.contrib.auth.backends.ModelBackend"
        session[HASH_SESSION_KEY] = user.get_session_auth_hash()
        session.save()
        page.context.add_cookies([{"name": "sessionid", "value": session.session_key or "", "url": server.url}])

    return log_in


@pytest.fixture
def screenshot() -> Callable[[Page, str], Path]:
    """Keep a picture of the page in WINNOW_SCREENSHOTS: `screenshot(page, "reading-1280")`."""

    def shoot(page: Page, name: str) -> Path:
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        path = SCREENSHOTS / f"{name}.png"
        page.screenshot(path=str(path), full_page=True)
        return path

    return shoot
