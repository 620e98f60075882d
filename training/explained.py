"""Settings that explain themselves: a dataclass field with a default and a sentence, for help texts, TOML files and the documentation."""

from __future__ import annotations

import dataclasses
from typing import Any, TypeVar

T = TypeVar("T")
SAYS = "says"


def explained(default: T, says: str) -> T:
    """A dataclass field with `default`; `says` is its explanation, with unit and range."""
    return dataclasses.field(default=default, metadata={SAYS: says})


def explanation(field: dataclasses.Field[Any]) -> str:
    """The sentence of a field; empty where none was given."""
    return str(field.metadata.get(SAYS, ""))
