"""One worker draining one kind of work: claim, keep the leases alive, let the handler work, see that nothing is left in hand."""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from types import TracebackType

from django.conf import settings
from django.db import Error as DatabaseError
from django.db import connections, transaction

from portal.core.faults import fault
from portal.jobs import bell, services
from portal.jobs.kinds import KINDS
from portal.jobs.services import Claim, LostClaim, TryLater

log = logging.getLogger(__name__)
STOPPING = threading.Event()
"""Set when this process was asked to end: what it holds is given back, and counts as nothing."""
TURN_SECONDS = 5.0
"""Then the worker goes back to its queue, so that another kind on the same queue gets its turn."""
_LOOK_SECONDS = 0.5
PAUSES = (5.0, 60.0)
SECONDS_OF_TROUBLE = 30
"""Seconds before the second and the third try of work that met an unexpected error."""


def _nothing(claim: Claim) -> None:
    del claim


@dataclass(frozen=True, slots=True)
class Handler:
    """How one kind of work is done.

    work: does the jobs of one batch and ends each, in a transaction of its own, by complete, fail, stop or release.
    give_up: fails the job for good and says so on its subject; inside a transaction.
    cancelled: says on the subject that its job is cancelled, where the worker that was asked to stop had died; inside a transaction.
    """

    work: Callable[[list[Claim]], None]
    give_up: Callable[[Claim, str], None]
    cancelled: Callable[[Claim], None] = _nothing


def drain(kind: str, handler: Handler) -> int:
    """Claim and work until nothing is claimable, or the turn is over. Returns how many jobs were taken in hand."""
    began, done = time.monotonic(), 0
    while not STOPPING.is_set() and (claims := services.claim(kind, worker=worker_name())):
        fault("after_claim")
        if not done and len(claims) == min(KINDS[kind].batch, settings.JOB_BATCH):
            # there may be more than one worker can do: wake another
            bell.ring(kind, at_most=1)
        work(stop_cancelled(claims, handler), handler)
        done += len(claims)
        if time.monotonic() - began > TURN_SECONDS:
            bell.ring(kind)
            break
    return done


def stop_cancelled(claims: list[Claim], handler: Handler) -> list[Claim]:
    """End those that a person cancelled in the hands of a worker that died. Returns the others."""
    for claim in claims:
        if claim.cancel_requested:
            services.finish(claim, partial(handler.cancelled, claim), end=services.stop)
    return [claim for claim in claims if not claim.cancel_requested]


def work(claims: list[Claim], handler: Handler) -> None:
    """Do one batch. An error that the handler did not foresee sends a batch back one at a time; alone, it counts towards three."""
    if not claims:
        return
    try:
        with Heartbeat(claims):
            handler.work(claims)
        fault("after_work")
        left = services.still_held(claims)
        error = "its handler left it undone"
    except DatabaseError as away:
        # nobody's fault: the sweep finds the claims if even this does not reach the database
        log.warning("The database did not answer: %s", away)
        _give_back_when_possible(claims)
        return
    except TryLater as trouble:
        log.error("Work waits: %s", trouble)
        services.release(services.still_held(claims), delay=SECONDS_OF_TROUBLE)
        return
    except LostClaim as lost:
        log.info("Lost a claim: %s", lost)
        services.release(services.still_held(claims))
        return
    except Exception as unexpected:
        log.exception("Unexpected error in %s", claims)
        error = f"{type(unexpected).__name__}: {unexpected}"
        left = services.still_held(claims)
    settle_unfinished(left, error, handler, alone=len(claims) == 1)


def settle_unfinished(left: Sequence[Claim], error: str, handler: Handler, *, alone: bool) -> None:
    """Give back what was not ended; what met its third error alone is failed, with what hangs on it."""
    if not alone:
        services.release(left, alone=True)
        return
    for claim in left:
        with transaction.atomic():
            if services.strike(claim, error, pauses=PAUSES):
                handler.give_up(claim, error)


def worker_name() -> str:
    return f"{socket.gethostname()}:{os.getpid()}"


def _give_back_when_possible(claims: list[Claim]) -> None:
    for pause in (0, 1, 3):
        time.sleep(pause)
        connections.close_all()
        try:
            services.release(claims)
        except DatabaseError:
            continue
        return


class Heartbeat:
    """Extends the leases from a thread with its own connection, as long as the handler works.

    When the process is asked to end, gives the claims back at once: what the handler still finishes is refused by the fence.
    """

    def __init__(self, claims: list[Claim]) -> None:
        self.claims = claims
        self.period = services.lease_seconds(claims[0].kind) / 4
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)

    def __enter__(self) -> Heartbeat:
        self.thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.ended.set()
        self.thread.join(timeout=10)

    def _run(self) -> None:
        due = time.monotonic() + self.period
        try:
            while not self.ended.wait(min(self.period, _LOOK_SECONDS)):
                if STOPPING.is_set():
                    self._tell(lambda: services.release(self.claims))
                    return
                if time.monotonic() >= due:
                    due = time.monotonic() + self.period
                    self._tell(lambda: services.extend(self.claims))
        finally:
            connections.close_all()

    def _tell(self, sign: Callable[[], object]) -> None:
        try:
            sign()
        except DatabaseError as away:
            log.warning("No sign of life reached the database: %s", away)
            connections.close_all()
