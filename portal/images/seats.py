"""Seats for files that are being sent: a slow line holds a thread of the web process, and pages need some too."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

from django.conf import settings

from portal.core.errors import WinnowError


class AllTaken(WinnowError):
    """As many files are on their way as this process takes in at once; senders try again by themselves."""

    status = 503
    code = "busy"
    seconds = 2


@contextmanager
def seat() -> Iterator[None]:
    """One of `settings.SENDERS` seats of this process, or AllTaken at once: waiting would hold the thread all the same."""
    seats = _seats(settings.SENDERS)
    if not seats.acquire(blocking=False):
        raise AllTaken("Many files are arriving at this moment. Yours is sent again by itself in a few seconds.")
    try:
        yield
    finally:
        seats.release()


@cache
def _seats(count: int) -> threading.BoundedSemaphore:
    return threading.BoundedSemaphore(max(1, count))
