"""Plots of a report: data in, one SVG as a string out. Equal data give equal bytes; text stays text, so that it can be read and searched.

Nothing of matplotlib's global state is left changed, and no window system is asked for. The web process never loads this.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from threading import Lock
from typing import Any, Literal

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from training.types import Bin

KIND_COLOURS = {
    "regular": "#4f86cc", "green_filter": "#4c9a50", "lugol_iodine": "#b5701f", "not_cervix": "#8a78bd", "unusable": "#8c9196",
    "post_treatment": "#bb5595",
}  # fmt: skip
LINES = ("#0f5c5c", "#c2571a", "#5b4a8a", "#7a4d00", "#9c1c28", "#2a5fa8", "#1d6335", "#55585c")
SOFT = "#98a3a6"
STYLE: Any = {
    "svg.fonttype": "none", "svg.hashsalt": "winnow", "text.parse_math": False, "font.family": ["sans-serif"],
    "font.sans-serif": ["DejaVu Sans"], "font.size": 9.0, "axes.spines.top": False, "axes.spines.right": False, "axes.edgecolor": "#4d5c60",
    "legend.frameon": False, "axes.titlesize": 10.0,
}  # fmt: skip
Curve = tuple[Sequence[float], Sequence[float]]
_ONE_AT_A_TIME = Lock()
"""matplotlib reads its style from one place for the whole process."""
_OWN_NAMES = re.compile(r'<g id="[A-Za-z0-9_]+_\d+">')
_METADATA = re.compile(r"\s*<metadata>.*?</metadata>", re.DOTALL)


def roc(series: Mapping[str, Curve]) -> str:
    """Curves of (false positive rate, true positive rate), each in [0, 1], by name; the diagonal is chance."""
    with _axes(5.0, 4.4) as (axes, done):
        axes.plot([0, 1], [0, 1], color=SOFT, linestyle=":", linewidth=1)
        _curves(axes, series, "false positive rate (1 - specificity)", "true positive rate (sensitivity)", "lower right")
    return done[0]


def precision_recall(series: Mapping[str, Curve]) -> str:
    """Curves of (recall, precision), each in [0, 1], by name."""
    with _axes(5.0, 4.4) as (axes, done):
        _curves(axes, series, "recall (sensitivity)", "precision", "lower left")
    return done[0]


def _curves(axes: Axes, series: Mapping[str, Curve], across: str, up: str, legend: Literal["lower left", "lower right"]) -> None:
    lines = [
        axes.plot(list(x), list(y), color=LINES[n % len(LINES)], linestyle="-" if n < len(LINES) else "--", linewidth=1.6)[0]
        for n, (x, y) in enumerate(series.values())
    ]
    _unit(axes, across, up)
    if lines:
        axes.legend(lines, list(series), loc=legend)


def reliability(bins: Sequence[Bin]) -> str:
    """Share of non-regular against mean score in each bin, with its 95 % interval; on the diagonal a score means what it says."""
    with _axes(5.0, 4.4) as (axes, done):
        axes.plot([0, 1], [0, 1], color=SOFT, linestyle=":", linewidth=1)
        for one in bins:
            axes.plot([one.score, one.score], [one.low, one.high], color=LINES[0], linewidth=1)
        axes.plot([one.score for one in bins], [one.share for one in bins], color=LINES[0], marker="o", markersize=4, linewidth=1)
        _unit(axes, "mean score of the bin", "share of non-regular images")
    return done[0]


def box_plot(groups: Sequence[tuple[str, Sequence[float]]], threshold: float | None) -> str:
    """Scores of each named group as a box by Tukey (the paper's Fig. 4); a dashed line at the threshold. Empty groups keep their place."""
    places = range(1, len(groups) + 1)
    with _axes(max(4.0, 1.2 + 0.85 * len(groups)), 4.0) as (axes, done):
        if groups:
            parts = axes.boxplot([list(values) for _, values in groups], positions=list(places), widths=0.55, patch_artist=True)
            for box, (name, _) in zip(parts["boxes"], groups, strict=True):
                box.set_facecolor(_colour(name))
                box.set_alpha(0.55)
            for line in parts["medians"]:
                line.set_color("#1c2527")
            for points in parts["fliers"]:
                points.set(markersize=3, markeredgecolor="#4d5c60")
        axes.set_xticks(list(places), [f"{name}\nn = {len(values)}" for name, values in groups], rotation=20, fontsize=7.5)
        axes.set_ylabel("score")
        if threshold is not None:
            axes.axhline(threshold, color="#7a4d00", linestyle="--", linewidth=1)
    return done[0]


def _colour(name: str) -> str:
    return next((colour for kind, colour in KIND_COLOURS.items() if kind in name or kind.replace("_", " ") in name), "#dfe4e6")


def scatter(points: Sequence[Sequence[float]], labels: Sequence[str], title: str) -> str:
    """Points (x, y) coloured by their label, as of t-SNE (the paper's Fig. 7 and 8). Raises ValueError when the lengths differ."""
    if len(points) != len(labels):
        raise ValueError(f"{len(points)} points, but {len(labels)} labels.")
    with _axes(5.6, 4.6) as (axes, done):
        names = sorted(set(labels))
        handles = []
        for n, name in enumerate(names):
            own = np.array([point for point, label in zip(points, labels, strict=True) if label == name], dtype=np.float64)
            colour = KIND_COLOURS.get(name, LINES[n % len(LINES)])
            handles += axes.plot(own[:, 0], own[:, 1], linestyle="none", marker="os^Dv"[n % 5], markersize=3.5, alpha=0.75, color=colour)
        axes.set_xticks([])
        axes.set_yticks([])
        axes.set_title(title)
        if names:
            axes.legend(handles, [name.replace("_", " ") for name in names], loc="best")
    return done[0]


OTHER = "something else"
"""Of an answer that is none of the kinds told apart: not a cervix, or unusable."""


def confusion(matrix: Sequence[Sequence[int]], kinds: Sequence[str]) -> str:
    """Counts by truth (rows) and answer (columns), shaded within each row; a last column, of any other answer, where it is not empty.

    Raises ValueError for a matrix that is not of the kinds.
    """
    counts = np.asarray(matrix, dtype=np.int64).reshape(len(matrix), -1)
    if len(counts) != len(kinds) or counts.shape[1] not in (len(kinds), len(kinds) + 1):
        raise ValueError(f"A confusion matrix of {len(kinds)} kinds is {len(kinds)} x {len(kinds)}, not {counts.shape}.")
    names = [kind.replace("_", " ") for kind in kinds]
    answers = [*names, OTHER] if counts[:, len(kinds) :].any() else names
    counts = counts[:, : len(answers)]
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    with _axes(1.8 + 1.0 * len(answers), 1.2 + 0.8 * len(kinds)) as (axes, done):
        axes.pcolormesh(shares, cmap="Blues", vmin=0.0, vmax=1.0, edgecolors="white", linewidth=1)
        for (row, column), count in np.ndenumerate(counts):
            ink = "white" if shares[row, column] > 0.6 else "#1c2527"
            axes.text(column + 0.5, row + 0.5, str(count), ha="center", va="center", color=ink)
        ticks = np.arange(len(kinds)) + 0.5
        axes.set_xticks(np.arange(len(answers)) + 0.5, answers)
        axes.set_yticks(ticks, names)
        axes.invert_yaxis()
        axes.set_xlabel("answer")
        axes.set_ylabel("truth")
    return done[0]


def histogram(values: Sequence[float], title: str) -> str:
    """How many of the finite values lie where, in 30 equal steps."""
    finite = [float(value) for value in values if np.isfinite(value)]
    with _axes(5.0, 3.2) as (axes, done):
        axes.hist(finite, bins=30, color=LINES[0], alpha=0.8)
        axes.set_title(f"{title} (n = {len(finite)})")
        axes.set_ylabel("count")
    return done[0]


def _unit(axes: Axes, across: str, up: str) -> None:
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), xlabel=across, ylabel=up)
    axes.grid(color="#e3e8e9", linewidth=0.6)


@contextmanager
def _axes(width: float, height: float) -> Iterator[tuple[Axes, list[str]]]:
    """Axes of a new figure (inches); when the block ends, its SVG is the one entry of the list."""
    done: list[str] = []
    with _ONE_AT_A_TIME, mpl.rc_context(STYLE):
        figure = Figure(figsize=(width, height), layout="constrained")
        yield figure.add_subplot(), done
        done.append(_svg(figure))


def _svg(figure: Figure) -> str:
    """The bare <svg> element. matplotlib's names of groups are dropped: they would repeat when several plots share a page."""
    stream = io.StringIO()
    FigureCanvasSVG(figure).print_svg(stream, metadata={"Date": None})  # type: ignore[no-untyped-call]
    whole = stream.getvalue()
    return _OWN_NAMES.sub("<g>", _METADATA.sub("", whole[whole.index("<svg") :], count=1)).strip()
