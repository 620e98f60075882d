"""Data sets, training and models in a real browser: live preview, live progress, charts, confirmation."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from portal.datasets.models import Snapshot
from portal.learning.models import TrainingRun
from portal.learning.reports import to_json
from portal.registry.selectors import champion
from tests.cast import Cast, make_evaluation, make_image, make_run, make_snapshot, make_version
from tests.portal.learning.reports import figure, full, report, with_figures


@pytest.fixture
def settled(cast: Cast) -> None:
    for n in range(8):
        for site in (cast.north, cast.river):
            make_image(site, state="settled", patient=f"P{n}", kind=("regular", "regular", "green_filter", "lugol_iodine")[n % 4])


def _drawn(page: Page, source: str) -> bool:
    """Whether Chart.js has put ink on the canvas."""
    script = """source => { const canvas = document.querySelector(`canvas[data-chart="${source}"]`);
        return canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data.some(value => value > 0); }"""
    return bool(page.evaluate(script, source))


def test_the_preview_follows_the_form_and_freezing_leads_on(
    browser_page: Page, login: Any, cast: Cast, settled: None, screenshot: Any
) -> None:
    login(browser_page, cast.max)
    browser_page.goto("/snapshots/new/")
    expect(browser_page.locator("#preview .stat").first).to_contain_text("16")
    assert _drawn(browser_page, "composition-data")
    browser_page.get_by_label("River").check()
    expect(browser_page.locator("#preview .stat").first).to_contain_text("8")
    screenshot(browser_page, "snapshot-new-1280")
    browser_page.get_by_label("Name").fill("spring")
    browser_page.get_by_role("button", name="Freeze").click()
    expect(browser_page.locator("h1")).to_have_text("spring")
    expect(browser_page.locator("#state")).to_contain_text("writing")
    snapshot = Snapshot.objects.get()
    Snapshot.objects.filter(pk=snapshot.pk).update(state="frozen")
    expect(browser_page.locator("#state")).to_contain_text("frozen")
    screenshot(browser_page, "snapshot-1280")


def test_a_run_shows_its_progress_until_it_ends(browser_page: Page, login: Any, cast: Cast, screenshot: Any) -> None:
    make_version("champion", name="champion")
    run = make_run(make_snapshot(by=cast.max), state="running")
    history = [{"stage": "resnest", "fraction": n / 20, "loss": 1 / (n + 1), "score": 1 - 1 / (n + 2)} for n in range(10)]
    TrainingRun.objects.update(
        progress={"stage": "resnest", "fraction": 0.5, "seconds_left": 80, "message": "epoch 3 of 5"}, history=history
    )
    login(browser_page, cast.max)
    browser_page.goto(f"/training/{run.pk}/")
    expect(browser_page.locator("#progress")).to_contain_text("epoch 3 of 5")
    TrainingRun.objects.update(progress={"stage": "resnest", "fraction": 0.6, "seconds_left": 50, "message": "epoch 4 of 5"})
    expect(browser_page.locator("#progress")).to_contain_text("epoch 4 of 5")
    assert _drawn(browser_page, "loss-data")
    screenshot(browser_page, "run-1280")
    TrainingRun.objects.update(state="cancelled")
    expect(browser_page.get_by_role("button", name="Go on from here")).to_be_visible()
    assert browser_page.locator("#progress").get_attribute("hx-trigger") is None


def test_a_report_is_drawn_and_a_promotion_takes_two_steps(new_page: Any, login: Any, cast: Cast, settings: Any, screenshot: Any) -> None:
    settings.SINGLE_ADMINISTRATOR = True
    old, new, snapshot = make_version("champion", name="champion"), make_version(name="candidate"), make_snapshot(by=cast.max)
    wrong = make_image(cast.north, state="settled", kind="green_filter")
    snapshot.items.create(image=wrong, label=wrong.labels.get(current=True), split="test")
    better = with_figures(report(), sensitivity=figure(0.97))
    row = {**better.images[0], "sha256": wrong.clean_sha256}
    make_evaluation(old, snapshot, **to_json(report()))
    make_evaluation(new, snapshot, **to_json(replace(better, images=(row,))))
    page = new_page(width=820, height=1180)
    login(page, cast.max)
    page.goto(f"/models/{new.pk}/")
    assert _drawn(page, "roc-data")
    expect(page.locator(".boxplot rect")).to_have_count(2)
    screenshot(page, "model-820")
    page.set_viewport_size({"width": 1280, "height": 800})
    screenshot(page, "model-1280")
    page.locator("summary", has_text="Ask for promotion").click()
    page.get_by_role("button", name="Ask for promotion").click()
    page.locator("summary", has_text="Approve").click()
    page.get_by_role("button", name="Approve and promote").click()
    expect(page.locator("h1 .badge")).to_have_text("champion")
    assert champion() == new
    page.locator("summary", has_text="Roll back").click()
    page.get_by_role("button", name="Roll back to champion").click()
    expect(page).to_have_url(re.compile(f"/models/{old.pk}/"))
    assert champion() == old
    page.goto("/models/")
    screenshot(page, "models-1280")
    page.goto("/training/")
    screenshot(page, "training-1280")
    page.goto("/collection/")
    screenshot(page, "collection-1280")


def _full_stage(cast: Cast) -> tuple[str, str]:
    """A candidate beside the champion with everything measured, and pictures of what was named wrong; the candidate's address."""
    old, new, snapshot = make_version("champion", name="champion"), make_version(name="candidate"), make_snapshot(by=cast.max)
    pictures = [
        make_image(site, state="settled", kind="green_filter", patient=f"P{n}") for n in range(6) for site in (cast.north, cast.river)
    ]
    for image in pictures:
        snapshot.items.create(image=image, label=image.labels.get(current=True), split="test")
    made = full()
    shown = (row for row in made.images if row["kind"] == "green_filter" and row["answer"] == "regular")
    names = {row["sha256"]: image.clean_sha256 for row, image in zip(shown, pictures, strict=False)}
    images = tuple({**row, "sha256": names.get(row["sha256"], row["sha256"])} for row in made.images)
    make_evaluation(old, snapshot, **to_json(full(left_out={}, held_out=(), images=images)))
    make_evaluation(new, snapshot, **to_json(replace(made, images=images)))
    head, limits = f"# Model card\n\n| | |\n|---|---|\n| hash | `{new.bundle_hash}` |\n", "## Limits\n\n- **None** is known.\n"
    card = f"{head}\n{limits}\n| figure | value |\n|---|---|\n| auroc | 0.9 |\n"
    (Path(new.bundle_path) / "MODEL_CARD.md").write_text(card, encoding="utf-8")
    return f"/models/{new.pk}/", f"/models/{old.pk}/"


