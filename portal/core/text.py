"""Which strings are text (Python holds more than Postgres, UTF-8 and people do), and numbers in them."""

from __future__ import annotations


def is_text(said: str) -> bool:
    """Whether it can be stored: no character NUL, and no half of a surrogate pair (which JSON can write and UTF-8 cannot)."""
    return "\0" not in said and not any("\ud800" <= letter <= "\udfff" for letter in said)


def number(said: str) -> int | None:
    """A number that a row may have, else None: of thousands of digits Python makes no number, and of other scripts' digits it makes one."""
    return int(said) if said.isascii() and said.isdecimal() and len(said) < 19 else None


def counted(number: int, one: str, many: str = "") -> str:
    """`1 image`, `1,200 images`; `many` where it is no plain s."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"
