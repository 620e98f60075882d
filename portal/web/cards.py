"""A model card as a page can show it: the little Markdown that cards are written in, as blocks. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

_STYLED = re.compile(r"(\*\*.+?\*\*|`[^`]+`)")
_BAR = re.compile(r"(?<!\\)\|")
_RULE = re.compile(r"[|\s:-]+")


@dataclass(frozen=True, slots=True)
class Span:
    """A piece of a line: `style` is `bold`, `code` or nothing."""

    text: str
    style: str = ""


Spans = tuple[Span, ...]


@dataclass(frozen=True, slots=True)
class Block:
    """`kind`: `title`, `heading`, `paragraph` and `list` with `lines`; `table` with `heads`, if any, and `rows`."""

    kind: str
    lines: tuple[Spans, ...] = ()
    heads: tuple[Spans, ...] = ()
    rows: tuple[tuple[Spans, ...], ...] = ()


def blocks(text: str) -> list[Block]:
    """Whatever is none of these stays a paragraph, as it is written."""
    whole = groupby(text.splitlines(), key=lambda line: bool(line.strip()))
    return [block for said, lines in whole if said for block in _of(list(lines))]


def _of(lines: Sequence[str]) -> Iterator[Block]:
    for kind, some in groupby(_joined(lines), key=_kind):
        found = list(some)
        if kind == "table":
            yield _table(found)
        elif kind == "list":
            yield Block(kind, tuple(spans(line[2:]) for line in found))
        else:
            yield from (Block(kind, (spans(line.lstrip("# ") if kind != "paragraph" else line),)) for line in found)


def _joined(lines: Sequence[str]) -> list[str]:
    """One line for each table row, item, heading and paragraph: those that go on over several are put together."""
    made: list[str] = []
    for line in lines:
        if made and _kind(line) == "paragraph" and _kind(made[-1]) in ("paragraph", "list"):
            made[-1] += " " + line.strip()
        else:
            made.append(line)
    return made


def _kind(line: str) -> str:
    if line.startswith("#"):
        return "heading" if line.startswith("##") else "title"
    return "table" if line.startswith("|") else "list" if line.startswith("- ") else "paragraph"


def _cells(line: str) -> tuple[Spans, ...]:
    return tuple(spans(cell.strip().replace("\\|", "|")) for cell in _BAR.split(line.strip())[1:-1])


def _table(lines: Sequence[str]) -> Block:
    if len(lines) < 2 or not _RULE.fullmatch(lines[1]):
        return Block("table", rows=tuple(_cells(line) for line in lines))
    heads = _cells(lines[0])
    # Cards begin with a table whose head is empty
    return Block("table", heads=heads if any(heads) else (), rows=tuple(_cells(line) for line in lines[2:]))


def spans(line: str) -> Spans:
    return tuple(_span(piece) for piece in _STYLED.split(line) if piece)


def _span(piece: str) -> Span:
    if len(piece) > 4 and piece.startswith("**") and piece.endswith("**"):
        return Span(piece[2:-2], "bold")
    return Span(piece[1:-1], "code") if len(piece) > 2 and piece.startswith("`") and piece.endswith("`") else Span(piece)
