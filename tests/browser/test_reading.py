"""A reader reads by keyboard alone, at a desk and on a tablet, and is told plainly when something is over."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from django.db.models.functions import Now
from playwright.sync_api import Page, expect

from portal.accounts.models import Membership, Role
from portal.images.models import Image
from portal.labels.models import Label
from portal.reviews.models import Lease, Read, ReviewTask
from tests.cast import Cast, make_image, make_read, make_task, make_user, picture_bytes

ON_SCREEN = """place => {
  const point = new DOMPoint(...place).matrixTransform(document.getElementById("overlay").getScreenCTM());
  return [point.x, point.y];
}"""

ALIKE = """() => {
  const [one, other] = document.querySelectorAll(".stage");
  const light = (stage) => stage.querySelector("img").style.filter;
  return one.style.transform && one.style.transform === other.style.transform && light(one) && light(one) === light(other);
}"""


def tasks(cast: Cast, count: int, *, pictures: Sequence[bytes] = ()) -> list[ReviewTask]:
    """The first to be read first: these pictures, else drawn ones of 640x480."""
    made = []
    for k in range(count):
        data = pictures[k] if pictures else picture_bytes(size=(640, 480))
        image = make_image(cast.north, state="in_review", p_non_regular=0.5, data=data)
        ReviewTask.objects.filter(image=image).update(priority=1 - k / 10)
        made.append(ReviewTask.objects.get(image=image))
    return made


def ready(page: Page) -> None:
    expect(page.locator("#overlay")).to_have_attribute("viewBox", "0 0 640 480")
    expect(page.locator("#room[data-ready]")).to_be_visible()


def turn(page: Page) -> str:
    """Which picture the page takes keys for."""
    return page.locator("#room").get_attribute("data-ready") or ""


def next_one(page: Page, before: str) -> None:
    expect(page.locator(f'#room[data-ready]:not([data-ready="{before}"])')).to_be_visible()


def on(page: Page, key: str = "Enter") -> None:
    """By one key to another picture, on which the page then takes keys."""
    before = turn(page)
    page.keyboard.press(key)
    next_one(page, before)


def test_three_pictures_are_read_by_keyboard_alone(browser_page: Page, login: Any, cast: Cast, screenshot: Any) -> None:
    page = browser_page
    queue = tasks(cast, 3)
    login(page, cast.rita)
    page.goto("/reading/")
    ready(page)
    expect(page.locator(".page-head")).to_contain_text("Some pictures wait for you")
    for key in ("+", "+", "ArrowRight", "]", "2", "b", "ArrowUp", "Shift+ArrowRight", "b", "n"):
        page.keyboard.press(key)
    page.keyboard.type("a faint tint, 1 of 3")
    screenshot(page, "reading-1280")
    page.keyboard.press("Escape")
    on(page)
    ready(page)
    expect(page.locator("#zoom")).not_to_have_text("100 %")  # zoom and light go on from picture to picture
    expect(page.locator("#brightness")).to_have_value("110")
    page.keyboard.press("Enter")
    expect(page.locator("#hint")).to_contain_text("Choose an answer first")
    page.keyboard.press("6")
    page.keyboard.press("Space")
    on(page)
    ready(page)
    page.keyboard.press("c")
    page.keyboard.press("Enter")
    expect(page.locator(".page-head")).to_contain_text("Nothing waits for you")
    reads = list(Read.objects.order_by("id"))
    assert [read.task_id for read in reads] == [task.pk for task in queue]
    assert [read.kind for read in reads] == ["green_filter", "unusable", "cannot_tell"]
    assert reads[0].note == "a faint tint, 1 of 3"
    assert reads[0].box == pytest.approx([128, 96, 518.4, 384], abs=0.2)
    assert (reads[1].box, reads[1].reasons) == (None, ["blurred"])
    assert all(read.seconds > 0 for read in reads)
    assert Image.objects.get(pk=queue[0].image_id).state == "settled"


def at_rest(page: Page, place: list[int]) -> list[float]:
    """Where a pixel of the picture is on the screen, once zooming has come to rest."""
    before: list[float] = []
    while (now := page.evaluate(ON_SCREEN, place)) != before:
        before = now
        page.wait_for_timeout(250)
    return before


def test_a_box_drawn_while_zoomed_lands_on_the_pixels(browser_page: Page, login: Any, cast: Cast) -> None:
    page = browser_page
    tasks(cast, 1)
    login(page, cast.rita)
    page.goto("/reading/")
    ready(page)
    page.keyboard.press("+")
    page.keyboard.press("b")
    at, to = (at_rest(page, place) for place in ([200, 150], [400, 300]))
    page.mouse.move(*at)
    page.mouse.down()
    page.mouse.move(*to, steps=5)
    page.mouse.up()
    page.keyboard.press("1")
    page.keyboard.press("Enter")
    expect(page.locator(".page-head")).to_contain_text("Nothing waits for you")
    assert Read.objects.get().box == pytest.approx([200, 150, 400, 300], abs=2)


def test_it_works_on_a_tablet(new_page: Callable[..., Page], login: Any, cast: Cast, screenshot: Any) -> None:
    page = new_page(width=820, height=1180, has_touch=True)
    tasks(cast, 1)
    login(page, cast.rita)
    page.goto("/reading/")
    ready(page)
    screenshot(page, "reading-820")
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    sizes = page.locator("label.kind, #submit, .tools .btn, .leave .btn").evaluate_all("all => all.map((one) => one.offsetHeight)")
    assert [size for size in sizes if 0 < size < 44] == [], "what is pressed by a finger"
    page.locator("label.kind", has_text="Regular").tap()
    page.get_by_role("button", name="Submit and next").tap()
    expect(page.locator(".page-head")).to_contain_text("Nothing waits for you")
    assert Read.objects.get().kind == "regular"


@pytest.mark.parametrize("width", [1280, 820])
def test_a_picture_is_compared_with_its_exam_by_keyboard(
    new_page: Callable[..., Page], login: Any, cast: Cast, screenshot: Any, width: int
) -> None:
    page = new_page(width=width, height=1180 if width < 1000 else 800)
    (task,) = tasks(cast, 1)
    for _ in range(2):
        make_image(cast.north, state="accepted", data=picture_bytes(size=(640, 480)))
    login(page, cast.rita)
    page.goto("/reading/")
    ready(page)
    expect(page.locator(".strip .thumb")).to_have_count(2)
    expect(page.locator("#beside-frame")).to_be_hidden()
    page.keyboard.press("e")
    expect(page.locator("#beside-which")).to_have_text("another of the exam, 1 of 2")
    expect(page.locator("#which")).to_have_text("the one to be read")
    for key in ("+", "+", "ArrowRight", "]"):
        page.keyboard.press(key)
    expect(page.locator("#brightness")).to_have_value("110")
    page.wait_for_function(ALIKE)
    sizes = page.evaluate("[...document.querySelectorAll('.frame')].map(f => [f.clientWidth, f.clientHeight])")
    assert sizes[0] == sizes[1]
    screenshot(page, f"reading-beside-{width}")
    page.keyboard.press("v")
    expect(page.locator("#blink")).to_be_visible()
    expect(page.locator("#which")).to_have_text("another of the exam, 1 of 2")
    screenshot(page, f"reading-blink-{width}")
    page.keyboard.press("b")  # a box belongs to the picture that is read: blinking ends
    expect(page.locator("#blink")).to_be_hidden()
    page.keyboard.press("v")
    expect(page.locator("#hint")).to_contain_text("End the box first")
    page.keyboard.press("b")
    page.keyboard.press("e")
    expect(page.locator("#beside-which")).to_have_text("another of the exam, 2 of 2")
    page.keyboard.press("e")
    expect(page.locator("#beside-frame")).to_be_hidden()
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    page.keyboard.press("2")
    page.keyboard.press("Enter")
    expect(page.locator(".page-head")).to_contain_text("Nothing waits for you")
    assert Read.objects.get().task_id == task.pk


def test_the_keys_are_explained(browser_page: Page, login: Any, cast: Cast) -> None:
    tasks(cast, 1)
    login(browser_page, cast.rita)
    browser_page.goto("/reading/")
    ready(browser_page)
    browser_page.keyboard.press("?")
    expect(browser_page.get_by_role("dialog")).to_contain_text("blink: the two in turn")
    browser_page.keyboard.press("Escape")
    expect(browser_page.get_by_role("dialog")).not_to_be_visible()


def test_after_going_back_the_same_picture_is_not_answered_again(browser_page: Page, login: Any, cast: Cast) -> None:
    page = browser_page
    tasks(cast, 2)
    login(page, cast.rita)
    page.goto("/")
    page.goto("/reading/")
    ready(page)
    page.keyboard.press("1")
    on(page)
    page.go_back()
    page.go_forward()
    page.goto("/reading/")
    expect(page.locator(".page-head")).to_contain_text("Some pictures wait for you")
    assert Read.objects.count() == 1


def test_a_second_tab_that_is_too_late_is_told_so(
    browser_page: Page, login: Any, cast: Cast, expected_problems: list[str], screenshot: Any
) -> None:
    expected_problems.append("409")
    page = browser_page
    tasks(cast, 1)
    login(page, cast.rita)
    page.goto("/reading/")
    ready(page)
    other = page.context.new_page()
    other.goto("/reading/")
    ready(other)
    page.keyboard.press("1")
    page.keyboard.press("Enter")
    expect(page.locator(".page-head")).to_contain_text("Nothing waits for you")
    other.keyboard.press("2")
    other.keyboard.press("n")
    other.keyboard.type("my careful words")
    other.keyboard.press("Control+Enter")
    expect(other.get_by_role("alert")).to_contain_text("You have answered this picture already")
    expect(other.locator("#note")).to_have_value("my careful words")
    other.keyboard.press("Enter")  # on to the next, of which there is none
    expect(other.locator(".page-head")).to_contain_text("Nothing waits for you")
    assert Read.objects.get().kind == "regular"


def test_who_took_too_long_is_told_so(browser_page: Page, login: Any, cast: Cast, expected_problems: list[str]) -> None:
    expected_problems.append("409")
    page = browser_page
    (task,) = tasks(cast, 1)
    login(page, cast.rita)
    page.goto("/reading/")
    ready(page)
    page.wait_for_load_state("networkidle")
    Lease.objects.update(until=Now() - timedelta(minutes=1))
    Lease.objects.create(task=task, reader=cast.ravi, token="x" * 40, until=Now() + timedelta(minutes=5))
    page.keyboard.press("1")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("no longer waiting for your answer")
    assert not Read.objects.exists()


def test_who_lost_the_role_meanwhile_is_told_so(browser_page: Page, login: Any, cast: Cast, expected_problems: list[str]) -> None:
    expected_problems.append("403")
    page = browser_page
    tasks(cast, 1)
    login(page, cast.rita)
    page.goto("/reading/")
    ready(page)
    page.wait_for_load_state("networkidle")
    Membership.objects.filter(user=cast.rita).delete()
    page.keyboard.press("1")
    page.keyboard.press("Enter")
    expect(page.locator("main")).to_contain_text("Your roles do not include this page")
    assert not Read.objects.exists()


def test_an_adjudicator_sees_the_earlier_answers_without_names(browser_page: Page, login: Any, cast: Cast, screenshot: Any) -> None:
    page = browser_page
    task = make_task(cast.north)
    for reader, kind in ((cast.rita, "regular"), (cast.ravi, "green_filter"), (make_user("tess", (Role.READER, None)), "lugol_iodine")):
        make_read(task=task, reader=reader, kind=kind, box=[10.0, 10.0, 50.0, 50.0])
    ReviewTask.objects.filter(pk=task.pk).update(state="adjudication", reads_needed=3)
    login(page, cast.ada)
    page.goto("/adjudication/")
    expect(page.locator(".earlier-answers li")).to_have_count(3)
    screenshot(page, "adjudication-1280")
    expect(page.locator("main")).not_to_contain_text("Rita")
    expect(page.locator("#room[data-ready]")).to_be_visible()
    page.keyboard.press("g")
    page.keyboard.press("Enter")
    expect(page.locator("#note")).to_be_focused()  # why?
    page.keyboard.type("a green cast")
    page.keyboard.press("Control+Enter")
    expect(page.locator(".page-head")).to_contain_text("Nothing waits for you")
    label = Label.objects.get(current=True)
    assert (label.kind, label.provenance) == ("green_filter", "adjudication")


def test_the_pages_pass_axe(new_page: Callable[..., Page], login: Any, cast: Cast, screenshot: Any) -> None:
    tasks(cast, 2)
    boss = make_user("boss", (Role.READER, None), (Role.MODEL_ADMIN, None), (Role.ADJUDICATOR, None))
    page = new_page(bypass_csp=True)
    login(page, boss)
    for address in ("/reading/", "/adjudication/", "/reading/rules/", "/reviews/"):
        page.goto(address)
        found = Axe().run(page)
        assert found.violations_count == 0, f"{address}\n{found.generate_report()}"
        screenshot(page, address.strip("/").replace("/", "-"))
