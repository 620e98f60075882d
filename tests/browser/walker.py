"""A hand that has a keyboard and nothing else. Every focus that it meets is looked at by the page itself: an unseen one is an error of the
console, and those fail the test."""

from __future__ import annotations

from playwright.sync_api import Page

# the element with the focus must look otherwise than without, and lie on the screen; `main` is where "Skip to content" leads, no control
WATCH = """
const look = (element) => {
  const style = getComputedStyle(element);
  const ring = style.outlineStyle !== "none" && parseFloat(style.outlineWidth) > 0 && !/, 0\\)$/.test(style.outlineColor);
  const all = [style.outlineStyle, style.outlineWidth, style.outlineColor, style.boxShadow].join(" ");
  return { ring: ring || style.boxShadow !== "none", all };
};
const name = (element) => `${element.tagName.toLowerCase()} ${element.id || element.name || ""} "${
  (element.getAttribute("aria-label") || element.innerText || element.value || "").trim().slice(0, 40)}"`;
const place = (element) => {
  const box = element.getBoundingClientRect();
  return { left: box.left + scrollX, right: box.right + scrollX, top: box.top + scrollY, bottom: box.bottom + scrollY };
};
window.walked = [];
let last = null;
let tab = false;
addEventListener("keydown", (event) => { tab = event.key === "Tab" && !event.shiftKey; }, true);
addEventListener("focusin", ({ target }) => {
  window.walked.push(target);
  if (target.id === "content") return;
  const seen = look(target);
  if (!seen.ring) console.error(`the focus is not seen: ${name(target)}`);
  if (tab && last?.isConnected) follows(last, target);
  last = target;
  requestAnimationFrame(() => {
    const box = target.getBoundingClientRect();
    const fits = box.bottom > 0 && box.top < innerHeight && box.right > 0 && box.left < innerWidth;
    if (document.activeElement === target && !fits) console.error(`the focus is off the screen: ${name(target)}`);
  });
  target.addEventListener("focusout", () => setTimeout(() => {
    if (target.isConnected && document.activeElement !== target && target.checkVisibility() && look(target).all === seen.all) {
      console.error(`it looks as it does with the focus: ${name(target)}`);
    }
  }), { once: true });
}, true);
function follows(one, other) {
  if (one === other || !(one.compareDocumentPosition(other) & Node.DOCUMENT_POSITION_FOLLOWING)) return;
  const [a, b] = [place(one), place(other)];
  const back = (b.bottom <= a.top && b.left < a.right) || (b.right <= a.left && b.top < a.bottom && a.top < b.bottom);
  if (back) console.error(`the focus jumps back, from ${name(one)} to ${name(other)}`);
}
"""
STOPS = """() => {
  const radios = new Map();
  const all = [...document.querySelectorAll("a[href], button, input, select, textarea, summary, [tabindex]")].filter((element) =>
    element.tabIndex >= 0 && !element.disabled && element.type !== "hidden" && element.checkVisibility({ visibilityProperty: true }));
  for (const radio of all.filter((one) => one.type === "radio")) {
    if (radio.checked || !radios.has(radio.name)) radios.set(radio.name, radio);
  }
  return all.filter((one) => one.type !== "radio" || radios.get(one.name) === one).map((one) => (one.dataset.stop = "1"), 1).length;
}"""
MISSED = """() => [...document.querySelectorAll("[data-stop]")].filter((one) => !window.walked.includes(one))
  .map((one) => one.outerHTML.slice(0, 120))"""
AT = "selector => document.activeElement.matches(selector)"
MOST = 150


def watched(page: Page) -> Page:
    """The page, and every page that it comes to, with the watch on."""
    page.add_init_script(WATCH)
    return page


def at(page: Page, selector: str) -> bool:
    return bool(page.evaluate(AT, selector))


def press(page: Page, *keys: str) -> None:
    for key in keys:
        page.keyboard.press(key)


def tab_to(page: Page, selector: str, *, key: str = "Tab") -> None:
    """On by Tab until this has the focus."""
    for _ in range(MOST):
        page.keyboard.press(key)
        if at(page, selector):
            return
    raise AssertionError(f"{selector} was not reached by {key}")


def all_around(page: Page) -> None:
    """Once through the whole page: everything that can be used is reached, in order, and nothing holds the focus."""
    count = page.evaluate(STOPS)
    assert count > 3
    for _ in range(0, MOST, 10):
        press(page, *["Tab"] * 10)
        if page.evaluate(f"window.walked.length >= {count}") and not page.evaluate(MISSED):
            break
    assert page.evaluate(MISSED) == []
    before = page.evaluate("window.walked.length")
    press(page, "Shift+Tab", "Shift+Tab")
    assert page.evaluate("window.walked.length") > before, "the focus does not come back"
