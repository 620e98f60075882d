"""Figures as JSON that a database takes. Pure."""

from __future__ import annotations

import math
from typing import Any


def finite(value: Any) -> Any:
    """The same value with lists for tuples and None for NaN and infinity, which JSON does not know."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(key): finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [finite(inner) for inner in value]
    return value
