"""Uploads in a real browser: many files and a table, over a line that breaks, by keyboard, on a tablet."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, Route, expect

from portal.images import services
from portal.images.models import Image, Upload, UploadFile
from portal.jobs import services as jobs
from tests.cast import Cast, picture_bytes

Login = Callable[[Page, Any], None]


@pytest.fixture(autouse=True)
def stores(settings: Any, tmp_path: Path) -> None:
    settings.ORIGINALS_DIR, settings.CLEAN_DIR = tmp_path / "originals", tmp_path / "clean"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Eight pictures, an empty file, a text, a copy, and a table that names them and one that is not there."""
    here = tmp_path / "clinic"
    (here / "second").mkdir(parents=True)
    for n in range(8):
        (here / f"{n}.jpg").write_bytes(picture_bytes())
    (here / "copy.jpg").write_bytes((here / "0.jpg").read_bytes())
    (here / "empty.jpg").write_bytes(b"")
    (here / "notes.jpg").write_bytes(b"not a picture at all")
    (here / "second" / "8.png").write_bytes(picture_bytes(format="PNG"))
    rows = "".join(f"{n}.jpg,P{n // 2},regular\n" for n in range(8))
    (here / "table.csv").write_text(f"file,patient,stated_kind\n{rows}8.png,P9,purple\ngone.jpg,P1,\n")
    return here


def sanitise_all() -> None:
    while claims := jobs.claim("sanitise", worker="test"):
        services.sanitise_claimed(claims)


def named(route: Route) -> str:
    """The name of the file that a tus creation is about."""
    metadata = dict(pair.split(" ") for pair in route.request.headers["upload-metadata"].split(","))
    return base64.b64decode(metadata["name"]).decode()


def flat(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_file())


def test_files_and_table_arrive_each_with_its_outcome(
    browser_page: Page, login: Login, cast: Cast, folder: Path, screenshot: Callable[[Page, str], Path]
) -> None:
    page = browser_page
    login(page, cast.alice)
    page.goto("/uploads/")
    page.get_by_role("link", name="New upload").click()
    expect(page.get_by_label("Site")).to_have_value(str(cast.north.pk))
    page.get_by_label("Note (optional)").fill("May")
    page.locator("#folder").set_input_files(folder)
    expect(page.locator("#chosen")).to_contain_text("12 files chosen")
    expect(page.locator("#chosen")).to_contain_text("table table.csv")
    screenshot(page, "upload-chosen-1280")
    page.get_by_role("button", name="Send", exact=True).click()
    page.wait_for_url(re.compile(r"/uploads/\d+/$"))
    expect(page.get_by_role("heading", name=re.compile("Upload .* May"))).to_be_visible()
    outcomes = dict(UploadFile.objects.values_list("name", "outcome"))
    assert outcomes == {
        **{f"{n}.jpg": "accepted" for n in range(1, 8)}, "0.jpg": outcomes["0.jpg"], "copy.jpg": outcomes["copy.jpg"],
        "empty.jpg": "rejected", "notes.jpg": "rejected", "second/8.png": "accepted", "gone.jpg": "missing",
    }  # fmt: skip
    assert sorted((outcomes["0.jpg"], outcomes["copy.jpg"])) == ["accepted", "duplicate"]
    expect(page.locator("#live")).to_contain_text("in work")
    sanitise_all()
    expect(page.locator("#live")).to_contain_text("9 clean")
    expect(page.locator("#live img").first).to_be_visible()
    expect(page.locator("#live")).to_contain_text("Row 10: The kind 'purple' is not known")
    assert Image.objects.filter(exam__patient__code="P9").count() == 1
    screenshot(page, "upload-done-1280")
    with page.expect_download() as download:
        page.get_by_role("link", name="Outcomes as CSV").click()
    assert "gone.jpg,missing" in Path(download.value.path()).read_text()
    page.get_by_role("link", name="problems").click()
    expect(page.locator("tr", has_text="empty.jpg")).to_contain_text("0 bytes")
    expect(page.locator("tr", has_text="1.jpg")).to_have_count(0)


def test_a_poor_line_loses_nothing_and_doubles_nothing(
    browser_page: Page, login: Login, cast: Cast, folder: Path, expected_problems: list[str]
) -> None:
    expected_problems += ["ERR_FAILED", "503", "ERR_CONNECTION"]
    page, seen = browser_page, dict[str, int]()
    login(page, cast.alice)

    def poor(route: Route) -> None:
        """Each file's first try is cut off, its second arrives but the answer is lost, its third goes through."""
        name = named(route)
        seen[name] = seen.get(name, 0) + 1
        if seen[name] == 1:
            route.abort()
        elif seen[name] == 2:
            # the body of a file is not the interceptor's to see: it is given again
            route.fetch(post_data=(folder / name).read_bytes())
            route.fulfill(status=503, body="gateway")
        else:
            route.continue_()

    page.route("**/tus/", poor)
    page.goto("/uploads/new/")
    page.locator("#files").set_input_files([folder / f"{n}.jpg" for n in range(3)])
    page.get_by_role("button", name="Send", exact=True).click()
    page.wait_for_url(re.compile(r"/uploads/\d+/$"), timeout=40_000)
    assert sorted(UploadFile.objects.values_list("name", "outcome")) == [(f"{n}.jpg", "accepted") for n in range(3)]
    assert set(seen.values()) == {3}


