"""Uploads that are interrupted: the line goes, the server dies, the browser is closed. What arrived is not sent again."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.contrib.sessions.backends.db import SessionStore
from playwright.sync_api import Browser, CDPSession, Page, Request, expect

from portal.accounts.models import User
from portal.images import storage
from portal.images.models import Arrival, Image, Upload, UploadFile
from tests.cast import Cast
from tests.serving import Web, serving

FILES = 8
BYTES = 1_500_000
BYTES_A_SECOND = 1_500_000
NewPage = Callable[[], Page]


@pytest.fixture
def web(cast: Cast, tmp_path: Path, settings: object) -> Iterator[Web]:
    settings.ORIGINALS_DIR = tmp_path / "web" / "originals"  # type: ignore[attr-defined]
    with serving(tmp_path / "web") as running:
        yield running


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """By their first bytes photographs; nobody decodes them here."""
    here = tmp_path / "clinic"
    here.mkdir()
    for number in range(FILES):
        (here / f"{number}.jpg").write_bytes(b"\xff\xd8\xff" + os.urandom(BYTES))
    return here


@pytest.fixture
def slow_page(own_browser: Browser, web: Web, cast: Cast) -> Iterator[NewPage]:
    """Pages of alice's, each a browser of its own, over a line that takes a second for a file."""
    contexts = []

    def make() -> Page:
        context = own_browser.new_context(viewport={"width": 1280, "height": 800}, base_url=web.url)
        context.set_default_timeout(30_000)
        contexts.append(context)
        context.add_cookies([{"name": "sessionid", "value": session_of(cast.alice), "url": web.url}])
        page = context.new_page()
        set_line(page)
        return page

    yield make
    for context in contexts:
        context.close()


def set_line(page: Page, *, offline: bool = False) -> None:
    """By one session of the browser's own protocol: two that set the line get in each other's way."""
    if page not in _sessions:
        _sessions[page] = page.context.new_cdp_session(page)
    session = _sessions[page]
    limits = {"offline": offline, "latency": 5, "downloadThroughput": -1, "uploadThroughput": BYTES_A_SECOND}
    session.send("Network.enable")
    session.send("Network.emulateNetworkConditions", limits)


_sessions: dict[Page, CDPSession] = {}


def session_of(user: User) -> str:
    session = SessionStore()
    session[SESSION_KEY] = str(user.pk)
    session[BACKEND_SESSION_KEY] = "django.contrib.auth.backends.ModelBackend"
    session[HASH_SESSION_KEY] = user.get_session_auth_hash()
    session.save()
    return session.session_key or ""


def begin(page: Page, folder: Path) -> None:
    page.goto("/uploads/new/")
    page.locator("#folder").set_input_files(folder)
    page.get_by_role("button", name="Send", exact=True).click()
    expect(page.locator("#total-text")).to_contain_text(re.compile(rf"[2-{FILES}] of {FILES} files arrived"))


def all_are_in(folder: Path, cast: Cast) -> None:
    assert (Upload.objects.count(), Image.objects.count(), UploadFile.objects.count()) == (1, FILES, FILES)
    for path in folder.iterdir():
        wanted = hashlib.sha256(path.read_bytes()).hexdigest()
        assert hashlib.sha256(storage.original_path(cast.north.pk, wanted).read_bytes()).hexdigest() == wanted
    assert not Arrival.objects.filter(file=None).exists()


def test_a_lost_line_a_pause_and_a_killed_server_lose_nothing(web: Web, slow_page: NewPage, folder: Path, cast: Cast) -> None:
    page, asked = slow_page(), list[str]()
    begin(page, folder)
    page.on("request", lambda request: asked.append(f"{request.method} {request.url}"))

    expect(page.locator("#rows")).to_contain_text("accepted")
    page.get_by_role("button", name="Pause").click()
    expect(page.locator("#line")).to_contain_text("Paused. What arrived is kept")
    page.wait_for_timeout(1500)
    there = UploadFile.objects.count()
    page.wait_for_timeout(700)
    assert UploadFile.objects.count() == there < FILES, "the pause did not hold"
    page.get_by_role("button", name="Resume").click()

    expect(page.locator("#line")).to_have_text("")
    set_line(page, offline=True)
    expect(page.locator("#line")).to_contain_text("The line to the portal broke. What arrived is kept")
    set_line(page)
    web.kill()
    page.wait_for_timeout(1000)
    web.start()
    page.wait_for_url(re.compile(r"/uploads/\d+/$"), timeout=90_000)
    all_are_in(folder, cast)
    assert any(line.startswith("HEAD") for line in asked), "nothing asked how far it was"


def test_the_same_folder_after_closing_the_browser_goes_on_with_the_open_upload(
    web: Web, slow_page: NewPage, folder: Path, cast: Cast
) -> None:
    page = slow_page()
    begin(page, folder)
    page.context.close()
    here = UploadFile.objects.count()
    assert 2 <= here < FILES

    page, created = slow_page(), list[Request]()
    page.on("request", lambda request: created.append(request) if request.method == "POST" and request.url.endswith("/tus/") else None)
    page.goto("/uploads/new/")
    page.locator("#folder").set_input_files(folder)
    expect(page.locator("#resume")).to_contain_text(
        re.compile(r"Go on with upload \d+ of .* which is open and has \d of these files already")
    )
    page.get_by_role("button", name="Send", exact=True).click()
    page.wait_for_url(re.compile(r"/uploads/\d+/$"), timeout=60_000)
    all_are_in(folder, cast)
    assert len(created) <= FILES - here
