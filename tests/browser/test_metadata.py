"""A clinic's table from the look to the corrected image, by keyboard alone, at two widths, passing axe."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, expect

from portal.images import applying, table_jobs, tables
from portal.images.models import Patient, Wording
from portal.pipeline import runner
from portal.pipeline.handlers import HANDLERS
from tests.browser.test_patients import WIDTHS, passes_axe
from tests.cast import Cast, make_image
from tests.portal.images.workbooks import workbook

pytestmark = pytest.mark.django_db(transaction=True)


def press(page: Page, button: Locator) -> None:
    """As somebody without a mouse does."""
    button.focus()
    page.keyboard.press("Enter")


@pytest.mark.parametrize(("width", "height"), WIDTHS)
def test_a_table_is_looked_at_understood_applied_and_a_patient_put_right_by_keyboard(
    new_page: Callable[..., Page], login: Any, cast: Cast, screenshot: Any, width: int, height: int
) -> None:
    images = [make_image(cast.north, state="settled", patient="P1", exam=f"V{n % 2}", name=f"{n}.jpg") for n in range(4)]
    rows = [[f"{n}.jpg", "P2" if n == 0 else "P1", f"V{n % 2}", "VILI", "heute" if n == 1 else "2024-03-09"] for n in range(6)]
    page = new_page(width=width, height=height)
    login(page, cast.lena)

    page.goto(f"/sites/{cast.north.pk}/table/")
    passes_axe(page)
    screenshot(page, f"table-send-{width}")
    data = workbook(["Dateiname", "Patient No", "Visit", "Färbung", "Datum"], *rows)
    page.get_by_label("XLSX or CSV").set_input_files({"name": "may.xlsx", "mimeType": "application/octet-stream", "buffer": data})
    press(page, page.get_by_role("button", name="Check the table"))
    expect(page.get_by_role("heading", name="Check of the table may.xlsx")).to_be_visible()
    passes_axe(page)
    press(page, page.get_by_role("button", name="Remember and check again"))
    expect(page.get_by_label("VILI")).to_have_value("lugol_iodine")
    passes_axe(page)
    screenshot(page, f"table-look-{width}")
    expect(page.locator("td.wrong", has_text="heute")).to_contain_text("E3")
    expect(page.locator("main")).to_contain_text("Nothing is written yet")
    assert not Patient.objects.filter(code="P2").exists()
    press(page, page.get_by_role("button", name="Remember and check again"))
    expect(page.get_by_label("VILI")).to_have_count(0)
    press(page, page.get_by_role("button", name="Apply"))
    expect(page.locator(".notice").first).to_contain_text("1 image was corrected")
    assert Wording.objects.count() == 5

    page.goto(f"/images/{images[0].pk}/")
    expect(page.get_by_role("heading", name="Corrections")).to_be_visible()
    passes_axe(page)
    screenshot(page, f"table-story-{width}")
    page.goto(f"/sites/{cast.north.pk}/words/")
    passes_axe(page)
    screenshot(page, f"table-words-{width}")

    page.goto(f"/patients/{Patient.objects.get(code='P1').pk}/")
    page.get_by_label("Mark the whole exam V0").focus()
    page.keyboard.press("Space")
    page.get_by_label("Move the marked images to patient").fill("P2")
    passes_axe(page)
    press(page, page.get_by_role("button", name="Move", exact=True))
    expect(page.locator(".notice-success")).to_contain_text("1 image now belongs to patient P2.")
    passes_axe(page)
    screenshot(page, f"patient-put-right-{width}")
    press(page, page.get_by_role("button", name="Undo moved P1 to P2"))
    expect(page.locator(".notice-success")).to_contain_text("went back to patient P1")


@pytest.mark.parametrize(("width", "height"), WIDTHS)
def test_a_long_table_is_followed_stopped_asked_for_again_and_seen_to_its_end(
    new_page: Callable[..., Page], login: Any, cast: Cast, screenshot: Any, width: int, height: int
) -> None:
    image = make_image(cast.north, state="settled", patient="P1", name="0.jpg")
    lines = "".join(f"{n}.jpg,P2,V1\n" for n in range(applying.SHORT + 1))
    held = tables.hold_table(
        site=cast.north, upload=image.upload, data=f"file,patient,exam\n{lines}".encode(), name="may.csv", actor=cast.lena
    )
    page = new_page(width=width, height=height)
    login(page, cast.lena)
    page.goto(f"/tables/{held.pk}/")
    press(page, page.get_by_role("button", name="Apply"))
    expect(page.get_by_role("status").first).to_have_text("Waits for its turn: 501 rows")
    passes_axe(page)
    screenshot(page, f"table-waits-{width}")
    press(page, page.get_by_role("button", name="Stop"))
    expect(page.locator("main")).to_contain_text("Nothing is written yet")
    press(page, page.get_by_role("button", name="Apply"))
    expect(page.get_by_role("progressbar")).to_be_visible()
    runner.drain(table_jobs.KIND, HANDLERS[table_jobs.KIND])
    expect(page.get_by_role("status").first).to_contain_text("501 rows read: 1 found its file, 500 wait for one")
    passes_axe(page)
    screenshot(page, f"table-applied-{width}")
    page.get_by_role("link", name=f"Open upload {image.upload_id}").click()
    expect(page.locator("#live")).to_contain_text("1 image was corrected")
    passes_axe(page)
    screenshot(page, f"table-upload-{width}")
