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
from django.db import connections, transaction

from portal.core.faults import fault
from portal.jobs import bell, services
from portal.jobs.batches import AWAY
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
    """Claim and work until nothing is claimable, or the turn is over. Returns how many jobs were taken in hand.

    Of a kind with several lanes, each further one is opened when a full batch was found, in a thread with its own connection.
    """
    lanes = [_Lane(kind, handler)]
    lanes[0].open_next = lambda: _open_lane(lanes)
    try:
        lanes[0].run()
    finally:
        for lane in lanes[1:]:
            lane.join()
    if any(lane.tired for lane in lanes):
        bell.ring(kind)
    return sum(lane.done for lane in lanes)


def _open_lane(lanes: list[_Lane]) -> None:
    first = lanes[0]
    if len(lanes) < KINDS[first.kind].lanes:
        lanes.append(_Lane(first.kind, first.handler))
        lanes[-1].start()


class _Lane(threading.Thread):
    """Takes one batch after the other until the turn is over."""

    def __init__(self, kind: str, handler: Handler) -> None:
        super().__init__(name=f"{kind} lane", daemon=True)
        self.kind, self.handler = kind, handler
        self.open_next: Callable[[], None] | None = None
        self.done, self.tired = 0, False
        self.error: BaseException | None = None

    def run(self) -> None:
        """In the caller's thread for the first lane; errors of the others are kept for `join`."""
        try:
            self._turn()
        except BaseException as error:
            if threading.current_thread() is not self:
                raise
            self.error = error
        finally:
            if threading.current_thread() is self:
                connections.close_all()

    def join(self, timeout: float | None = None) -> None:
        super().join(timeout)
        if self.error is not None:
            raise self.error

    def _turn(self) -> None:
        began = time.monotonic()
        while not STOPPING.is_set() and (claims := services.claim(self.kind, worker=worker_name())):
            fault("after_claim")
            if not self.done and len(claims) == min(KINDS[self.kind].batch, settings.JOB_BATCH):
                # there may be more than one can do: wake another worker, open another lane
                bell.ring(self.kind, at_most=1)
                if self.open_next:
                    self.open_next()
            work(stop_cancelled(claims, self.handler), self.handler)
            self.done += len(claims)
            if time.monotonic() - began > TURN_SECONDS:
                self.tired = True
                return


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
    except AWAY as away:
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
        except AWAY:
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
        except AWAY as away:
            log.warning("No sign of life reached the database: %s", away)
            connections.close_all()
