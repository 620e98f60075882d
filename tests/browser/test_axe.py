"""The pages that no other test holds against axe, each as somebody whose page it is, on a desk and on a tablet."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

from portal.images import quarantine
from portal.labels.models import Provenance
from portal.labels.services import set_label
from portal.ml import Kind
from portal.reviews import rest
from portal.reviews.models import KnownImage, Qualification, ReviewTask
from portal.reviews.services import set_rules
from tests.access_matrix import make_things
from tests.browser.test_patients import WIDTHS
from tests.cast import Cast, make_image, make_read

BOTH = (
    "/audit",
    "/erasures",
    "/exams",
    "/patients",
    "/quarantine",
    "/reading/rules",
    "/reviews/qualification",
    "/sites",
    "/store",
    "/tokens",
)
pytestmark = pytest.mark.django_db(transaction=True)


def addresses(cast: Cast) -> dict[str, list[str]]:
    """Who looks at what; nothing of it is empty."""
    things = make_things(cast)
    quarantined = make_image(cast.north, state="clean", patient="P7")
    quarantine.keep({quarantined.pk: [(10.0, 10.0, 60.0, 20.0)]})
    make_image(cast.north, state="failed")
    settled = make_image(cast.north, state="settled", patient="P8")
    own = {name.removesuffix("_id"): getattr(thing.own, "pk", "") for name, thing in things.items()}
    site, patient = f"/sites/{cast.north.pk}/", own["patient"]
    lena = (
        *("/", "/images/", f"/images/{settled.pk}/", f"/images/{quarantined.pk}/", "/quarantine/", "/sites/", site, "/tokens/"),
        *("/audit/?words=gallery", f"{site}erasures/", f"/erasures/{own['erasure']}/", f"/patients/{patient}/take-back/"),
        *(f"/exams/{own['exam']}/take-back/", "/collection/", "/uploads/"),
    )
    sys = ("/people/", f"/people/{cast.alice.pk}/", site, "/jobs/", "/store/", "/audit/", "/images/no/such/page/")
    max_ = (
        "/snapshots/",
        "/snapshots/new/",
        f"/snapshots/{own['snapshot']}/",
        "/training/",
        f"/training/{own['run']}/",
        "/models/",
        "/example/",
    )
    return {
        "stella": [*led(cast)],
        "ravi": ["/reading/when/", "/reading/"],
        "lena": [*lena],
        "sys": [*sys],
        "max": [*max_],
        "nobody": ["/accounts/login/", "/accounts/password/reset/", "/accounts/signup/"],
    }


def led(cast: Cast) -> tuple[str, ...]:
    """The study lead's pages, with rules that have changed, somebody who is not good enough and somebody who was let in."""
    set_rules(site=None, reads_needed=2, qualify_agreement=0.9, qualify_sensitivity=0.8, gold_share=0.04, actor=cast.stella)
    set_rules(site=cast.north, reads_needed=3, only_sites=[cast.river.pk], t_lo=0.05, actor=cast.stella)
    set_rules(site=cast.north, reads_needed=3, unsure_asks=True, only_readers=[cast.ravi.pk], actor=cast.max)
    for kind in ("regular", "lugol_iodine"):
        image = make_image(cast.north, state="settled", kind=kind, patient="P9")
        KnownImage.objects.create(image=image, kind=kind, qualifying=True)
        task = ReviewTask.objects.create(image=image, purpose="qualification", for_reader=cast.ravi, state="closed")
        make_read(task, cast.ravi, "regular")
    rest.set_times(reader=cast.ravi, times=rest.Times(at_most_a_day=40, digest_days=7, languages=["en", "no"]))
    Qualification.objects.create(reader=cast.rita, waived_by=cast.stella)
    return "/", "/reviews/", "/reading/rules/", f"/reading/rules/?site={cast.north.pk}", "/reviews/qualification/"


def test_the_pages_fit_and_pass_axe(
    new_page: Callable[..., Page], login: Any, cast: Cast, screenshot: Any, expected_problems: list[str]
) -> None:
    expected_problems.append("status of 404")
    found = []
    for name, pages in addresses(cast).items():
        page = new_page()
        if name != "nobody":
            login(page, getattr(cast, name))
        for address in pages:
            page.goto(address)
            assert page.locator("h1").first.is_visible(), address
            found += [f"{name} at {address}, {width} px: {fault}" for width, fault in _faults(page, address, screenshot)]
    assert not found, "\n".join(found)


def _faults(page: Page, address: str, screenshot: Any) -> Iterator[tuple[int, str]]:
    """Both widths must fit; axe looks at the narrow one, and at the wide one of pages whose parts move."""
    for width, height in WIDTHS:
        page.set_viewport_size({"width": width, "height": height})
        if not _fits(page):
            yield width, "too wide"
        if width == 820 or address.startswith(BOTH):
            results = Axe().run(page)
            if results.violations_count:
                yield width, results.generate_report()
        if "WINNOW_SCREENSHOTS" in os.environ:  # sixty pictures are for who wants to look
            screenshot(page, f"axe-{address.strip('/').replace('/', '-').partition('?')[0] or 'home'}-{width}")


def _fits(page: Page) -> bool:
    """Charts take the new width a moment later."""
    for _ in range(30):
        if page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"):
            return True
        page.wait_for_timeout(100)
    return False


def test_a_chart_that_was_drawn_on_a_desk_shrinks_on_a_tablet(new_page: Callable[..., Page], login: Any, cast: Cast) -> None:
    image = make_image(cast.north, state="settled", patient="P9")
    set_label(image=image, kind=Kind.REGULAR, provenance=Provenance.CONSENSUS)
    page = new_page()
    login(page, cast.max)
    (desk, _), (tablet, height) = WIDTHS
    page.set_viewport_size({"width": desk, "height": height})
    page.goto("/snapshots/new/")
    page.locator("#preview canvas").wait_for()
    assert page.locator("#preview canvas").bounding_box()["width"] > tablet / 2  # type: ignore[index]
    page.set_viewport_size({"width": tablet, "height": height})
    assert _fits(page)
