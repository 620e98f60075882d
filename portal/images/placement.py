"""What a row of a table makes of an image: pure. A blank cell says nothing, and changes nothing."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from datetime import UTC, date, datetime, time
from typing import Any


@dataclass(frozen=True, slots=True)
class Placed:
    """Where an image lies and what is said of it. `day` is its exam's."""

    patient: str = ""
    exam: str = ""
    day: date | None = None
    device: str = ""
    stated_kind: str = ""
    captured: datetime | None = None


@dataclass(frozen=True, slots=True)
class Said:
    """What a row says. `patient` under the code that remains, where it was merged."""

    patient: str = ""
    exam: str = ""
    device: str = ""
    stated_kind: str = ""
    captured: date | None = None


class OtherPatient(Exception):
    """The row names another patient than the image has, and the caller may not change that."""


def decide(now: Placed, said: Said, *, received: date, may_move: bool) -> Placed:
    """The image as the row wants it. Without an exam: the one it has, else one per capture day, else per day of receipt.

    Raises OtherPatient.
    """
    if said.patient and now.patient and said.patient != now.patient and not may_move:
        raise OtherPatient
    captured = now.captured
    if said.captured and (captured is None or captured.date() != said.captured):
        captured = datetime.combine(said.captured, time(), UTC)
    then = replace(now, device=said.device or now.device, stated_kind=said.stated_kind or now.stated_kind, captured=captured)
    if not said.patient:
        return _with_day(then, now) if now.patient else then
    if said.exam:
        day = now.day if (now.exam, now.patient) == (said.exam, said.patient) else captured.date() if captured else None
        return replace(then, patient=said.patient, exam=said.exam, day=day)
    if now.patient:
        return _with_day(replace(then, patient=said.patient), now)
    day = captured.date() if captured else received
    return replace(then, patient=said.patient, exam=day.isoformat(), day=day)


def _with_day(then: Placed, now: Placed) -> Placed:
    """An exam that is only a day follows the capture day; one with a code of its own stays."""
    is_a_day = now.day is not None and now.exam == now.day.isoformat()
    if not is_a_day or then.captured is None or then.captured == now.captured:
        return then
    day = then.captured.date()
    return replace(then, exam=day.isoformat(), day=day)


def overwritten(now: Placed, then: Placed) -> dict[str, tuple[Any, Any]]:
    """What changes of what was said before, from what to what; to fill in what was empty is no correction."""
    named = {field.name: (getattr(now, field.name), getattr(then, field.name)) for field in fields(Placed) if field.name != "day"}
    return {name: pair for name, pair in named.items() if pair[0] and pair[0] != pair[1]}
