"""Figures of readers and of progress, on a desk and on a tablet."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from django.db.models import F
from playwright.sync_api import Page

from portal.accounts.models import Role
from portal.reviews.models import ReviewTask
from tests.browser.test_patients import WIDTHS
from tests.cast import Cast, make_image, make_read, make_task, make_user
from tests.portal.reviews.test_quality import measuring, settled
from tests.portal.reviews.test_reader_pages import measured_long_ago

pytestmark = pytest.mark.django_db(transaction=True)


def studied(cast: Cast) -> None:
    """Readers who differ, a few weeks of work, and a question that nobody may be given."""
    tess = make_user("tess", (Role.READER, None))
    for number in range(36):
        kind = ("regular", "green_filter", "lugol_iodine")[number % 3]
        image, task = settled(cast, kind, f"P{number}", "adjudication" if number % 9 == 0 else "consensus")
        make_read(task, cast.rita, kind, seconds=4.0 + number % 7)
        make_read(task, cast.ravi, "regular" if number % 9 == 0 else kind, seconds=7.0)
        make_read(task, tess, "cannot_tell" if number % 12 == 5 else kind, seconds=5.0)
        if number % 2:
            measuring("repeat", image, cast.rita, "regular" if number == 1 else kind)
        else:
            measuring("gold", image, cast.rita, kind)
        ago = datetime.now(UTC) - timedelta(days=number * 1.5)
        ReviewTask.objects.filter(pk=task.pk).update(created=ago - timedelta(days=1 + number % 5), closed=ago)
    waits = make_task(make_image(cast.river, state="in_review", patient="W"))
    ReviewTask.objects.filter(pk=waits.pk).update(reads_needed=F("reads_needed") + 3)
    for reader in (cast.ravi, tess, cast.ada):
        make_read(waits, reader)
    measured_long_ago()


def test_figures_of_readers_and_of_progress_fit_and_pass_axe(
    new_page: Callable[..., Page], login: Any, cast: Cast, screenshot: Any
) -> None:
    studied(cast)
    for user, address, name in (
        (cast.rita, "/reading/mine/", "How well you read"), (cast.max, "/reviews/readers/", "Moved by the model"),
        (cast.max, "/reviews/progress/", "What is left"),
    ):  # fmt: skip
        page = new_page()
        login(page, user)
        page.goto(address)
        assert page.get_by_role("heading", name=name).is_visible()
        for width, height in WIDTHS:
            page.set_viewport_size({"width": width, "height": height})
            assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), f"{address} at {width}"
            results = Axe().run(page)
            assert results.violations_count == 0, results.generate_report()
            screenshot(page, f"{address.strip('/').replace('/', '-')}-{width}")
