"""What to take again, and pictures with text in them, in Chromium."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from portal.images.models import Image, NearDuplicate, TextFound, UploadFile
from tests.browser.conftest import Login
from tests.cast import Cast, give_reasons, make_image, make_upload

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _stores(settings: Any, tmp_path: Path) -> None:
    settings.ORIGINALS_DIR, settings.CLEAN_DIR = tmp_path / "originals", tmp_path / "clean"


def test_what_to_take_again_is_done_item_by_item(
    new_page: Callable[..., Page], login: Login, cast: Cast, screenshot: Callable[[Page, str], Path]
) -> None:
    page = new_page(bypass_csp=True)
    upload = make_upload(cast.north, by=cast.alice)
    blurred = make_image(cast.north, state="in_review", upload=upload, patient="P2", p_non_regular=0.5)
    give_reasons(blurred, ["blurred"])
    earlier = make_image(cast.north, state="accepted", patient="P1")
    again = make_image(cast.north, state="accepted", upload=upload, patient="P3")
    NearDuplicate.objects.create(image=again, other=earlier, distance=1)
    login(page, cast.alice)
    page.goto(f"/uploads/{upload.pk}/")
    coach = page.get_by_role("region", name="Take again now")
    expect(coach).to_contain_text("Check whose picture this is")
    expect(coach.get_by_role("heading", level=3).first).to_have_text("Patient P3")
    screenshot(page, "coach")
    assert _violations(page) == []
    done = coach.get_by_role("button", name=f"Done with {blurred.original_name}")
    done.focus()
    page.keyboard.press("Enter")
    expect(coach.get_by_text("Out of focus")).to_have_count(0)
    assert UploadFile.objects.get(image=blurred).advice_dismissed
    coach.get_by_role("link", name="List to print").click()
    expect(page.get_by_role("heading", name="To take again")).to_be_visible()
    page.goto(f"/images/{again.pk}/")
    expect(page.get_by_text("Two patients may have been mixed up")).to_be_visible()
    assert _violations(page) == []


def test_a_picture_with_text_is_blanked_or_released(
    new_page: Callable[..., Page], login: Login, cast: Cast, screenshot: Callable[[Page, str], Path]
) -> None:
    page = new_page(width=820, height=1180, bypass_csp=True)
    one, two = (make_image(cast.north, state="quarantined", patient=f"P{n}") for n in range(2))
    for image in (one, two):
        TextFound.objects.create(image=image, boxes=[[5, 5, 60, 16], [10, 50, 40, 60]])
    login(page, cast.lena)
    page.goto("/quarantine/")
    screenshot(page, "quarantine")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert _violations(page) == []
    first = page.get_by_role("region", name=one.original_name)
    first.get_by_label("Region 2").uncheck()
    first.get_by_role("button", name="Blank").click()
    expect(page.get_by_text(f"Image {one.pk} is blanked")).to_be_visible()
    second = page.get_by_role("region", name=two.original_name)
    second.get_by_label("Release as it is").fill("only the timer of the device")
    second.get_by_role("button", name="Release").click()
    expect(page.get_by_text("Nothing waits here")).to_be_visible()
    assert set(Image.objects.values_list("state", flat=True)) == {"clean"}


def _violations(page: Page) -> list[str]:
    return [violation["id"] for violation in Axe().run(page).response["violations"]]
