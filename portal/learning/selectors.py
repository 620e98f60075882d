"""Reads of trainings, evaluations and what the gate says of them."""

from __future__ import annotations

from django.db.models import QuerySet

from portal.learning import reports
from portal.learning.gate import Verdict, judge
from portal.learning.models import Evaluation, RunState, TrainingRun
from portal.registry import selectors as registry
from portal.registry.models import ModelVersion


def latest_evaluation(version: ModelVersion) -> Evaluation | None:
    return version.evaluations.filter(state=RunState.DONE).select_related("snapshot").order_by("-id").first()


def rival_evaluation(evaluation: Evaluation) -> Evaluation | None:
    """The champion's report on the same data, unless it is the champion's own that is looked at."""
    champion = registry.champion()
    if champion is None or champion.pk == evaluation.version_id:
        return None
    return champion.evaluations.filter(state=RunState.DONE, snapshot=evaluation.snapshot_id, split=evaluation.split).first()


def verdict(evaluation: Evaluation) -> Verdict | None:
    """What the gate says of a candidate on this data; None while a report that it needs is not there, or it is the champion itself."""
    champion = registry.champion()
    if evaluation.state != RunState.DONE or (champion is not None and champion.pk == evaluation.version_id):
        return None
    rival = rival_evaluation(evaluation)
    if champion is not None and rival is None:
        return None
    return judge(reports.from_json(evaluation.report), reports.from_json(rival.report) if rival else None)


def runs() -> QuerySet[TrainingRun]:
    return TrainingRun.objects.select_related("snapshot", "started_by", "candidate").order_by("-id")
