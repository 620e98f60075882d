"""The doorbell tasks: a few lines each, without data, safe to lose and to run twice."""

from __future__ import annotations

import logging

from celery import shared_task
from celery.signals import worker_shutting_down
from django.db import transaction

from portal.audit import services as audit
from portal.jobs import bell, selectors, services
from portal.pipeline import runner
from portal.pipeline.handlers import HANDLERS
from portal.pipeline.invariants import HARMLESS, violations

log = logging.getLogger(__name__)
DIED = "Its worker died each of the three times that it was worked on alone. The file may be harmful: look at it, then retry."


@worker_shutting_down.connect
def stop_soon(**_: object) -> None:
    """Runs inside a signal handler: only leaves word. (A solo worker's own process; the children of a prefork pool finish their turn.)"""
    runner.STOPPING.set()


@shared_task
def drain(kind: str) -> None:
    """Someone rang: work on what is claimable."""
    runner.drain(kind, HANDLERS[kind])


@shared_task
def ring() -> None:
    """Ring for what waits: heals every lost message."""
    for kind in selectors.claimable_kinds():
        bell.ring(kind, at_most=4)


@shared_task
def sweep() -> None:
    """Queue again what dead workers held; fail what killed them three times."""
    for claim in services.sweep():
        with transaction.atomic():
            HANDLERS[claim.kind].give_up(claim, DIED)


@shared_task
def check_invariants() -> None:
    """Hourly: whatever is found is an error of ours, and is logged as one."""
    for name, rows in violations().items():
        log.log(logging.WARNING if name in HARMLESS else logging.ERROR, "Invariant broken: %s: %s", name, rows)


@shared_task
def seal_audit() -> None:
    """Chain the newest audit events."""
    audit.seal()
