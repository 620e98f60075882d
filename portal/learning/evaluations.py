"""Reports of bundles on snapshots."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from django.conf import settings
from django.db import transaction

from portal import ml
from portal.accounts.models import User
from portal.audit.services import record
from portal.core.errors import WrongState
from portal.datasets.models import Snapshot, SnapshotState
from portal.jobs import services as jobs
from portal.jobs.models import Job, JobState
from portal.jobs.pulse import Pulse
from portal.jobs.services import Claim, LostClaim
from portal.learning import lines, reports
from portal.learning.models import Evaluation, RunState
from portal.ml import TrainingRefused
from portal.registry.models import ModelVersion


@transaction.atomic
def ask(*, versions: Sequence[ModelVersion], snapshot: Snapshot, actor: User) -> list[Evaluation]:
    """Queue the report of each version on the snapshot's test split; what is reported or in work already stays."""
    if snapshot.state != SnapshotState.FROZEN:
        raise WrongState("This snapshot is not frozen yet. Wait until its folder is written.")
    return [_ask(version, snapshot, actor) for version in versions]


def _ask(version: ModelVersion, snapshot: Snapshot, actor: User) -> Evaluation:
    if known := lines.has_seen(version, snapshot):
        raise WrongState(
            f"{version} has learned from {known} of the patients that {snapshot.name} tests on, so its report would flatter. "
            "Choose a snapshot that was split as the one it was trained on."
        )
    evaluation, made = Evaluation.objects.get_or_create(version=version, snapshot=snapshot, split="test")
    failed = evaluation.state in (RunState.FAILED, RunState.CANCELLED)
    # What would be accepted unseen hangs on it, and two models are compared by reports of one rule
    other_rule = evaluation.state == RunState.DONE and evaluation.report.get("known_devices_only", False) != settings.REVIEW_UNCALIBRATED
    if not made and not failed and not other_rule:
        return evaluation
    if failed or other_rule:
        Evaluation.objects.filter(pk=evaluation.pk).update(state=RunState.QUEUED, error="")
    record(actor_id=actor.pk, action="evaluation.ask", subject=evaluation, bundle_hash=version.bundle_hash, snapshot=snapshot.hash)
    jobs.enqueue(kind="evaluate", subject_id=evaluation.pk, actor_id=actor.pk)
    return evaluation


def run_evaluation(claim: Claim) -> None:
    """Evaluate and store the report."""
    evaluation = Evaluation.objects.select_related("version", "snapshot").get(pk=claim.subject_id)
    Evaluation.objects.filter(pk=evaluation.pk).update(state=RunState.RUNNING)
    try:
        with Pulse(claim) as pulse:
            report = ml.evaluate(
                Path(evaluation.version.bundle_path), Path(evaluation.snapshot.folder), split=evaluation.split,
                device=settings.DEVICE, threads=settings.TORCH_THREADS, known_devices_only=settings.REVIEW_UNCALIBRATED,
            )  # fmt: skip
    except TrainingRefused as error:
        with transaction.atomic():
            jobs.fail(claim, str(error))
            evaluation_failed(claim, str(error))
        return
    if pulse.stopped():
        _stop(claim, evaluation)
        return
    with transaction.atomic():
        jobs.complete(claim)
        Evaluation.objects.filter(pk=evaluation.pk).update(state=RunState.DONE, report=reports.to_json(report), error="")
        record(actor_id=claim.actor_id, action="evaluation.done", subject=evaluation, bundle_hash=evaluation.version.bundle_hash)


@transaction.atomic
def _stop(claim: Claim, evaluation: Evaluation) -> None:
    if not Job.objects.filter(pk=claim.job_id, cancel_requested=True).exists():
        raise LostClaim(f"job {claim.job_id}, attempt {claim.attempt}")
    jobs.stop(claim)
    Evaluation.objects.filter(pk=evaluation.pk).update(state=RunState.CANCELLED)
    record(actor_id=claim.actor_id, action="evaluation.cancelled", subject=evaluation, before=evaluation.state, after="cancelled")


@transaction.atomic
def evaluation_failed(claim: Claim, error: str) -> None:
    """Say on the report that its job has failed for good. The caller ends the job in the same transaction."""
    Evaluation.objects.filter(pk=claim.subject_id).update(state=RunState.FAILED, error=error)
    record(actor_id=claim.actor_id, action="evaluation.failed", subject=Evaluation.objects.get(pk=claim.subject_id), error=error[:300])


def waiting(evaluation: Evaluation) -> bool:
    return Job.objects.filter(kind="evaluate", subject_id=evaluation.pk, state__in=[JobState.QUEUED, JobState.CLAIMED]).exists()
