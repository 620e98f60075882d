"""Which version a roll-back returns to. Pure."""

from __future__ import annotations

from collections.abc import Iterable


def champions(changes: Iterable[tuple[str, int]]) -> list[int]:
    """The stack of champions after all changes (how, version id), oldest first: a promotion puts one on top, a roll-back takes it off.

    So a second roll-back goes one further back instead of forth again.
    """
    stack: list[int] = []
    for how, version in changes:
        if how == "roll_back":
            stack.pop()
        else:
            stack.append(version)
    return stack
