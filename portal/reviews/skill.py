"""What is known of how well each reader reads, and what their answers together make of an image. Pure; fitted by `reliability.py`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from portal.ml import Kind

KINDS: tuple[str, ...] = tuple(kind.value for kind in Kind)
CORRECT, SURE, WEIGHT = 0.85, 0.8, 5.0
"""Of a reader of whom nothing is known: the presumed shares of right and of sure answers, and how many answers of each kind they weigh."""
_LEAST = 1e-9

Table = tuple[tuple[float, ...], ...]


def presumed(kinds: Sequence[str] = KINDS) -> Table:
    """The table of a reader of whom nothing is known: as often unsure where they are right as where they are wrong."""
    wrong = (1 - CORRECT) / (len(kinds) - 1)
    rows = [[CORRECT if row == column else wrong for column in range(len(kinds))] for row in range(len(kinds))]
    return tuple((*(SURE * cell for cell in row), *((1 - SURE) * cell for cell in row)) for row in rows)


@dataclass(frozen=True, slots=True)
class Skill:
    """`shares`: how common each kind is. `tables`: by reader's id, of each true kind how often they say each kind and are sure, and then
    each and are not. `version`: its row, where it is kept."""

    kinds: tuple[str, ...] = KINDS
    shares: tuple[float, ...] = tuple(1 / len(KINDS) for _ in KINDS)
    tables: Mapping[int, Table] = field(default_factory=dict)
    version: int | None = None

    def posterior(self, said: Sequence[tuple[int, str, bool]]) -> dict[str, float]:
        """How likely each kind is after these answers of (reader, kind, unsure); `cannot_tell` says nothing."""
        unknown, place = presumed(self.kinds), {kind: at for at, kind in enumerate(self.kinds)}
        logs = [math.log(max(share, _LEAST)) for share in self.shares]
        for reader, kind, unsure in said:
            if kind in place:
                table, column = self.tables.get(reader, unknown), place[kind] + len(place) * unsure
                logs = [log + math.log(max(row[column], _LEAST)) for log, row in zip(logs, table, strict=True)]
        highest = max(logs)
        odds = [math.exp(log - highest) for log in logs]
        return {kind: one / sum(odds) for kind, one in zip(self.kinds, odds, strict=True)}

    def as_json(self) -> dict[str, Any]:
        return {"kinds": self.kinds, "shares": self.shares, "tables": {str(reader): table for reader, table in self.tables.items()}}

    @classmethod
    def of_json(cls, content: Mapping[str, Any], version: int | None = None) -> Self:
        tables = {int(reader): tuple(tuple(row) for row in table) for reader, table in content["tables"].items()}
        return cls(tuple(content["kinds"]), tuple(content["shares"]), tables, version)
