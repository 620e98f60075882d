"""The details of an audit event in words. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

_CODE = re.compile(r"[a-z]+(?:_[a-z]+)+")
_MOST = 160
NOTHING = "nothing"


def in_words(details: Mapping[str, object]) -> list[tuple[str, str]]:
    """(what, in words), in the order of the event; `before` and `after` are one: what became what."""
    said = dict(details)
    pairs: list[tuple[str, object]] = []
    if {"before", "after"} <= said.keys():
        pairs.append(("changed", _became(said.pop("before"), said.pop("after"))))
    if isinstance(changes := said.get("changes"), Mapping):
        said.pop("changes")
        pairs += [(name, _became(*pair)) for name, pair in changes.items() if isinstance(pair, list) and len(pair) == 2]
    return [(_plain(name), _cut(_said(value))) for name, value in (*pairs, *said.items())]


def _became(before: object, after: object) -> str:
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        names = [name for name in (*before, *(name for name in after if name not in before)) if before.get(name) != after.get(name)]
        return "; ".join(f"{_plain(name)}: {_became(before.get(name), after.get(name))}" for name in names) or NOTHING
    return f"{_said(before)} → {_said(after)}"


def _said(value: object) -> str:
    if value is None or value == "":
        return NOTHING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return "; ".join(f"{_plain(str(name))}: {_said(inner)}" for name, inner in value.items()) or NOTHING
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(f"({_said(one)})" if isinstance(one, Mapping | list) else _said(one) for one in value) or NOTHING
    if isinstance(value, float):
        return f"{value:.4g}"
    return _plain(str(value)) if _CODE.fullmatch(str(value)) else str(value)


def _plain(name: str) -> str:
    return name.replace("_", " ")


def _cut(text: str) -> str:
    return text if len(text) <= _MOST else f"{text[: _MOST - 1]}…"
