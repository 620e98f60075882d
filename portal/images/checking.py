"""Checks of the stores: the command's in one go, the weekly one as work that is done in short turns and goes on after a death."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from datetime import timedelta

from django.db import IntegrityError, transaction
from django.db.models.functions import Now

from portal.accounts.models import Site
from portal.audit.services import record
from portal.holdings.models import CheckState, StoreCheck
from portal.images import mending
from portal.images.walk import Finding, Place, Step, Wanted, leftovers, walk
from portal.jobs import services as jobs

KEPT = 1_000
"""So many findings are kept of a check; all are counted."""
TURN_SECONDS = 20.0
EVERY = timedelta(days=7)


@dataclass(slots=True)
class Report:
    """What a walk found so far. `mended`: how many findings of each sort were set right."""

    place: Place = field(default_factory=Place)
    blobs: int = 0
    bytes: int = 0
    counts: dict[str, int] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    mended: dict[str, int] = field(default_factory=dict)

    def take(self, step: Step) -> None:
        self.place, self.blobs, self.bytes = step.place, self.blobs + bool(step.size), self.bytes + step.size
        if step.finding:
            self.found(step.finding)

    def found(self, finding: Finding) -> None:
        self.counts[finding.sort] = self.counts.get(finding.sort, 0) + 1
        if len(self.findings) < KEPT:
            self.findings.append(finding)


def check(wanted: Wanted, *, repair: bool = False) -> Iterator[Report]:
    """The whole walk; yields the report as it grows, the last one whole."""
    report = Report()
    for step in _steps(Place(), wanted):
        report.take(step)
        if step.finding and repair and mending.mend(step.finding):
            report.mended[step.finding.sort] = report.mended.get(step.finding.sort, 0) + 1
        if report.blobs % 500 == 0:
            yield report
    for finding in leftovers():
        report.found(finding)
    yield report


def _steps(after: Place, wanted: Wanted) -> Iterator[Step]:
    return walk(list(Site.objects.values_list("pk", flat=True)), after, wanted)


def begin_when_due() -> StoreCheck | None:
    """The beat: a check a week. None where none is due."""
    with transaction.atomic():
        if StoreCheck.objects.filter(created__gt=Now() - EVERY).exists():
            return None
        return begin(actor_id=None)


def begin(*, actor_id: int | None) -> StoreCheck:
    """Queue a check, or find the one that is under way."""
    try:
        with transaction.atomic():
            check = StoreCheck.objects.create()
            record(actor_id=actor_id, action="store_check.begun", subject=check)
    except IntegrityError:
        check = StoreCheck.objects.get(state=CheckState.RUNNING)
    jobs.put(kind="verify", subject_ids=[check.pk], actor_id=actor_id)
    return check


def go_on(claim: jobs.Claim) -> None:
    """A turn of the check: reads for a while, writes down how far it came, and gives the work back until it is done."""
    row = StoreCheck.objects.get(pk=claim.subject_id)
    if row.state == CheckState.DONE:
        jobs.finish(claim, lambda: None)
        return
    report = _resumed(row)
    due = time.monotonic() + TURN_SECONDS
    for step in _steps(report.place, Wanted()):
        report.take(step)
        if time.monotonic() > due:
            with transaction.atomic():
                _write(row, report)
                jobs.release([claim])
            return
    for finding in leftovers():
        report.found(finding)
    jobs.finish(claim, lambda: _end(row, report, claim))


def _resumed(row: StoreCheck) -> Report:
    findings = [Finding(**{**one, "images": tuple(one["images"])}) for one in row.findings]
    return Report(Place(*row.place) if row.place else Place(), row.blobs, row.bytes, dict(row.counts), findings)


def _write(row: StoreCheck, report: Report) -> None:
    values = {
        "place": [report.place.store, report.place.site, report.place.name], "blobs": report.blobs, "bytes": report.bytes,
        "counts": report.counts, "findings": [asdict(finding) for finding in report.findings],
    }  # fmt: skip
    StoreCheck.objects.filter(pk=row.pk, state=CheckState.RUNNING).update(**values)


def _end(row: StoreCheck, report: Report, claim: jobs.Claim) -> None:
    _write(row, report)
    StoreCheck.objects.filter(pk=row.pk).update(state=CheckState.DONE, finished=Now())
    record(actor_id=claim.actor_id, action="store_check.done", subject=row, blobs=report.blobs, found=report.counts)


def give_up(claim: jobs.Claim, error: str) -> None:
    """Inside a transaction: the check is over, with what it had found until then."""
    StoreCheck.objects.filter(pk=claim.subject_id).update(state=CheckState.DONE, finished=Now())
    record(actor_id=claim.actor_id, action="store_check.failed", subject=StoreCheck.objects.get(pk=claim.subject_id), error=error[:300])
    jobs.fail(claim, error)
