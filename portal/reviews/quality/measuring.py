"""Writes of how well readers read: made anew now and then from all that was answered, and kept, so that no answer waits for it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from django.db import transaction

from portal.audit import services as audit
from portal.ml import Interval
from portal.reviews.consensus import CANNOT_TELL
from portal.reviews.models import Reliability
from portal.reviews.quality import checked, evidence, held_against
from portal.reviews.quality.checked import Checked, Revealed, by_reader
from portal.reviews.quality.reliability import Answers, Figures, Said, figures, fit

FRESH = 20
"""So few new answers change nothing worth a row."""


def is_due() -> bool:
    """Whether a fiftieth of the answers is new, and at least FRESH."""
    last, newest = evidence.newest(), evidence.newest_read()
    return newest - (last.upto if last else 0) >= (max(FRESH, last.answers // 50) if last else FRESH)


def measure_when_due() -> Reliability | None:
    return measure() if is_due() else None


@transaction.atomic
def measure() -> Reliability:
    """Fit anew what readers are like, and hold their answers against gold, against their own and against what was settled: one row."""
    upto, said = evidence.newest_read(), evidence.said()
    answers = Answers.of(said)
    fitted = fit(answers, known=evidence.adjudicated())
    content = {
        "skill": fitted.skill(answers).as_json(),
        "readers": _of_readers(said, figures(answers, fitted)),
        "switching": _of_switching(held_against.revealed()),
    }
    patients = len(set(answers.patients.tolist()))
    row = Reliability.objects.create(
        content=content, upto=upto, answers=len(answers.said), images=len(answers.image_ids), patients=patients
    )  # fmt: skip
    audit.record(actor_id=None, action="readers_measured", subject=row, answers=row.answers, images=row.images)
    return row


def _of_readers(said: Sequence[Said], found: Mapping[int, Figures]) -> dict[str, dict[str, Any]]:
    """By reader's id: every figure that pages show, each a list or null."""
    doubts = by_reader(Checked(one.reader, one.kind == CANNOT_TELL, one.patient) for one in said)
    gold, repeats, settled = (by_reader(rows) for rows in (held_against.gold(), held_against.repeats(), held_against.settled()))
    paces = held_against.paces()
    return {
        str(reader): {
            "sensitivity": _kept(found[reader].sensitivity) if reader in found else None,
            "specificity": _kept(found[reader].specificity) if reader in found else None,
            "repeats": _kept(checked.of(repeats.get(reader, []))),
            "gold": _kept(checked.of(gold.get(reader, []))),
            "cannot_tell": _kept(checked.of(doubts.get(reader, []))),
            "seconds": paces.get(reader),
            "months": [[month, _kept(figure)] for month, figure in checked.by_month(settled.get(reader, []))],
            "change": _changed(settled.get(reader, [])),
        }
        for reader in sorted({*doubts, *gold, *repeats})
    }


def _changed(rows: Sequence[Checked]) -> dict[str, Any] | None:
    found = checked.change(rows)
    return {**asdict(found), "sure": found.sure} if found else None


def _of_switching(rows: Sequence[Revealed]) -> dict[str, Any]:
    """Of all readers together, and under `readers` of each."""
    return {**_switched(rows), "readers": {str(reader): _switched(own) for reader, own in _by_reader(rows).items()}}


def _by_reader(rows: Sequence[Revealed]) -> dict[int, list[Revealed]]:
    return {reader: [row for row in rows if row.reader == reader] for reader in sorted({row.reader for row in rows})}


def _switched(rows: Sequence[Revealed]) -> dict[str, Any]:
    found = checked.switching(rows)
    names = ("towards", "elsewhere", "rightly", "wrongly", "kept_wrongly")
    return {"shown": found.shown, **{name: _kept(getattr(found, name)) for name in names}}


def _kept(figure: Interval) -> list[float] | None:
    """JSON knows no nan."""
    if math.isnan(figure.value):
        return None
    return [round(figure.value, 4), round(figure.low, 4), round(figure.high, 4), figure.hits, figure.total, figure.patients]
