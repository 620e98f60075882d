"""How soon the reading room takes keys for the next picture after a submit, in Chromium, against loading the page anew.

`python -m benchmarks.reading_page [--tasks 200] [--size 1600x1200] [--think 0.7]`. A reader presses the key of a kind and Enter;
measured in the page from that Enter to the first frame in which the next picture is decoded and keys count for it. `--think`: seconds
that the reader looks at each picture, in which the next ones are fetched ahead. Against it, in the same run: the whole page.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

from benchmarks.stack import servers

GOAL_MS = 200
_WATCH = """() => {
  const room = document.getElementById("room");
  window.spent = [];
  let began = 0;
  document.addEventListener("keydown", (event) => { if (event.key === "Enter") began = performance.now(); }, { capture: true });
  new MutationObserver(() => requestAnimationFrame(() => setTimeout(() => window.spent.push(performance.now() - began))))
    .observe(room, { attributes: true, attributeFilter: ["data-ready"] });
}"""
_ANEW = "() => performance.getEntriesByType('navigation')[0].loadEventEnd"


def fill(tasks: int, size: tuple[int, int]) -> Any:
    """A reader, and so many pictures that wait for them."""
    from portal.accounts.models import Role, Site
    from tests.cast import make_image, make_user, picture_bytes

    site = Site.objects.create(name="North", slug="north")
    make_user("alice", (Role.UPLOADER, site))
    for number in range(tasks):
        make_image(site, state="in_review", p_non_regular=0.5, data=picture_bytes(size=size), patient=f"P{number}", exam=f"E{number}")
    return make_user("rita", (Role.READER, None))


def read_all(page: Any, tasks: int, think: float) -> list[float]:
    """Milliseconds of each switch."""
    page.wait_for_selector("#room[data-ready]")
    page.evaluate(_WATCH)
    for number in range(1, tasks):
        time.sleep(think)
        page.keyboard.press("1")
        page.keyboard.press("Enter")
        page.wait_for_function(f"() => window.spent.length === {number}")
    return list(page.evaluate("() => window.spent"))


def percentile(values: list[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def measure(folder: Path, tasks: int, size: tuple[int, int], think: float) -> None:
    from django.conf import settings
    from playwright.sync_api import sync_playwright

    from tests.browser.conftest import ARGUMENTS, chromium
    from tests.cast import browser_of
    from tests.serving import serving

    session = browser_of(fill(tasks, size)).cookies["sessionid"].value
    stores = {"WINNOW_ORIGINALS": str(settings.ORIGINALS_DIR), "WINNOW_CLEAN": str(settings.CLEAN_DIR)}
    with serving(folder / "web", workers=2, **stores) as web, sync_playwright() as started:
        browser = started.chromium.launch(executable_path=chromium(), args=ARGUMENTS)
        context = browser.new_context(viewport={"width": 1280, "height": 800}, base_url=web.url)
        context.add_cookies([{"name": "sessionid", "value": session, "url": web.url}])
        page = context.new_page()
        anew = []
        for _ in range(10):
            page.goto("/reading/", wait_until="load")
            anew.append(float(page.evaluate(_ANEW)))
        spent = read_all(page, tasks, think)
        browser.close()
    middle, late, whole = percentile(spent, 0.5), percentile(spent, 0.95), percentile(anew, 0.5)
    print(
        f"{len(spent)} switches of {size[0]}x{size[1]}, {think} s at each picture: ready after {middle:.0f} ms (median), "
        f"{late:.0f} ms (p95, goal {GOAL_MS}), {max(spent):.0f} ms (longest); the page anew {whole:.0f} ms, ratio {middle / whole:.2f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, default=200)
    parser.add_argument("--size", default="1600x1200")
    parser.add_argument("--think", type=float, default=0.7)
    options = parser.parse_args()
    width, height = map(int, options.size.split("x"))
    with servers() as folder:
        measure(folder, options.tasks, (width, height), options.think)


if __name__ == "__main__":
    main()
