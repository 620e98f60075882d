"""How often somebody may ask: counts in the cache, in windows of fixed length. Without the cache nobody is turned away."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass

from django.conf import settings
from django.core.cache import cache
from django.http import HttpRequest
from redis.exceptions import RedisError as RedisError

from portal.core.errors import WinnowError

log = logging.getLogger(__name__)


class TooMany(WinnowError):
    """Asked too often."""

    status = 429
    code = "too_many"

    def __init__(self, seconds: int) -> None:
        super().__init__(f"You have asked for this very often. Wait {seconds} seconds, then try again.")
        self.seconds = seconds


@dataclass(frozen=True, slots=True)
class Rate:
    times: int
    seconds: int


def count(what: str, who: str, rate: Rate) -> None:
    """Count one more; TooMany where it is more than `rate` allows."""
    window, into = divmod(int(time.time()), rate.seconds)
    key = f"throttle:{what}:{who}:{window}"
    try:
        cache.add(key, 0, timeout=rate.seconds + 1)
        times = cache.incr(key)
    except (RedisError, ValueError):
        # away, or restarted between the two: counting is not worth a refusal
        log.warning("The cache did not count a request.")
        return
    if times > rate.times:
        raise TooMany(rate.seconds - into)


def client_address(request: HttpRequest) -> str:
    """Where a request came from. Behind `settings.PROXIES` proxies, each of which adds the address it saw to X-Forwarded-For, the one
    that the outermost saw; what stands before it was written by the client and is believed by nobody."""
    seen = [part.strip() for part in request.headers.get("X-Forwarded-For", "").split(",") if part.strip()]
    if settings.PROXIES and len(seen) >= settings.PROXIES:
        return seen[-settings.PROXIES]
    return str(request.META.get("REMOTE_ADDR", ""))
