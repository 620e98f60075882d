"""Once around, as people do it: `manage.py up`, invite, upload, read by keyboard, freeze, train, compare, promote, roll back.

Everything real: the servers, the workers and the shipped bundle behind one command, three browsers in front. Only the browser is used.
Trained is the distance (Deep SAD) alone, as the page lets one choose; `make walk` trains what the page proposes.
"""

from __future__ import annotations

import csv
import os
import re
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.conftest import REAL_DATA
from tests.ops.running import Up, wait_until_gone

pytestmark = pytest.mark.slow

PASSWORD = "correct horse battery"
PICTURES = 30
LONG = bool(os.environ.get("WINNOW_LONG_WALK"))
ANALYSED_WITHIN = 600_000
TRAINED_WITHIN = 900_000
"""Milliseconds; far more than it takes, as both cores may be held by other work."""


@pytest.fixture
def up() -> Iterator[Up]:
    """Not below pytest's own temporary folder: every session of pytest closes that to other users, and Postgres is one."""
    folder = Path(tempfile.mkdtemp(prefix="winnow-walk-"))
    var = folder / "var"
    started = Up(var, EXAMPLE="1")
    yield started
    status, said = started.stop(signal.SIGINT)
    assert status == 0, said
    assert wait_until_gone(var, 1) == []
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def person(own_browser: Browser, up: Up) -> Iterator[Callable[[], Page]]:
    """Each person has a browser of their own; what its console complains of fails the walk."""
    problems: list[str] = []
    contexts = []

    def make() -> Page:
        context = own_browser.new_context(viewport={"width": 1280, "height": 800}, base_url=f"http://127.0.0.1:{up.port}")
        context.set_default_timeout(30_000)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda line: problems.append(f"{page.url}: {line.text}") if line.type == "error" else None)
        page.on("pageerror", lambda error: problems.append(f"{page.url}: {error}"))
        page.on("request", lambda sent: problems.append(f"CSP report: {sent.post_data}") if sent.url.endswith("/csp-report") else None)
        return page

    yield make
    for context in contexts:
        context.close()
    unexpected = [
        problem for problem in problems if "/images/: Failed to load resource: the server responded with a status of 403" not in problem
    ]
    assert not unexpected, "\n".join(unexpected)


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    """A clinic's folder: 30 real photographs of about ten patients where there are any, else drawn ones; and the clinic's table."""
    folder = tmp_path / "clinic"
    folder.mkdir()
    found = _real() if (REAL_DATA / "manifest.csv").exists() else _drawn(tmp_path / "drawn")
    with open(folder / "table.csv", "w", newline="") as sink:
        table = csv.writer(sink)
        table.writerow(["file", "patient", "device"])
        for path, patient in found[:PICTURES]:
            shutil.copy(path, folder / path.name)
            table.writerow([path.name, patient, "camera 1"])
    return folder


def _real() -> list[tuple[Path, str]]:
    with open(REAL_DATA / "manifest.csv", newline="") as source:
        return [(REAL_DATA / row["path"], row["patient"]) for row in csv.DictReader(source) if row["site"] == "iarc-colposcopy"]


def _drawn(folder: Path) -> list[tuple[Path, str]]:
    from portal import ml

    return [(Path(example.path), example.patient) for example in ml.draw_examples(folder, seed=2027, patients=10)]


