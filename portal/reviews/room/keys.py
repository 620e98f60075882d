"""Which key does what in the reading room, and how a reader may change it. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from portal.ml import Kind
from portal.reviews.consensus import CANNOT_TELL

KINDS: dict[str, tuple[str, str, str]] = {
    Kind.REGULAR: ("Regular", "1", "r"),
    Kind.GREEN_FILTER: ("Green filter", "2", "g"),
    Kind.LUGOL_IODINE: ("Lugol's iodine", "3", "l"),
    Kind.NOT_CERVIX: ("Not a cervix", "4", "x"),
    Kind.POST_TREATMENT: ("After treatment", "5", "p"),
    Kind.UNUSABLE: ("Unusable", "6", "u"),
    CANNOT_TELL: ("Cannot tell", "", "c"),
}
"""Answer: its name, its number key, which is fixed, and its letter."""
CONFIDENCE = ((1, "Unsure", "7"), (2, "Fairly sure", "8"), (3, "Sure", "9"))
COMMANDS: dict[str, tuple[str, str]] = {
    "undo": ("undo the last answer, for a minute", "z"),
    "skip": ("skip the picture", "s"),
    "note": ("write a note", "n"),
    "box": ("draw the cervix' box; again to end", "b"),
    "beside": ("the next other picture of the same exam beside this one; after the last one it closes", "e"),
    "blink": ("blink: the two in turn in the same place", "v"),
    "full": ("the full picture, where smaller ones come first", "f"),
    "zoom_in": ("zoom in", "+"),
    "zoom_out": ("zoom out", "-"),
    "fit": ("the whole picture", "0"),
    "darker": ("darker", "["),
    "brighter": ("brighter", "]"),
    "softer": ("less contrast", "{"),
    "harder": ("more contrast", "}"),
    "plain": ("light and contrast as they were", "o"),
}
"""Command: what it does, and its usual key."""
USUAL: dict[str, str] = {kind: letter for kind, (_, _, letter) in KINDS.items()} | {name: key for name, (_, key) in COMMANDS.items()}
_DIGITS = {digit for _, digit, _ in KINDS.values() if digit} | {digit for _, _, digit in CONFIDENCE}
TAKEN = "This key cannot be changed: it chooses an answer, says how sure you are, or opens the list of keys."


def names() -> dict[str, str]:
    """Everything that has a key of its own, in words."""
    return {kind: f"answer: {name}" for kind, (name, _, _) in KINDS.items()} | {name: text for name, (text, _) in COMMANDS.items()}


def merged(own: Mapping[str, str]) -> dict[str, str]:
    """The keys that count for a reader. What they chose and what is no key of ours any more stands as usual."""
    return {name: own.get(name) or usual for name, usual in USUAL.items()}


def chosen(keys: Mapping[str, str]) -> dict[str, str]:
    """Of a whole map, what differs from the usual: all that is kept."""
    return {name: key for name, usual in USUAL.items() if (key := _plain(keys.get(name, ""))) and key != usual}


def faults(keys: Mapping[str, str]) -> dict[str, str]:
    """What is wrong with a whole map, by command and in words; empty where it can be used."""
    found: dict[str, str] = {}
    named = names()
    first: dict[str, str] = {}
    for name in USUAL:
        key = _plain(keys.get(name, ""))
        if len(key) != 1 or not key.isprintable() or key.isspace():
            found[name] = "Give one letter or sign."
        elif key in _DIGITS or key == "?":
            found[name] = TAKEN
        elif key in first:
            found[name] = f"This key does something else already: {named[first[key]]}. Choose another for one of the two."
        else:
            first[key] = name
    return found


def _plain(key: str) -> str:
    """Capitals and small letters are one key."""
    return key.strip().lower()
