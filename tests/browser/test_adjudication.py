"""Adjudication goes on from question to question without loading anew; slips, double keys, two tabs and a lost line cost nothing."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import Page, expect

from portal.reviews.models import Draft, Lease, Read, ReviewTask
from tests.browser.test_reading import next_one, on, tasks, turn
from tests.browser.test_reading_on import ready
from tests.cast import Cast, make_read

SAID = (("regular", "green_filter"), ("green_filter", "lugol_iodine"), ("not_cervix", "regular"), ("regular", "lugol_iodine"))


@pytest.fixture
def disputed(cast: Cast) -> list[ReviewTask]:
    """Four questions on which two readers disagree, the first to be settled first; of the first two, one reader has drawn a box."""
    queue = tasks(cast, 4)
    for number, (task, (one, other)) in enumerate(zip(queue, SAID, strict=True)):
        make_read(task, cast.rita, one, note=f"remark {number}", box=[100.0, 100.0, 300.0, 300.0] if number < 2 else None)
        make_read(task, cast.ravi, other)
    ReviewTask.objects.update(state="adjudication", reads_needed=3)
    return queue


def start(page: Page, login: Any, cast: Cast) -> None:
    login(page, cast.ada)
    page.goto("/")
    page.goto("/adjudication/")
    ready(page)
    page.evaluate("window.sameDocument = true")


def settle(page: Page, key: str, why: str) -> None:
    for pressed in (key, "n"):
        page.keyboard.press(pressed)
    page.keyboard.type(why)
    on(page, "Control+Enter")


def words(page: Page) -> list[int]:
    """Questions with an adjudicator's word that counts, in the order in which they were settled."""
    return list(Read.objects.filter(role="adjudicator", current=True).order_by("id").values_list("task", flat=True))


def test_three_are_settled_by_keyboard_without_loading_anew(
    browser_page: Page, login: Any, cast: Cast, disputed: list[ReviewTask], screenshot: Any
) -> None:
    page = browser_page
    start(page, login, cast)
    for number, key in enumerate("glx"):
        expect(page.locator(".earlier-answers li")).to_have_count(2)
        expect(page.locator("#earlier")).to_contain_text(f"remark {number}")
        assert page.locator("#overlay rect.earlier").count() == (1 if number < 2 else 0)
        settle(page, key, f"because {number}")
        expect(page.locator("#frame")).to_be_focused()
        assert (page.locator("#note").input_value(), page.locator("input[name=kind]:checked").count()) == ("", 0)
    screenshot(page, "adjudication-on-1280")
    assert page.evaluate("window.sameDocument && performance.getEntriesByType('navigation').length === 1")
    assert words(page) == [task.pk for task in disputed[:3]]
    said = Read.objects.filter(role="adjudicator").order_by("id")
    kinds = ("green_filter", "lugol_iodine", "not_cervix")
    assert list(said.values_list("kind", "note")) == [(kind, f"because {number}") for number, kind in enumerate(kinds)]
    on(page, "z")  # the last of them, with what was said
    expect(page.locator("#note")).to_have_value("because 2")
    expect(page.locator("#earlier")).to_contain_text("remark 2")
    page.keyboard.press("s")
    on(page)  # the first reason why one skips
    expect(page.locator("#earlier")).to_contain_text("remark 3")
    assert page.evaluate("window.sameDocument")
    page.go_back()
    page.go_forward()
    expect(page.locator("#earlier")).to_contain_text("remark 3")
    assert (words(page), Lease.objects.get(task=disputed[2], skipped="not_now").reader_id) == ([t.pk for t in disputed[:2]], cast.ada.pk)


def test_a_double_key_settles_one_and_a_second_tab_is_told_so(
    browser_page: Page, login: Any, cast: Cast, disputed: list[ReviewTask], expected_problems: list[str]
) -> None:
    expected_problems += ["409", "ERR_INTERNET_DISCONNECTED"]
    page = browser_page
    start(page, login, cast)
    other = page.context.new_page()
    other.goto("/adjudication/")
    ready(other)
    before = turn(page)
    for key in ("g", "Enter"):
        page.keyboard.press(key)
    expect(page.locator("#hint")).to_contain_text("Say in a few words why")
    page.keyboard.type("twice")
    page.keyboard.press("Control+Enter")
    page.keyboard.press("Control+Enter")
    next_one(page, before)
    page.keyboard.press("Control+Enter")
    page.keyboard.press("Enter")
    expect(page.locator("#hint")).to_contain_text("Choose an answer first")
    assert words(page) == [disputed[0].pk]
    for key in ("r", "n"):
        other.keyboard.press(key)
    other.keyboard.type("my careful words")
    other.keyboard.press("Control+Enter")
    expect(other.get_by_role("alert")).to_contain_text("You have answered this picture already")
    expect(other.locator("#note")).to_have_value("my careful words")
    other.close()
    page.context.set_offline(True)
    for key in ("l", "n"):
        page.keyboard.press(key)
    page.keyboard.type("brown")
    before = turn(page)
    page.keyboard.press("Control+Enter")
    expect(page.get_by_role("alert")).to_contain_text("The line is away. Your answer is kept")
    page.context.set_offline(False)  # and it is sent by itself
    next_one(page, before)
    assert words(page) == [task.pk for task in disputed[:2]]
    page.wait_for_timeout(700)  # longer than the page waits before it keeps what was marked: nothing may come after the answer
    assert not Draft.objects.exists()
    assert page.evaluate("window.sameDocument")
