"""Writes of what the machines said: Analyses of images alone, then their Assessments by the site's rule. By the batch."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from django.db import transaction

from portal import ml
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
    """An analysis as the site's rule, in force now, routes it."""

    analysis: Analysis
    route: ml.Route
    reasons: Sequence[str]
    rule: dict[str, object]


@transaction.atomic
def record(*, version: ModelVersion, answers: Sequence[Answer]) -> list[Analysis]:
    """Store what one bundle said of each image, once, and take clean images to analysed. The earlier word stays if there is one.

    A fixed number of statements. Brings each `image.state` up to date, for triage, which follows in the same transaction.
    """
    ids = [answer.image.pk for answer in answers]
    states = dict(Image.objects.select_for_update().filter(pk__in=ids).order_by("pk").values_list("pk", "state"))
    known = {analysis.image_id: analysis for analysis in Analysis.objects.filter(version=version, image__in=ids).defer("embedding")}
    new = [answer for answer in answers if answer.image.pk not in known]
    made = Analysis.objects.bulk_create(Analysis(image=one.image, version=version, **_columns(one.said)) for one in new)
    _take_on(answers, states)
    audit.record_all(_event(analysis, answer) for analysis, answer in zip(made, new, strict=True))
    found = known | {analysis.image_id: analysis for analysis in made}
    return [found[pk] for pk in ids]


def _take_on(answers: Sequence[Answer], states: dict[int, str]) -> None:
    """Clean images become analysed; so do those whose analysis had failed and that somebody asked for again."""
    failed = [pk for pk, state in states.items() if state == ImageState.FAILED]
    clean = [pk for pk, state in states.items() if state == ImageState.CLEAN] + failed
    if failed:
        Image.objects.filter(pk__in=failed).update(state=ImageState.CLEAN, state_reason="")
    if clean:
        Image.objects.filter(pk__in=clean).update(state=ImageState.ANALYSED)
    states |= dict.fromkeys(clean, ImageState.ANALYSED)
    for answer in answers:
        answer.image.state = states[answer.image.pk]


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
        "embedding": _array(said.embedding),
        "quality": said.quality,
        "route": said.route,
        "reasons": list(said.reasons),
    }


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
    return Assessment(
        image_id=one.analysis.image_id,
        analysis=one.analysis,
        p_non_regular=one.analysis.p_non_regular,
        kind=one.analysis.kind,
        route=one.route,
        reasons=list(one.reasons),
        rule=one.rule,
    )