def test_the_report_of_a_model_is_drawn_reached_by_keyboard_and_passes_axe(new_page: Any, login: Any, cast: Cast, screenshot: Any) -> None:
    address, champion_address = _full_stage(cast)
    page = new_page()
    login(page, cast.max)
    page.goto(address)
    for source in ("left-out-data", "roc-data", "precision-recall-data", "by-kind-data", "by-site-data"):
        assert _drawn(page, source), source
    expect(page.locator("svg.forest")).to_have_count(3)
    expect(page.locator("#differences .zero")).to_have_count(1)
    expect(page.locator(".thumb-card img").first).to_be_visible()
    screenshot(page, "report-1280")
    summary = page.locator("summary", has_text="As a table")
    summary.focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("region", name="Found at a fixed specificity")).to_be_visible()
    page.set_viewport_size({"width": 820, "height": 1180})
    # Charts follow the window a moment later
    page.wait_for_function("document.documentElement.scrollWidth <= window.innerWidth")
    screenshot(page, "report-820")
    judge = new_page(bypass_csp=True)
    login(judge, cast.max)
    for one in (address, champion_address, f"{address}card/", "/models/"):
        judge.goto(one)
        found = Axe().run(judge)
        assert found.violations_count == 0, f"{one}\n{found.generate_report()}"
