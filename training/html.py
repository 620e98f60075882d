"""One self-contained HTML file from tables and plots: no script, nothing loaded from elsewhere, every text escaped."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Sequence
from html import escape
from pathlib import Path

from PIL import Image

from training.types import Interval

STYLE = """
body { margin: 0 auto; max-width: 1280px; padding: 1rem 1.4rem 3rem; color: #1c2527; background: #fff;
  font: 15px/1.5 system-ui, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.2rem; margin: 1.8rem 0 .5rem; } h3 { font-size: 1rem; margin: 1rem 0 .3rem; }
table { border-collapse: collapse; margin: .6rem 0; } caption { text-align: left; color: #4d5c60; padding: .2rem 0; }
th, td { text-align: left; padding: .3rem .6rem; border-bottom: 1px solid #d5dcdd; vertical-align: top; }
thead th { background: #eef2f2; color: #4d5c60; font-size: .88rem; }
td { font-variant-numeric: tabular-nums; }
figure { margin: .6rem 0; display: inline-block; vertical-align: top; max-width: 100%; }
figure svg { max-width: 100%; height: auto; } figcaption { max-width: 34rem; } .scroll { overflow-x: auto; }
figcaption, .note { color: #4d5c60; font-size: .93rem; }
.pictures { display: flex; flex-wrap: wrap; gap: .8rem; } .pictures figcaption { max-width: 220px; }
@media print { section { break-inside: avoid; } }
"""


def page(title: str, sections: Sequence[str]) -> str:
    """The whole file. `sections` are markup made by the functions below; the title is escaped."""
    body = "\n".join(sections)
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n<title>{escape(title)}</title>\n'
        f"<style>{STYLE}</style>\n</head>\n<body>\n<h1>{escape(title)}</h1>\n{body}\n</body>\n</html>\n"
    )


def section(heading: str, *parts: str) -> str:
    """A part of the page under its heading; `parts` are markup."""
    body = "\n".join(parts)
    return f"<section>\n<h2>{escape(heading)}</h2>\n{body}\n</section>"


def heading(words: str) -> str:
    return f"<h3>{escape(words)}</h3>"


def note(words: str) -> str:
    return f'<p class="note">{escape(words)}</p>'


def table(headers: Sequence[str], rows: Sequence[Sequence[object]], caption: str = "") -> str:
    """A table whose first column names the rows. An Interval is written with its bounds and counts, a float with three decimals, None as a
    dash."""
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in headers)
    body = "\n".join(_row(row) for row in rows)
    named = f"<caption>{escape(caption)}</caption>" if caption else ""
    return f'<div class="scroll"><table>{named}<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody></table></div>'


def _row(row: Sequence[object]) -> str:
    first, *others = row
    cells = "".join(f"<td>{escape(words(value))}</td>" for value in others)
    return f'<tr><th scope="row">{escape(words(first))}</th>{cells}</tr>'


def words(value: object) -> str:
    """A cell's text: never a bare proportion without its interval where one is known."""
    if value is None:
        return "–"
    if isinstance(value, Interval):
        return interval(value)
    if isinstance(value, float):
        return f"{value:.3f}" if math.isfinite(value) else "–"
    return str(value)


def interval(one: Interval) -> str:
    """`0.931 [0.864, 0.966; by patient 0.850, 0.970] (101 images, 79 patients)`, of a figure with one interval without the second; a figure
    over nothing is a dash."""
    if one.total == 0 or math.isnan(one.value):
        return "–"
    drawn = "" if one.patient_low is None else f"; by patient {one.patient_low:.3f}, {one.patient_high:.3f}"
    return f"{one.value:.3f} [{one.low:.3f}, {one.high:.3f}{drawn}] ({one.total} images, {one.patients} patients)"


def figure(svg: str, caption: str) -> str:
    """A plot over its caption. `svg` is an <svg> element of training.figures; anything else is refused with ValueError."""
    if not svg.startswith("<svg") or "<script" in svg:
        raise ValueError("A figure is a bare <svg> element without script.")
    drawn = svg.replace("<svg", f'<svg role="img" aria-label="{escape(caption)}"', 1)
    return f"<figure>{drawn}<figcaption>{escape(caption)}</figcaption></figure>"


def pictures(shown: Sequence[tuple[Path | None, str]], *, side: int = 220) -> str:
    """Thumbnails, at most `side` pixels, within the page itself, each over its caption; None says that there is no file."""
    if not shown:
        return note("None.")
    cards = "".join(f"<figure>{_thumbnail(path, side)}<figcaption>{escape(caption)}</figcaption></figure>" for path, caption in shown)
    return f'<div class="pictures">{cards}</div>'


def _thumbnail(path: Path | None, side: int) -> str:
    if path is None:
        return '<p class="note">no picture</p>'
    with Image.open(path) as opened:
        small = opened.convert("RGB")
    small.thumbnail((side, side))
    stream = io.BytesIO()
    small.save(stream, "JPEG", quality=80)
    data = base64.b64encode(stream.getvalue()).decode("ascii")
    return f'<img alt="" width="{small.width}" height="{small.height}" src="data:image/jpeg;base64,{data}">'
