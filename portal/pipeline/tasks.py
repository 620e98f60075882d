"""The doorbell tasks: a few lines each, without data, safe to lose and to run twice."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec

from celery import shared_task
from celery.signals import worker_shutting_down
from django.db import InterfaceError, OperationalError, transaction

from portal.audit import services as audit
from portal.images import archives, arrivals, checking, forgetting, kept, storage
from portal.jobs import bell, selectors, services
from portal.pipeline import runner
from portal.pipeline.handlers import HANDLERS
from portal.pipeline.invariants import HARMLESS, violations
from portal.registry import selectors as registry
from portal.reviews import earning
from portal.reviews.quality import known_images, measuring
from portal.reviews.room import digests

P = ParamSpec("P")
log = logging.getLogger(__name__)
DIED = "Its worker died each time that it was worked on alone. The file may be harmful: look at it, then retry."


def doorbell(task: Callable[P, None]) -> Any:
    """A task that leaves quietly when the database is away: its work is rows, and the beat rings again."""

    @wraps(task)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            task(*args, **kwargs)
        except (OperationalError, InterfaceError) as away:
            log.warning("%s: the database did not answer: %s", task.__name__, away)

    return shared_task(run)


@worker_shutting_down.connect  # type: ignore[untyped-decorator]
def stop_soon(**_: object) -> None:
    """Runs inside a signal handler: only leaves word. (A solo worker's own process; the children of a prefork pool finish their turn.)"""
    runner.STOPPING.set()


@doorbell
def drain(kind: str) -> None:
    """Someone rang: work on what is claimable."""
    runner.drain(kind, HANDLERS[kind])


@doorbell
def ring() -> None:
    """Ring for what waits: heals every lost message."""
    for kind in selectors.claimable_kinds():
        bell.ring(kind, at_most=2)


@doorbell
def sweep() -> None:
    """Queue again what dead workers held; fail what killed them too often."""
    for claim in services.sweep():
        with transaction.atomic():
            HANDLERS[claim.kind].give_up(claim, DIED)


@doorbell
def check_invariants() -> None:
    """Hourly: whatever is found is an error of ours, and is logged as one."""
    for name, rows in violations().items():
        log.log(logging.WARNING if name in HARMLESS else logging.ERROR, "Invariant broken: %s: %s", name, rows)


@doorbell
def sweep_incoming() -> None:
    """Remove what uploads left that were cut off: a day later what is half written and archives that nobody waits for, days later
    files whose rest never came, and tables that nobody applied."""
    storage.sweep_incoming()
    archives.sweep_archives()
    arrivals.sweep()
    forgetting.forget_tables()
    kept.shrink()


@doorbell
def finish_arrivals() -> None:
    """Take in files that were whole when their web server died."""
    arrivals.finish_waiting()


@doorbell
def check_stores() -> None:
    """Asked hourly, begun weekly: are the stores sound?"""
    checking.begin_when_due()


@doorbell
def measure_readers() -> None:
    """Every ten minutes: is there enough new to say again how well readers read?"""
    if measuring.is_due():
        with transaction.atomic():
            services.put(kind="measure_readers", subject_ids=[1])


@doorbell
def walk_chain() -> None:
    """Daily: is the audit trail what was sealed?"""
    with transaction.atomic():
        services.put(kind="walk_chain", subject_ids=[1])


@doorbell
def gather_known() -> None:
    """Hourly: which settled pictures may measure readers?"""
    known_images.gather()


@doorbell
def judge_what_earns() -> None:
    """Every ten minutes: is there anything by which sites earn what may pass, of which the champion has said nothing?"""
    champion = registry.champion()
    with transaction.atomic():
        services.put(kind="analyse", subject_ids=earning.to_judge(champion) if champion else [])


@doorbell
def remind_readers() -> None:
    """Hourly: whom is it time to remind of what waits?"""
    digests.send_due()


@doorbell
def seal_audit() -> None:
    """Chain the newest audit events."""
    audit.seal()
