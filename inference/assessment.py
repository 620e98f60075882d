"""From the Analyses of one exam to what each amounts to beside the others. numpy only: workers without torch assess anew."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from inference import context as comparing
from inference.bundle import MANIFEST, BundleError
from inference.context import Context
from inference.fusion import fused_probabilities, likeliest
from inference.types import CLASSIFIED_KINDS, UNCALIBRATED, Analysis, Assessed, Evidence, Kind, Route

THRESHOLD_REASON = "between_thresholds"
OVERTURNED = "context_overturned"


@dataclass(frozen=True, slots=True)
class Assessor:
    """What of a bundle judges Analyses; opened without its networks. `devices`: those that its calibration has seen."""

    t_lo: float
    t_hi: float
    context: Context
    devices: frozenset[str]

    @staticmethod
    def of(about: Mapping[str, Any]) -> Assessor:
        """From bundle.json, also of an old bundle, which compares nothing."""
        fusion = about.get("fusion", {})
        return Assessor(
            t_lo=float(fusion.get("t_lo", 0.0)), t_hi=float(fusion.get("t_hi", 1.0)), context=Context.from_json(about.get("context")),
            devices=frozenset(about.get("calibrated_devices", ())),
        )  # fmt: skip

    def assess(self, exam: Sequence[Evidence], *, known_devices_only: bool = False) -> list[Assessed]:
        """Each image of one exam beside the others of the same device, in order. An image without such others is what it is alone; so is
        one among others of which none looks regular, as they show nothing to compare with.

        known_devices_only: what comes from a device that the calibration has not seen goes to people.
        """
        seen = [comparing.signals(one) for one in exam]
        judged = []
        for own, one in enumerate(exam):
            others = [k for k, other in enumerate(exam) if k != own and _comparable(other, one)]
            weights = self.context.of(one.device) if others else None
            if weights is None:
                answer = alone(one)
            elif not any(comparing.looks_regular(seen[k]) for k in others):
                answer = replace(alone(one), siblings=len(others))
            else:
                shares = comparing.probabilities(weights, seen[own], [seen[k] for k in others])
                answer = self._beside(one, shares, len(others))
            judged.append(_doubted(answer) if known_devices_only and one.device not in self.devices else answer)
        return judged

    def _beside(self, one: Evidence, shares: dict[str, float], siblings: int) -> Assessed:
        kind, p = likeliest(shares), 1.0 - shares[Kind.REGULAR]
        reasons = [reason for reason in one.reasons if reason != THRESHOLD_REASON]
        if self.t_lo <= p <= self.t_hi:
            reasons.append(THRESHOLD_REASON)
        if (kind is Kind.REGULAR) != (one.kind is Kind.REGULAR):
            reasons.append(OVERTURNED)
        route = Route.REVIEW if reasons else Route.AUTO_NON_REGULAR if p > self.t_hi else Route.AUTO_REGULAR
        return Assessed(p, shares, kind, route, tuple(reasons), siblings, one.p_non_regular, one.kind)


def _comparable(other: Evidence, one: Evidence) -> bool:
    """Of one device, and both a picture of a cervix: what quality found to be something else is neither judged nor compared with."""
    return other.device == one.device and other.kind in CLASSIFIED_KINDS and one.kind in CLASSIFIED_KINDS


def evidence(said: Analysis, *, device: str = "") -> Evidence:
    """What of an Analysis counts beside others."""
    return Evidence(
        probabilities=said.probabilities, p_non_regular=said.p_non_regular, kind=said.kind, deep_sad_distance=said.deep_sad_distance,
        colour=said.colour, route=said.route, reasons=said.reasons, device=device,
    )  # fmt: skip


def alone(one: Evidence) -> Assessed:
    """An image without context: its Analysis as it stands."""
    shares = fused_probabilities(one.p_non_regular, one.probabilities)
    return Assessed(one.p_non_regular, shares, one.kind, one.route, one.reasons, 0, one.p_non_regular, one.kind)


def _doubted(answer: Assessed) -> Assessed:
    return replace(answer, route=Route.REVIEW, reasons=(*answer.reasons, UNCALIBRATED))


def opened(bundle: Path) -> Assessor:
    """The assessor of a bundle folder, read again only when its bundle.json changes. Raises BundleError."""
    manifest = bundle / MANIFEST
    try:
        mark = manifest.stat()
    except OSError as error:
        raise BundleError(f"{bundle.name} is not a bundle, or was never finished: it has no {MANIFEST}.") from error
    return _read(manifest, mark.st_mtime_ns, mark.st_size)


@lru_cache(maxsize=8)
def _read(manifest: Path, changed: int, size: int) -> Assessor:
    del changed, size
    try:
        return Assessor.of(json.loads(manifest.read_text(encoding="utf-8")))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BundleError(f"{manifest.parent.name}: what {MANIFEST} says of context cannot be read ({error}).") from error
