"""Writes of what the machines said: Analyses of images alone, then their Assessments beside their exam. By the batch."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from django.db import transaction

from portal import ml
from portal.analyses.beside import Beside
from portal.analyses.models import Analysis, Assessment
from portal.audit import services as audit
from portal.audit.models import AuditEvent
from portal.images.models import Image, ImageState
from portal.registry.models import ModelVersion


@dataclass(frozen=True, slots=True)
class Answer:
    """What a bundle said of one image, and on whose behalf it was asked."""

    image: Image
    said: ml.Analysis
    actor_id: int | None = None


@dataclass(frozen=True, slots=True)
class Judged:
    """An analysis beside its exam, as the site's rule, in force now, routes it."""

    beside: Beside
    route: ml.Route
    reasons: Sequence[str]
    rule: dict[str, object]


@transaction.atomic
def record(*, version: ModelVersion, answers: Sequence[Answer]) -> list[Analysis]:
    """Store what one bundle said of each image, once, and take clean images to analysed. The earlier word stays if there is one.

    A fixed number of statements. Brings each image's state, exam and device up to date, for triage, which follows in the same
    transaction: a table may have named them while the bundle looked at the picture.
    """
    ids = [answer.image.pk for answer in answers]
    rows = {image.pk: image for image in Image.objects.select_for_update().filter(pk__in=ids).order_by("pk")}
    known = {analysis.image_id: analysis for analysis in Analysis.objects.filter(version=version, image__in=ids).defer("embedding")}
    new = [answer for answer in answers if answer.image.pk not in known]
    made = Analysis.objects.bulk_create(Analysis(image=one.image, version=version, **_columns(one.said)) for one in new)
    _take_on(answers, rows)
    audit.record_all(_event(analysis, answer) for analysis, answer in zip(made, new, strict=True))
    found = known | {analysis.image_id: analysis for analysis in made}
    return [found[pk] for pk in ids]


def _take_on(answers: Sequence[Answer], rows: dict[int, Image]) -> None:
    """Clean images become analysed; so do those whose analysis had failed and that somebody asked for again."""
    failed = [pk for pk, row in rows.items() if row.state == ImageState.FAILED]
    clean = [pk for pk, row in rows.items() if row.state == ImageState.CLEAN] + failed
    if failed:
        Image.objects.filter(pk__in=failed).update(state=ImageState.CLEAN, state_reason="")
    if clean:
        Image.objects.filter(pk__in=clean).update(state=ImageState.ANALYSED)
    for answer in answers:
        image, row = answer.image, rows[answer.image.pk]
        image.state = ImageState.ANALYSED if image.pk in clean else row.state
        image.exam_id, image.device = row.exam_id, row.device


def _event(analysis: Analysis, answer: Answer) -> AuditEvent:
    return audit.event(
        actor_id=answer.actor_id, action="image.analysed", subject=answer.image, site_id=answer.image.site_id,
        version=analysis.version_id, route=analysis.route, kind=analysis.kind,
    )  # fmt: skip


def _columns(said: ml.Analysis) -> dict[str, Any]:
    box = said.box
    return {
        "detector_state": said.detector_state,
        "box": [box.x0, box.y0, box.x1, box.y1] if box else None,
        "detector_score": box.score if box else None,
        "other_boxes": [[other.x0, other.y0, other.x1, other.y1, other.score] for other in said.other_boxes],
        "probabilities": said.probabilities,
        "p_non_regular": said.p_non_regular,
        "kind": said.kind,
        "deep_sad_distance": said.deep_sad_distance,
        "deep_sad_rank": said.deep_sad_rank,
        "logit": said.logit,
        "neighbours": said.neighbours,
        "ood": said.ood,
        "embedding": _array(said.embedding),
        "quality": said.quality,
        "colour": list(said.colour),
        "heat": _heat(said),
        "look": said.look,
        "route": said.route,
        "reasons": list(said.reasons),
    }


def _heat(said: ml.Analysis) -> dict[str, Any]:
    if not said.heat or said.region is None:
        return {}
    return {"region": [round(side, 1) for side in said.region], "rows": [[round(share, 3) for share in row] for row in said.heat]}


def _array(values: Sequence[float]) -> str:
    """Postgres' own text for an array, to the five digits that half precision needs: 2,048 values one by one cost 10 ms an image."""
    return "{" + ",".join(["%.5g"] * len(values)) % tuple(values) + "}"


@transaction.atomic
def assess(judged: Iterable[Judged]) -> list[Assessment]:
    """Write the current assessment of each image; the one before it stays, no longer current."""
    rows = [_assessment(one) for one in judged]
    Assessment.objects.filter(image__in=[row.image_id for row in rows], current=True).update(current=False)
    return Assessment.objects.bulk_create(rows)


def _assessment(one: Judged) -> Assessment:
    analysis, assessed = one.beside.analysis, one.beside.assessed
    return Assessment(
        image_id=analysis.image_id,
        analysis=analysis,
        siblings=list(one.beside.siblings),
        p_non_regular=assessed.p_non_regular,
        kind=assessed.kind,
        route=one.route,
        reasons=list(one.reasons),
        rule=one.rule,
    )