def test_what_the_portal_refuses_is_said_and_can_be_sent_again(
    browser_page: Page, login: Login, cast: Cast, folder: Path, expected_problems: list[str]
) -> None:
    expected_problems += ["401"]
    page = browser_page
    login(page, cast.alice)
    page.route("**/tus/**", lambda route: route.fulfill(status=401, json={"message": "Log in first."}))
    page.goto("/uploads/new/")
    page.locator("#files").set_input_files([folder / "1.jpg", folder / "2.jpg"])
    page.get_by_role("button", name="Send", exact=True).click()
    expect(page.get_by_role("alert")).to_contain_text("You were logged out")
    expect(page.locator("#total-text")).to_have_text("0 of 2 files arrived, 2 not sent")
    page.unroute("**/tus/**")
    page.get_by_role("button", name="Send the failed ones again").click()
    page.wait_for_url(re.compile(r"/uploads/\d+/$"))
    assert (Upload.objects.count(), Image.objects.count()) == (1, 2)


def test_a_table_that_cannot_be_used_stops_no_file(
    browser_page: Page, login: Login, cast: Cast, folder: Path, expected_problems: list[str]
) -> None:
    expected_problems += ["400"]
    (folder / "table.csv").write_text("patient,exam\nP1,V1\n")
    page = browser_page
    login(page, cast.alice)
    page.goto("/uploads/new/")
    page.locator("#files").set_input_files([folder / "1.jpg", folder / "table.csv"])
    page.get_by_role("button", name="Send", exact=True).click()
    expect(page.locator("#table-remarks")).to_contain_text("The column 'file' is missing")
    page.get_by_role("link", name="Open the upload").click()
    page.locator("#later-table").set_input_files({"name": "t.csv", "mimeType": "text/csv", "buffer": b"file,patient\n1.jpg,P1\n"})
    page.get_by_role("button", name="Apply without a look").click()
    expect(page.get_by_role("status").first).to_contain_text("1 found its file")
    expect(page.locator("tr", has_text="1.jpg")).to_contain_text("P1")


def test_dropped_files_and_folders_are_taken(browser_page: Page, login: Login, cast: Cast) -> None:
    page = browser_page
    login(page, cast.alice)
    page.goto("/uploads/new/")
    page.evaluate(
        """() => {
            const transfer = new DataTransfer();
            for (const name of ["a.jpg", "b.jpg", ".DS_Store"]) transfer.items.add(new File([name], name));
            const event = new DragEvent("drop", { dataTransfer: transfer, bubbles: true, cancelable: true });
            document.getElementById("drop").dispatchEvent(event);
        }"""
    )
    expect(page.locator("#chosen")).to_have_text("2 files chosen (0.0 MB) · 1 hidden file left out.")


def test_an_open_upload_goes_on_after_a_reload_and_can_be_cancelled(browser_page: Page, login: Login, cast: Cast, folder: Path) -> None:
    upload = services.open_upload(site=cast.north, actor=cast.alice, expected=2)
    page = browser_page
    login(page, cast.alice)
    page.goto(f"/uploads/{upload.pk}/")
    page.locator("#files").set_input_files([folder / "1.jpg"])
    page.get_by_role("button", name="Send", exact=True).focus()
    page.keyboard.press("Enter")
    expect(page.locator("tr", has_text="1.jpg").last).to_contain_text("accepted")
    other = services.open_upload(site=cast.north, actor=cast.alice)
    expect(page.locator("#sender")).to_have_count(0)
    page.goto(f"/uploads/{other.pk}/")
    page.get_by_role("button", name="Cancel upload").click()
    expect(page.locator(".notice-warning")).to_contain_text("was cancelled")


def test_the_pages_are_reached_by_keyboard_fit_a_tablet_and_pass_axe(
    new_page: Callable[..., Page], login: Login, cast: Cast, folder: Path, screenshot: Callable[[Page, str], Path]
) -> None:
    upload = services.open_upload(site=cast.north, actor=cast.alice, note="tablet")
    for path in flat(folder)[:4]:
        with open(path, "rb") as file:
            services.receive(upload=upload, file=file, name=path.name, actor=cast.alice)
    sanitise_all()
    page = new_page(width=820, height=1180, bypass_csp=True)
    login(page, cast.alice)
    for address in ("/uploads/", "/uploads/new/", f"/uploads/{upload.pk}/"):
        page.goto(address)
        assert page.evaluate("document.documentElement.scrollWidth") <= 820, address
        found = Axe().run(page)
        assert found.violations_count == 0, found.generate_report()
        screenshot(page, f"upload{address.replace('/', '-')}820")
    page.goto("/uploads/new/")
    page.get_by_label("Note (optional)").focus()
    for wanted in ("files", "folder", "table"):
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.id") == wanted