def test_a_photograph_goes_once_around(
    up: Up, person: Callable[[], Page], photographs: Path, screenshot: Callable[[Page, str], Path]
) -> None:
    link = up.wait_for(r"Become the first, once, here: http://127\.0\.0\.1:\d+(/\S+)")[1]
    admin, uploader, reader = person(), person(), person()

    _example_set_begun(up.var)
    accept(admin, link, "admin@example.org", "Amara")
    make_site(admin, "Lakeside")
    accept(uploader, invite(admin, "uploader@example.org", "Uploader", "Lakeside"), "uploader@example.org", "Uma")
    accept(reader, invite(admin, "reader@example.org", "Reader", None), "reader@example.org", "Rafi")

    upload(uploader, photographs)
    uploader.goto("/images/")
    expect(uploader.locator(".page-head")).to_contain_text(f"{PICTURES} images of")
    screenshot(uploader, "walk-gallery")
    uploader.locator("a.thumb-card").first.click()
    expect(uploader.get_by_role("heading", name="What the model says")).to_be_visible()
    expect(uploader.locator("main")).to_contain_text("non-regular (calibrated)")

    read_by_keyboard(reader, answers=["1", "2", "3", "c", "1"])
    assert reader.goto("/images/").status == 403  # type: ignore[union-attr]

    settle_examples(admin)
    freeze(admin, "first freeze")
    screenshot(admin, "walk-snapshot")
    old = champion(admin)
    candidate = train(admin, "first run")
    screenshot(admin, "walk-run")

    compare_and_promote(admin, candidate)
    screenshot(admin, "walk-model")
    assert champion(admin) == candidate
    judged_by_the_new_model(uploader, photographs, candidate)
    roll_back(admin)
    assert champion(admin) == old


def _example_set_begun(var: Path) -> None:
    """It is left out where somebody has sent something first, and on a busy machine the uploader here would be quicker."""
    log, until = var / "log" / "example-set.log", time.monotonic() + 300
    while not (log.exists() and log.stat().st_size):
        assert time.monotonic() < until, "the example set was not begun"
        time.sleep(1)


def accept(page: Page, link: str, email: str, name: str) -> None:
    page.goto(link)
    if page.get_by_label("Your e-mail address").count():
        page.get_by_label("Your e-mail address").fill(email)
    page.get_by_label("Your name").fill(name)
    page.get_by_label("Password", exact=False).first.fill(PASSWORD)
    page.get_by_role("button", name="Make the account").click()
    page.get_by_label("Email").fill(email)
    page.get_by_label("Password").fill(PASSWORD)
    page.locator("main form button[type=submit]").first.click()
    expect(page.locator("header .who")).to_contain_text(name)


def make_site(page: Page, name: str) -> None:
    page.goto("/sites/")
    page.get_by_label("Name").fill(name)
    page.locator("main form button[type=submit]").first.click()
    expect(page.locator("main")).to_contain_text(name)


def invite(page: Page, email: str, role: str, site: str | None) -> str:
    """Returns the path of the one-time link."""
    page.goto("/people/")
    page.get_by_label("E-mail address").fill(email)
    page.get_by_label(role, exact=True).check()
    if site:
        page.get_by_label("Site", exact=False).last.select_option(label=site)
    page.get_by_role("button", name="Make the one-time link").click()
    link = page.get_by_label("One-time link").input_value()
    return link[link.index("/invitation/") :]


def upload(page: Page, folder: Path) -> None:
    page.goto("/uploads/new/")
    page.locator("#folder").set_input_files(folder)
    expect(page.locator("#chosen")).to_contain_text(f"{PICTURES}")
    page.get_by_role("button", name="Send", exact=True).click()
    page.wait_for_url(re.compile(r"/uploads/\d+/$"), timeout=120_000)
    expect(page.locator("#live")).not_to_contain_text("in work", timeout=ANALYSED_WITHIN)


def read_by_keyboard(page: Page, *, answers: list[str]) -> None:
    """Kind by key, Enter, and the next picture is there; the mouse is not touched.

    How many pictures wait depends on the pictures that the folder holds: fewer than the answers is right, none is not.
    """
    page.goto("/reading/")
    page.wait_for_selector("#room[data-ready]")
    for key in answers:
        seen = page.locator("#picture").get_attribute("src")
        page.keyboard.press(key)
        page.keyboard.press("Enter")
        expect(page.locator(f'#picture[src="{seen}"]')).to_have_count(0)
        expect(page.get_by_text("Your answer is in.")).to_be_visible()
        if page.get_by_text("Nothing waits for you.").count():
            return


