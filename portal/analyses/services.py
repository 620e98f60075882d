"""Writes of what the machines said: an Analysis of the image alone, then its Assessment by the site's rule."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.db import transaction

from portal import ml
from portal.analyses.models import Analysis, Assessment
from portal.audit import services as audit
from portal.images.models import Image, ImageState
from portal.registry.models import ModelVersion


@transaction.atomic
def record(*, image: Image, version: ModelVersion, said: ml.Analysis, actor_id: int | None = None) -> Analysis:
    """Store what one bundle said of an image, once, and take a clean image to analysed. The earlier word stays if there is one.

    Brings `image.state` up to date, for triage, which follows in the same transaction.
    """
    state = Image.objects.select_for_update().values_list("state", flat=True).get(pk=image.pk)
    analysis, made = Analysis.objects.get_or_create(image=image, version=version, defaults=_columns(said))
    if state == ImageState.FAILED:
        # its analysis failed before, and somebody asked for it again
        Image.objects.filter(pk=image.pk).update(state=ImageState.CLEAN, state_reason="")
        state = ImageState.CLEAN
    if state == ImageState.CLEAN:
        Image.objects.filter(pk=image.pk).update(state=ImageState.ANALYSED)
        state = ImageState.ANALYSED
    image.state = state
    if made:
        facts = {"version": version.pk, "route": analysis.route, "kind": analysis.kind}
        audit.record(actor_id=actor_id, action="image.analysed", subject=image, site_id=image.site_id, **facts)
    return analysis


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
        "embedding": list(said.embedding),
        "quality": said.quality,
        "route": said.route,
        "reasons": list(said.reasons),
    }


@transaction.atomic
def assess(*, analysis: Analysis, route: ml.Route, reasons: Sequence[str], rule: dict[str, object]) -> Assessment:
    """Write the current assessment of an image; the one before it stays, no longer current."""
    Assessment.objects.filter(image_id=analysis.image_id, current=True).update(current=False)
    return Assessment.objects.create(
        image_id=analysis.image_id,
        analysis=analysis,
        p_non_regular=analysis.p_non_regular,
        kind=analysis.kind,
        route=route,
        reasons=list(reasons),
        rule=rule,
    )
