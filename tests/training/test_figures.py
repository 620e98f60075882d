"""Plots and the page around them."""

import xml.etree.ElementTree
from collections.abc import Callable
from html.parser import HTMLParser

import matplotlib as mpl
import pytest

from training import figures, html
from training.types import Bin, Interval

HOSTILE = "<script>alert('x')</script> & $x_1$"
BINS = [Bin(0.1, 0.0, 0.0, 0.3, 10), Bin(0.9, 1.0, 0.7, 1.0, 10)]
DRAWN = {
    "roc": lambda: figures.roc({HOSTILE: ([0, 0, 1], [0, 1, 1]), "_hidden": ([0, 1], [0, 1])}),
    "precision_recall": lambda: figures.precision_recall({HOSTILE: ([0, 1], [1, 0.5])}),
    "reliability": lambda: figures.reliability(BINS),
    "box_plot": lambda: figures.box_plot([(HOSTILE, [0.1, 0.2, 0.9]), ("north, green_filter", [])], 0.5),
    "scatter": lambda: figures.scatter([(0, 1), (1, 0)], ["regular", HOSTILE], HOSTILE),
    "confusion": lambda: figures.confusion([[90, 1], [2, 7]], ["regular", HOSTILE]),
    "confusion, other answers": lambda: figures.confusion([[90, 1, 3], [2, 7, 0]], ["regular", HOSTILE]),
    "histogram": lambda: figures.histogram([1.0, 2.0, float("nan")], HOSTILE),
}


@pytest.mark.parametrize("name", DRAWN)
def test_a_plot_is_one_well_formed_svg_whose_names_are_escaped(name: str) -> None:
    drawn = DRAWN[name]()
    assert xml.etree.ElementTree.fromstring(drawn).tag == "{http://www.w3.org/2000/svg}svg"
    assert "<script" not in drawn
    escaped = "&lt;script&gt;alert('x')&lt;/script&gt; &amp; $x"
    assert (escaped in drawn) == (name != "reliability")


@pytest.mark.parametrize("name", DRAWN)
def test_the_same_data_give_the_same_bytes_and_leave_matplotlib_as_it_was(name: str) -> None:
    before = dict(mpl.rcParams)
    assert DRAWN[name]() == DRAWN[name]()
    assert dict(mpl.rcParams) == before


@pytest.mark.parametrize(
    "empty",
    [
        lambda: figures.roc({}), lambda: figures.precision_recall({}), lambda: figures.reliability([]), lambda: figures.box_plot([], None),
        lambda: figures.scatter([], [], "t"), lambda: figures.histogram([], "h"),
    ],
)  # fmt: skip
def test_nothing_is_drawn_as_empty_axes(empty: Callable[[], str]) -> None:
    assert empty().startswith("<svg")


def test_a_name_that_starts_with_an_underscore_stays_in_the_legend() -> None:
    assert "_hidden" in DRAWN["roc"]()


def test_the_box_plot_says_how_many_each_box_holds() -> None:
    drawn = DRAWN["box_plot"]()
    assert "n = 3" in drawn
    assert "n = 0" in drawn


def test_lengths_and_shapes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="2 points, but 1"):
        figures.scatter([(0, 1), (1, 0)], ["a"], "t")
    with pytest.raises(ValueError, match="2 x 2"):
        figures.confusion([[1, 2, 3]], ["a", "b"])


class _Seen(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.texts: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href", "xlink:href")]

    def handle_data(self, data: str) -> None:
        self.texts.append(data.strip())


def _read(page: str) -> _Seen:
    seen = _Seen()
    seen.feed(page)
    return seen


def test_a_page_is_self_contained_and_escapes_what_it_is_told() -> None:
    parts = [
        html.table(["name", HOSTILE], [[HOSTILE, 0.12345], ["b", None]], HOSTILE), html.figure(figures.reliability(BINS), HOSTILE),
        html.note(HOSTILE), html.heading(HOSTILE),
    ]  # fmt: skip
    seen = _read(html.page(HOSTILE, [html.section(HOSTILE, *parts)]))
    assert "script" not in seen.tags
    assert {"table", "caption", "svg", "figcaption", "h1", "h2", "h3"} <= set(seen.tags)
    assert all(address.startswith("#") for address in seen.addresses)
    assert seen.texts.count(HOSTILE) == 9


def test_a_cell_says_interval_images_and_patients() -> None:
    made = html.table(["a", "b", "c"], [["x", Interval(0.931, 0.864, 0.966, 94, 101, 79), Interval(float("nan"), 0, 1, 0, 0, 0)]])
    assert "<td>0.931 [0.864, 0.966] (101 images, 79 patients)</td><td>–</td>" in made


def test_only_a_bare_svg_is_taken_as_a_figure() -> None:
    for wrong in ("<img src=x>", "<svg><script>1</script></svg>"):
        with pytest.raises(ValueError, match="bare <svg>"):
            html.figure(wrong, "c")
