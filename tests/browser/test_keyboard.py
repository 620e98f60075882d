"""Readers, adjudicators and those who lead the study do all their work without a mouse, at a desk and on a tablet with a keyboard.

Tab, Shift, Enter, Space, arrows, Escape and letters: nothing is clicked, and nothing focused by the test.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from portal.reviews.models import Lease, Read, ReaderSettings, ReviewRules, ReviewTask
from tests.browser.test_adjudication import SAID
from tests.browser.test_reading import next_one, on, tasks, turn
from tests.browser.test_reading_on import ready
from tests.browser.walker import all_around, at, press, tab_to, watched
from tests.cast import Cast, make_image, make_read

WIDTHS = [(1280, 800), (820, 1180)]


@pytest.fixture(params=WIDTHS, ids=str)
def page(request: Any, new_page: Callable[..., Page]) -> Page:
    width, height = request.param
    return watched(new_page(width=width, height=height))


def at_the_picture(page: Page) -> None:
    """Where the keys are after every change of pictures."""
    expect(page.locator("#frame")).to_be_focused()


def test_a_reader_reads_a_whole_sitting(page: Page, login: Any, cast: Cast, expected_problems: list[str]) -> None:
    expected_problems += ["409", "404"]
    queue = tasks(cast, 5)
    login(page, cast.rita)
    page.goto("/reading/")
    ready(page)
    all_around(page)
    # an answer with all that belongs to it
    press(page, "6")
    assert at(page, "[name=reasons][value=blurred]")
    press(page, "Space", "Tab", "Space", "8", "n")
    page.keyboard.type("by keyboard")
    press(page, "Escape")
    at_the_picture(page)
    press(page, "b", "ArrowUp", "Shift+ArrowRight", "ArrowLeft", "Control+z", "Escape")
    on(page)
    at_the_picture(page)
    read = Read.objects.get()
    assert (read.kind, read.reasons, read.confidence, read.note) == ("unusable", ["blurred", "too_dark"], 2, "by keyboard")
    assert read.box == pytest.approx([128, 96, 518.4, 384], abs=0.2)
    on(page, "z")
    at_the_picture(page)
    expect(page.locator("#note")).to_have_value("by keyboard")
    on(page)
    # what lies beside: by letters, and by Tab alone
    press(page, "e", "v")
    expect(page.locator("#blink")).to_be_visible()
    press(page, "v")
    tab_to(page, "#thumbs .thumb:nth-child(2)")
    press(page, "Space")
    expect(page.locator("#beside-which")).to_have_text("another of the exam, 2 of 4")
    tab_to(page, "#blink-toggle")
    press(page, "Enter")
    expect(page.locator("#blink")).to_be_visible()
    tab_to(page, "#box-toggle")
    press(page, "Enter", "ArrowUp")
    tab_to(page, "#box-remove")
    press(page, "Enter")  # it vanishes
    assert at(page, "#box-toggle")
    # an answer by Tab alone
    press(page, "Escape")
    tab_to(page, "[name=kind]")
    press(page, "Space", "ArrowDown")
    tab_to(page, "#submit")
    on(page)
    at_the_picture(page)
    assert Read.objects.latest("id").kind == "green_filter"
    # refused: the place is kept
    tab_to(page, "#submit")
    press(page, "Enter")
    expect(page.locator("#hint")).to_contain_text("Choose an answer first")
    assert at(page, "#submit")
    # the list of keys, and back
    press(page, "?")
    expect(page.get_by_role("dialog")).to_be_visible()
    press(page, "Tab", "Tab", "Escape")
    expect(page.get_by_role("dialog")).to_be_hidden()
    assert at(page, "#submit")
    # skipped, after a second thought
    press(page, "s")
    assert at(page, "#skip-form button[value=not_now]")
    press(page, "Escape")
    at_the_picture(page)
    expect(page.locator("#skip-form")).to_be_hidden()
    press(page, "s")
    tab_to(page, "#skip-form button[value=needs_more_time]")
    on(page)
    at_the_picture(page)
    assert Lease.objects.get(task=queue[2], ended__isnull=False).skipped == "needs_more_time"
    # withdrawn while it is open
    ReviewTask.objects.filter(pk=queue[3].pk).update(state="cancelled")
    press(page, "1", "Enter")
    expect(page.get_by_role("button", name="Next picture")).to_be_focused()
    before = turn(page)
    press(page, "Enter")
    next_one(page, before)
    assert Lease.objects.get(task=queue[4], ended=None, reserved=False).reader_id == cast.rita.pk


def test_a_reader_sets_keys_and_times_and_amends_an_answer(page: Page, login: Any, cast: Cast, expected_problems: list[str]) -> None:
    expected_problems.append("400")
    (task, _) = tasks(cast, 2)
    login(page, cast.rita)
    page.goto("/reading/")
    ready(page)
    press(page, "1")
    on(page)
    press(page, "?")
    tab_to(page, "dialog a")
    press(page, "Enter")
    expect(page.get_by_role("heading", name="Keys and line")).to_be_visible()
    all_around(page)
    tab_to(page, "[name=low_bandwidth]")
    press(page, "Space")
    tab_to(page, "#key_lugol_iodine")
    press(page, "g", "Enter")
    expect(page.get_by_role("alert")).to_contain_text("Nothing was kept")
    tab_to(page, "[aria-invalid]")
    press(page, "j", "Enter")
    expect(page.get_by_role("status")).to_contain_text("It holds from the next picture on")
    kept = ReaderSettings.objects.get()
    assert (kept.keys, kept.low_bandwidth) == ({"lugol_iodine": "j"}, True)
    tab_to(page, "a[href='/reading/']:not(nav a)")
    press(page, "Enter")
    ready(page)
    tab_to(page, "#full")
    tab_to(page, "a[href='/reading/mine/']:not(nav a)")
    press(page, "Enter")
    expect(page.get_by_role("heading", name="My reading")).to_be_visible()
    all_around(page)
    tab_to(page, "a[href^='/reading/amend/']")
    press(page, "Enter")
    ready(page)
    all_around(page)
    press(page, "Escape", "j", "Enter")
    expect(page.get_by_role("heading", name="My reading")).to_be_visible()
    assert Read.objects.get(current=True).kind == "lugol_iodine"
    tab_to(page, "a[href='/reading/when/']")
    press(page, "Enter")
    expect(page.get_by_role("heading", name="When I read")).to_be_visible()
    all_around(page)
    tab_to(page, "[name=at_most_a_day]")
    press(page, "4", "0", "Enter")
    expect(page.locator("p[role=status]").first).to_be_visible()
    assert ReaderSettings.objects.get().at_most_a_day == 40
    assert task.reads.count() == 2


def test_an_adjudicator_settles(page: Page, login: Any, cast: Cast) -> None:
    for task, (one, other) in zip(tasks(cast, 2), SAID, strict=False):
        make_read(task, cast.rita, one)
        make_read(task, cast.ravi, other)
    ReviewTask.objects.update(state="adjudication", reads_needed=3)
    login(page, cast.ada)
    page.goto("/adjudication/")
    ready(page)
    all_around(page)
    tab_to(page, "[name=kind]")
    press(page, "Space", "Enter")
    assert at(page, "#note")
    page.keyboard.type("white light")
    tab_to(page, "#submit")
    on(page)
    at_the_picture(page)
    assert Read.objects.filter(role="adjudicator").values_list("kind", "note").get() == ("regular", "white light")


def test_the_study_lead_leads(page: Page, login: Any, cast: Cast) -> None:
    settled = make_image(cast.north, state="settled")
    make_read(ReviewTask.objects.get(image=settled), cast.rita)
    tasks(cast, 1)
    login(page, cast.stella)
    page.goto("/reading/rules/")
    all_around(page)
    tab_to(page, "[name=reads_needed]")
    press(page, "ArrowDown")
    tab_to(page, "[name=only_readers]")
    press(page, "Space")
    tab_to(page, "form.card button[type=submit]")
    press(page, "Enter")
    expect(page.get_by_role("status")).to_contain_text("in force from now on")
    rule = ReviewRules.objects.get()
    assert (rule.reads_needed, len(rule.only_readers)) == (2, 1)
    for link, title in (
        ("/reviews/qualification/", "Qualification"), ("/reviews/", "Review queue"), ("/reviews/progress/", "Progress of reading"),
        ("/reviews/readers/", "Readers"), ("/reviews/agreement/", "Agreement of readers"),
    ):  # fmt: skip
        tab_to(page, f"main a[href='{link}']")
        press(page, "Enter")
        expect(page.get_by_role("heading", name=title, exact=True)).to_be_visible()
        all_around(page)
