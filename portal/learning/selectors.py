"""Reads of evaluations, and what the gate says of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from django.db.models import QuerySet

from portal.learning import reports
from portal.learning.gate import Verdict, judge
from portal.learning.models import Evaluation, RunState
from portal.ml import Interval
from portal.registry import selectors as registry
from portal.registry.models import ModelVersion


def reported() -> QuerySet[Evaluation]:
    return Evaluation.objects.filter(state=RunState.DONE).exclude(report={}).select_related("snapshot", "version")


def rival_evaluation(evaluation: Evaluation) -> Evaluation | None:
    """The champion's report on the same data, unless it is the champion's own that is looked at."""
    champion = registry.champion()
    if champion is None or champion.pk == evaluation.version_id:
        return None
    return reported().filter(version=champion, snapshot=evaluation.snapshot_id, split=evaluation.split).first()


def verdict(evaluation: Evaluation) -> Verdict | None:
    """What the gate says of a candidate on this data; None while a report that it needs is not there, or it is the champion itself."""
    champion = registry.champion()
    if not evaluation.report or (champion is not None and champion.pk == evaluation.version_id):
        return None
    rival = rival_evaluation(evaluation)
    if champion is not None and rival is None:
        return None
    return judge(reports.from_json(evaluation.report), reports.from_json(rival.report) if rival else None)


@dataclass(frozen=True, slots=True)
class Headline:
    """What the list of models says of one: its newest report's first figures."""

    snapshot: str
    sensitivity: Interval | None
    specificity: Interval | None


def headlines(versions: Sequence[ModelVersion]) -> list[tuple[ModelVersion, Headline | None]]:
    """The newest report of each version; one query for all, and not the long lists of the reports."""
    newest = (
        reported()
        .filter(version__in=versions)
        .order_by("version_id", "-id")
        .distinct("version_id")
        .values_list("version_id", "snapshot__name", "report__figures")
    )
    found = {version: (name, figures) for version, name, figures in newest}
    return [(version, _headline(*found[version.pk]) if version.pk in found else None) for version in versions]


def _headline(snapshot: str, figures: dict[str, dict[str, float | None]]) -> Headline:
    known = reports.intervals(figures)
    return Headline(snapshot, known.get("sensitivity"), known.get("specificity"))
