"""A long work's sign of life: a thread that extends the lease while the work goes on, and says when to stop."""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import TracebackType

from django.db import DatabaseError, connection

from portal.jobs.services import Claim, extend

INTERVAL = 3.0


class Pulse:
    """`with Pulse(claim, beat) as pulse`: every few seconds the lease is extended and, while it is held, `beat()` called.

    `pulse.stopped()` tells the work that it was cancelled or taken over. The thread has a database connection of its own.
    """

    def __init__(self, claim: Claim, beat: Callable[[], None] | None = None, *, interval: float | None = None) -> None:
        self._claim, self._beat, self._interval = claim, beat, interval or INTERVAL
        self._lost, self._done = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"pulse-{claim.job_id}", daemon=True)

    def __enter__(self) -> Pulse:
        self._tick()
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._done.set()
        self._thread.join()

    def stopped(self) -> bool:
        return self._lost.is_set()

    def _run(self) -> None:
        try:
            while not self._done.wait(self._interval) and not self.stopped():
                self._tick_safely()
        finally:
            connection.close()

    def _tick_safely(self) -> None:
        try:
            self._tick()
        except DatabaseError:
            # Postgres may restart under a training of hours: the next tick connects anew, and the fence judges the result
            connection.close()

    def _tick(self) -> None:
        if self._claim.job_id not in extend([self._claim]):
            self._lost.set()
        elif self._beat is not None:
            self._beat()
