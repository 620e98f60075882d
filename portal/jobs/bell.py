"""The doorbell: a message without data that wakes a worker. May be lost or doubled; a beat rings again where work waits.

Redis being away must never fail or hold up a web request: short timeouts, no retries, and a pause after a failed ring.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from django.db import transaction
from kombu.connection import Connection
from kombu.pools import ProducerPool

from portal.celery import app
from portal.jobs.kinds import KINDS

DRAIN = "portal.pipeline.tasks.drain"
_SECONDS_TO_ANSWER = 1
_PAUSE_AFTER_FAILURE = 5
_EXPIRES = 300
_ENOUGH = 8
_silent_until = 0.0
log = logging.getLogger(__name__)


def ring(kind: str, *, at_most: int = _ENOUGH) -> bool:
    """Wake a worker for `kind` now; not if `at_most` rings for it wait already. False where Redis did not answer.

    Without the bound every small upload would leave a message, and each message costs a worker a turn as long as there is work.
    """
    global _silent_until
    if time.monotonic() < _silent_until:
        return False
    queue = KINDS[kind].bell
    try:
        with _producers().acquire(block=True, timeout=_SECONDS_TO_ANSWER) as producer:  # type: ignore[no-untyped-call]
            if producer.channel.client.llen(queue) < at_most:
                app.send_task(DRAIN, args=[kind], queue=queue, expires=_EXPIRES, producer=producer, retry=False)
    except Exception as away:
        # whatever the broker's library raises: the row is safe, and the beat rings again
        _silent_until = time.monotonic() + _PAUSE_AFTER_FAILURE
        log.warning("No doorbell for %s, the beat will ring: %s", kind, away)
        return False
    return True


_BELLS: dict[str, Callable[[], object]] = {kind: partial(ring, kind) for kind in KINDS}


def ring_after_commit(kind: str) -> None:
    """Ring once per kind and transaction, however many jobs it queued.

    An entry that is already there always survives when ours would: it hangs on no savepoint that ours does not hang on.
    """
    bell = _BELLS[kind]
    if any(entry[1] is bell for entry in transaction.get_connection().run_on_commit):
        return
    transaction.on_commit(bell)


_pool: tuple[int, ProducerPool] | None = None


def _producers() -> ProducerPool:
    """A pool of this process's own (a forked child must not share sockets), with timeouts that the workers' own connection has not."""
    global _pool
    if _pool is None or _pool[0] != os.getpid():
        options = {"max_retries": 0, "socket_timeout": _SECONDS_TO_ANSWER, "socket_connect_timeout": _SECONDS_TO_ANSWER}
        connection: Any = Connection(app.conf.broker_url, connect_timeout=_SECONDS_TO_ANSWER, transport_options=options)  # type: ignore[no-untyped-call]
        _pool = os.getpid(), ProducerPool(connection.Pool(limit=4), limit=4)  # type: ignore[no-untyped-call]
    return _pool[1]