def settle_examples(page: Page) -> None:
    """The drawn truth stands in for the readers of the example set, under a provenance of its own."""
    until = time.monotonic() + ANALYSED_WITHIN / 1000
    while time.monotonic() < until:
        page.goto("/example/")
        button = page.get_by_role("button", name="Settle by the drawn truth")
        if button.count():
            button.click()
            said = page.locator(".notice").first.inner_text()
            if "not yet analysed" not in said:
                return
        page.wait_for_timeout(3_000)
    raise AssertionError("the example set was not analysed in time")


def freeze(page: Page, name: str) -> None:
    page.goto("/snapshots/new/")
    page.get_by_label("Name").fill(name)
    page.get_by_role("button", name="Freeze").click()
    expect(page.locator("#state")).to_contain_text("frozen", timeout=60_000)


def champion(page: Page) -> str:
    """The path of the champion's page."""
    page.goto("/models/")
    row = page.locator("tr", has=page.locator(".state-champion")).first
    return str(row.get_by_role("link").first.get_attribute("href"))


def train(page: Page, name: str) -> str:
    """Start a run on the newest snapshot, wait for its end, and return the path of the candidate's page."""
    page.goto("/training/")
    page.get_by_label("Name").fill(name)
    snapshots = page.get_by_label("Snapshot")
    snapshots.select_option(index=snapshots.locator("option").count() - 1)
    if not LONG:
        page.get_by_label("classifier (ResNeSt)").uncheck()
    page.get_by_role("button", name="Start training").click()
    expect(page.get_by_role("heading", name=name)).to_be_visible()
    expect(page.locator("#progress")).to_contain_text("done", timeout=TRAINED_WITHIN)
    return str(page.locator("#progress a[href^='/models/']").first.get_attribute("href"))


def compare_and_promote(page: Page, candidate: str) -> None:
    until = time.monotonic() + TRAINED_WITHIN / 1000
    while time.monotonic() < until:
        page.goto(candidate)
        if page.get_by_text("The gate says").count():
            break
        page.wait_for_timeout(3_000)
    expect(page.locator("main")).to_contain_text("Confusion matrix")
    page.locator("summary", has_text="Ask for promotion").click()
    page.locator("#note").fill("A walk once around, on drawn pictures.")
    page.get_by_role("button", name="Ask for promotion").click()
    page.locator("summary", has_text="Approve").click()
    page.get_by_role("button", name="Approve and promote").click()
    expect(page.locator("h1 .badge")).to_have_text("champion")


def judged_by_the_new_model(page: Page, folder: Path, candidate: str) -> None:
    """The next upload is analysed by the champion of now: its story names the run's bundle."""
    picture = next(iter(sorted(folder.glob("*.jpg"))))
    fresh = folder.parent / "next"
    fresh.mkdir()
    # The same photograph as another file: a byte after the end of a JPEG changes its hash and not its picture.
    (fresh / "next.jpg").write_bytes(picture.read_bytes() + b"\0")
    page.goto("/uploads/new/")
    page.locator("#files").set_input_files([fresh / "next.jpg"])
    page.get_by_role("button", name="Send", exact=True).click()
    page.wait_for_url(re.compile(r"/uploads/\d+/$"))
    expect(page.locator("#live")).not_to_contain_text("in work", timeout=ANALYSED_WITHIN)
    page.goto("/images/?search=next.jpg")
    page.locator("a.thumb-card").first.click()
    expect(page.locator("main")).to_contain_text("by first run")


def roll_back(page: Page) -> None:
    page.goto("/models/")
    page.goto(champion(page))
    page.locator("summary", has_text="Roll back").click()
    page.locator("details.confirm button", has_text="Roll back to").click()
    expect(page.locator("h1 .badge")).to_have_text("champion")
