"""Reading goes on from picture to picture without loading anew; slips are undone, and what was marked outlives line and login."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.sessions.models import Session
from playwright.sync_api import Page, expect

from portal.images.models import Image
from portal.reviews.models import Draft, Lease, Read, ReaderSettings, ReviewRules, ReviewTask
from tests.browser.test_reading import at_rest, next_one, on, tasks, turn
from tests.cast import Cast


def ready(page: Page) -> None:
    """Keys count for the picture that is shown."""
    page.wait_for_selector("#room[data-ready]")


def pictures_asked(page: Page) -> list[str]:
    asked: list[str] = []
    page.on("request", lambda sent: asked.append(sent.url.split("/reading/", 1)[-1]) if "/reading/picture/" in sent.url else None)
    return asked


def shown(page: Page) -> str:
    return str(page.locator("#picture").get_attribute("src"))


def start(page: Page, login: Any, cast: Cast) -> None:
    login(page, cast.rita)
    page.goto("/reading/")
    ready(page)


def test_two_keys_a_picture_and_the_next_is_there_already(browser_page: Page, login: Any, cast: Cast) -> None:
    page = browser_page
    queue = tasks(cast, 4)
    asked = pictures_asked(page)
    start(page, login, cast)
    page.wait_for_load_state("networkidle")
    assert len(asked) == 3  # this one, and two ahead
    assert Lease.objects.filter(reserved=True).count() == 2
    page.evaluate("window.sameDocument = true")
    for _ in range(2):
        before = shown(page)
        page.keyboard.press("1")
        on(page)
        assert shown(page) != before
    page.wait_for_load_state("networkidle")
    assert page.evaluate("window.sameDocument")
    assert len(asked) == len(set(asked)) == 4  # none was fetched twice
    assert list(Read.objects.order_by("id").values_list("task", "kind")) == [(task.pk, "regular") for task in queue[:2]]


def test_a_slip_is_undone_by_one_key_and_a_picture_is_skipped_by_two(browser_page: Page, login: Any, cast: Cast, screenshot: Any) -> None:
    page = browser_page
    queue = tasks(cast, 3)
    start(page, login, cast)
    first = shown(page)
    for key in ("2", "7", "n"):
        page.keyboard.press(key)
    page.keyboard.type("a slip")
    on(page, "Control+Enter")
    expect(page.locator("#undo-left")).to_contain_text("s left")
    assert page.locator("#note").input_value() == ""
    assert not page.locator("input[name=kind]:checked").count()
    screenshot(page, "reading-undo-1280")
    on(page, "z")
    expect(page.locator("#note")).to_have_value("a slip")
    expect(page.locator("input[name=kind]:checked")).to_have_value("green_filter")
    expect(page.locator("input[name=confidence]:checked")).to_have_value("1")
    assert shown(page) != first  # the address of before is dead
    page.keyboard.press("1")
    on(page)
    page.keyboard.press("s")
    screenshot(page, "reading-skip-1280")
    on(page)
    page.keyboard.press("c")
    page.keyboard.press("Space")
    page.keyboard.press("Enter")
    expect(page.locator(".page-head")).to_contain_text("Nothing waits for you")
    current = Read.objects.filter(current=True).order_by("id")
    assert list(current.values_list("task", "kind", "reasons")) == [
        (queue[0].pk, "regular", []), (queue[2].pk, "cannot_tell", ["between_kinds"]),
    ]  # fmt: skip
    assert Lease.objects.get(task=queue[1]).skipped == "not_now"
    page.keyboard.press("z")  # the last one, though nothing waits
    expect(page.locator("input[name=kind]:checked")).to_have_value("cannot_tell")


def test_what_was_marked_outlives_the_line_and_the_login(
    browser_page: Page, new_page: Callable[..., Page], login: Any, cast: Cast, expected_problems: list[str]
) -> None:
    expected_problems += ["401", "ERR_INTERNET_DISCONNECTED"]
    page = browser_page
    tasks(cast, 2)
    start(page, login, cast)
    page.keyboard.press("4")
    expect(page.locator("#saved")).to_have_text("Kept.")
    tablet = new_page(width=820, height=1180)
    start(tablet, login, cast)
    expect(tablet.locator("input[name=kind]:checked")).to_have_value("not_cervix")
    page.wait_for_load_state("networkidle")
    page.context.set_offline(True)
    page.keyboard.press("2")
    expect(page.locator("#saved")).to_contain_text("Kept in this browser")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("The line is away. Your answer is kept")
    before = turn(page)
    page.context.set_offline(False)  # and it is sent by itself
    next_one(page, before)
    assert Read.objects.get().kind == "green_filter"
    Session.objects.all().delete()
    page.keyboard.press("3")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("Your login has expired. Your answer is kept")
    expect(page.get_by_role("link", name="Log in in a new tab")).to_be_focused()
    assert "lugol_iodine" in page.evaluate("JSON.stringify(localStorage)")
    login(page, cast.rita)
    page.get_by_role("button", name="Send again").click()
    expect(page.locator(".page-head")).to_contain_text("Nothing waits for you")
    assert Read.objects.latest("id").kind == "lugol_iodine"
    assert page.evaluate("Object.keys(localStorage).length") == 0
    assert not Draft.objects.exists()


def test_a_box_is_drawn_undone_and_asked_for(browser_page: Page, login: Any, cast: Cast, screenshot: Any) -> None:
    page = browser_page
    tasks(cast, 1)
    ReviewTask.objects.update(rules=ReviewRules.objects.create(boxes="asked"))
    start(page, login, cast)
    page.keyboard.press("1")
    page.keyboard.press("Enter")
    expect(page.locator("#hint")).to_contain_text("This study asks for a box")
    page.keyboard.press("b")
    at, to = (at_rest(page, place) for place in ([200, 150], [400, 300]))
    drag(page, at, to)
    drawn = page.locator("#box-field").input_value()
    drag(page, at_rest(page, [400, 225]), at_rest(page, [500, 225]))  # the handle in the middle of the right side
    sides = [float(side) for side in page.locator("#box-field").input_value().split(",")]
    assert sides == pytest.approx([200, 150, 500, 300], abs=2)
    page.keyboard.press("Shift+ArrowDown")
    page.keyboard.press("Delete")
    assert page.locator("#box-field").input_value() == ""
    screenshot(page, "reading-box-1280")
    for _ in range(3):
        page.keyboard.press("Control+z")
    assert page.locator("#box-field").input_value() == drawn
    page.keyboard.press("b")
    page.keyboard.press("Enter")
    expect(page.locator(".page-head")).to_contain_text("Nothing waits for you")
    assert Read.objects.get().box == pytest.approx([200, 150, 400, 300], abs=2)


def drag(page: Page, at: list[float], to: list[float], button: Any = "left") -> None:
    page.mouse.move(*at)
    page.mouse.down(button=button)
    page.mouse.move(*to, steps=4)
    page.mouse.up(button=button)


def test_light_follows_a_drag_and_two_fingers_zoom(new_page: Callable[..., Page], login: Any, cast: Cast) -> None:
    page = new_page(width=820, height=1180, has_touch=True)
    tasks(cast, 1)
    start(page, login, cast)
    x, y = at_rest(page, [320, 240])
    drag(page, [x, y], [x + 60, y - 40], button="right")
    expect(page.locator("#contrast")).to_have_value("130")
    expect(page.locator("#brightness")).to_have_value("120")
    page.keyboard.down("Shift")
    drag(page, [x, y], [x - 60, y + 40])
    page.keyboard.up("Shift")
    expect(page.locator("#contrast")).to_have_value("100")
    expect(page.locator("#zoom")).to_have_text("100 %")
    line = page.context.new_cdp_session(page)
    for spread, kind in ((20, "touchStart"), (40, "touchMove"), (60, "touchMove"), (60, "touchEnd")):
        fingers = [{"x": x - spread, "y": y, "id": 0}, {"x": x + spread, "y": y, "id": 1}]
        line.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": [] if kind == "touchEnd" else fingers})
    page.wait_for_function("() => parseInt(document.getElementById('zoom').textContent) > 110")


def test_over_a_thin_line_a_small_picture_comes_first(browser_page: Page, login: Any, cast: Cast) -> None:
    page = browser_page
    tasks(cast, 2)
    ReaderSettings.objects.create(reader=cast.rita, low_bandwidth=True)
    asked = pictures_asked(page)
    start(page, login, cast)
    page.wait_for_load_state("networkidle")
    assert [address.endswith("/small/") for address in asked] == [True]
    assert not Lease.objects.filter(reserved=True).exists()
    page.keyboard.press("f")
    page.wait_for_function("() => !document.getElementById('picture').src.endsWith('/small/')")
    page.keyboard.press("1")
    on(page)
    assert [address.endswith("/small/") for address in asked] == [True, False, True]


def test_keys_are_changed_and_a_key_with_two_meanings_is_refused(
    browser_page: Page, login: Any, cast: Cast, expected_problems: list[str]
) -> None:
    expected_problems.append("400")
    page = browser_page
    tasks(cast, 2)
    login(page, cast.rita)
    page.goto("/reading/keys/")
    page.get_by_label("Answer: Lugol's iodine").fill("g")
    page.get_by_role("button", name="Keep", exact=True).click()
    expect(page.get_by_role("alert")).to_contain_text("Nothing was kept")
    field = page.get_by_label("Answer: Lugol's iodine")
    expect(field).to_have_attribute("aria-invalid", "true")
    expect(page.locator("#fault_lugol_iodine")).to_contain_text("does something else already: answer: Green filter")
    field.fill("J")
    page.get_by_role("button", name="Keep", exact=True).click()
    expect(page.locator("main")).to_contain_text("It holds from the next picture on")
    page.goto("/reading/")
    ready(page)
    page.keyboard.press("l")
    assert not page.locator("input[name=kind]:checked").count()
    page.keyboard.press("j")
    on(page)
    assert Read.objects.get().kind == "lugol_iodine"
    page.goto("/reading/keys/")
    page.get_by_role("button", name="All keys as usual").click()
    expect(page.get_by_label("Answer: Lugol's iodine")).to_have_value("l")


def test_a_picture_withdrawn_while_it_is_open_is_said_so_and_reading_goes_on(
    browser_page: Page, login: Any, cast: Cast, expected_problems: list[str], screenshot: Any
) -> None:
    expected_problems.append("409")
    page = browser_page
    queue = tasks(cast, 2)
    start(page, login, cast)
    Image.objects.filter(pk=queue[0].image_id).update(state="withdrawn")
    ReviewTask.objects.filter(pk=queue[0].pk).update(state="cancelled")
    page.keyboard.press("1")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("no longer waiting for your answer")
    screenshot(page, "reading-withdrawn-1280")
    on(page)
    ready(page)
    page.locator("label.kind", has_text="Regular").click()
    page.locator("#submit").dblclick()
    expect(page.locator(".page-head")).to_contain_text("Nothing waits for you")
    assert Read.objects.get().task_id == queue[1].pk


def test_the_models_opinion_comes_after_the_own_answer_and_is_kept_or_followed_by_key(
    browser_page: Page, login: Any, cast: Cast, screenshot: Any
) -> None:
    page = browser_page
    tasks(cast, 2)
    ReviewTask.objects.update(rules=ReviewRules.objects.create(reveal=True))
    start(page, login, cast)
    page.keyboard.press("2")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="The model says")).to_be_visible()
    ready(page)
    screenshot(page, "reading-revealed-1280")
    page.keyboard.press("1")
    on(page)
    ready(page)
    page.keyboard.press("1")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="The model says")).to_be_visible()
    ready(page)
    page.keyboard.press("Enter")
    expect(page.locator(".page-head")).to_contain_text("Nothing waits for you")
    assert list(Read.objects.order_by("id").values_list("kind", "version", "revealed")) == [
        ("green_filter", 1, False), ("regular", 2, True), ("regular", 1, False),
    ]  # fmt: skip


def test_only_active_time_is_counted_and_undoing_ends_with_its_minute(browser_page: Page, login: Any, cast: Cast) -> None:
    page = browser_page
    tasks(cast, 2)
    page.clock.install()
    start(page, login, cast)
    page.keyboard.press("1")
    page.clock.fast_forward(20_000)
    page.mouse.move(300, 300)
    page.clock.fast_forward(600_000)  # away from the desk
    page.keyboard.press("Enter")
    expect(page.locator("#undo")).to_be_visible()
    assert 75 <= Read.objects.get().seconds <= 100
    page.clock.fast_forward(61_000)
    expect(page.locator("#undo")).to_be_hidden()
