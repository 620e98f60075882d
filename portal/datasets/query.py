"""What a snapshot is asked to hold. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from portal.ml import Kind

HUMAN_ONLY, WITH_AUTOMATIC = "human", "all"


@dataclass(frozen=True, slots=True)
class Query:
    """sites: ids, none named means all. kinds: likewise. provenances: settled by people only, or what machines labelled too.
    hold_out: the id of a site that becomes the whole test split."""

    sites: tuple[int, ...] = ()
    kinds: tuple[str, ...] = ()
    provenances: str = HUMAN_ONLY
    hold_out: int | None = None

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "sites": list(self.sites), "kinds": list(self.kinds)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Query:
        return cls(
            sites=tuple(data.get("sites", ())),
            kinds=tuple(kind for kind in data.get("kinds", ()) if kind in list(Kind)),
            provenances=data.get("provenances", HUMAN_ONLY),
            hold_out=data.get("hold_out"),
        )
