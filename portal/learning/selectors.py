"""Reads of evaluations, and what the gate says of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from django.db.models import QuerySet

from portal.learning import reports
from portal.learning.differences import Differences, between
from portal.learning.gate import Verdict, judge
from portal.learning.models import Evaluation, RunState
from portal.ml import EvaluationReport, Interval
from portal.registry import selectors as registry
from portal.registry.models import ModelVersion


def reported() -> QuerySet[Evaluation]:
    return Evaluation.objects.filter(state=RunState.DONE).exclude(report={}).select_related("snapshot", "version")


@dataclass(frozen=True, slots=True)
class Beside:
    """A model's report beside the champion's on the same data, as far as there is one, and what follows from the two.

    differences: None for the champion itself, and where there is no champion. verdict: None while a report that the gate needs is missing.
    """

    mine: EvaluationReport
    rival: Evaluation | None = None
    champion: EvaluationReport | None = None
    differences: Differences | None = None
    verdict: Verdict | None = None


def beside_champion(evaluation: Evaluation) -> Beside:
    """What the gate says of a reported model on this data, and by how much it differs from the champion."""
    champion, mine = registry.champion(), reports.from_json(evaluation.report)
    if champion is None:
        return Beside(mine, verdict=judge(mine, None))
    if champion.pk == evaluation.version_id:
        return Beside(mine)
    rival = reported().filter(version=champion, snapshot=evaluation.snapshot_id, split=evaluation.split).first()
    if rival is None:
        return Beside(
            mine, differences=Differences(why_not=f"The champion has no report of the {evaluation.split} split of this data set.")
        )
    theirs = reports.from_json(rival.report)
    found = between(mine, theirs)
    return Beside(mine, rival, theirs, found, judge(mine, theirs, differences=found.rows))


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
