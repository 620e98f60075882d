"""Writes of how well readers read: made anew now and then from all that was answered, and kept, so that no answer waits for it."""

from __future__ import annotations

import math
from typing import Any

from django.db import transaction

from portal.audit import services as audit
from portal.ml import Interval
from portal.reviews import measured
from portal.reviews.models import Reliability
from portal.reviews.reliability import Answers, Figures, figures, fit

FRESH = 20
"""So few new answers change nothing worth a row."""


def measure_when_due() -> Reliability | None:
    """Measure where a fiftieth of the answers is new, and at least FRESH."""
    last, newest = measured.newest(), measured.newest_read()
    due = max(FRESH, last.answers // 50) if last else FRESH
    return measure() if newest - (last.upto if last else 0) >= due else None


@transaction.atomic
def measure() -> Reliability:
    """Fit anew what readers are like: three reads of the database, one row."""
    upto = measured.newest_read()
    answers = Answers.of(measured.said())
    fitted = fit(answers, known=measured.adjudicated())
    content = {
        "skill": fitted.skill(answers).as_json(),
        "figures": {str(reader): _of_reader(found) for reader, found in figures(answers, fitted).items()},
    }
    patients = len(set(answers.patients.tolist()))
    row = Reliability.objects.create(
        content=content, upto=upto, answers=len(answers.said), images=len(answers.image_ids), patients=patients
    )  # fmt: skip
    audit.record(actor_id=None, action="readers_measured", subject=row, answers=row.answers, images=row.images)
    return row


def _of_reader(found: Figures) -> dict[str, Any]:
    return {
        "sensitivity": _kept(found.sensitivity), "specificity": _kept(found.specificity), "images": found.images,
        "patients": found.patients,
    }  # fmt: skip


def _kept(figure: Interval) -> list[float] | None:
    """JSON knows no nan."""
    if math.isnan(figure.value):
        return None
    return [round(figure.value, 4), round(figure.low, 4), round(figure.high, 4), figure.hits, figure.total, figure.patients]
