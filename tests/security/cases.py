"""Thousands of cases against the portal on real servers, with the time that is left. Nothing of it stays: all is taken back."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from django.db import transaction
from django.test import override_settings
from django.test.utils import setup_test_environment, teardown_test_environment

from portal.accounts import tokens
from tests.access_matrix import make_things, people
from tests.cast import Cast, make_cast
from tests.security.contract import Tally, callers, drive, operations
from tests.security.hostile import Walk, hostile_things, quiet


class Clock:
    """Says every ten seconds how far it is and for how long it will still go on."""

    def __init__(self, name: str, count: int) -> None:
        self.name, self.count, self.begun, self.said = name, count, time.monotonic(), 0.0

    def tell(self, done: int, faults: int) -> None:
        now = time.monotonic()
        if done and now - self.said > 10:
            self.said = now
            left = (now - self.begun) / done * max(0, self.count - done)
            print(f"  {self.name}: {done} of {self.count}, {faults} faults, {left:.0f} s left", flush=True)


@contextmanager
def stage() -> Iterator[Cast]:
    """The cast, in a transaction that is taken back."""
    setup_test_environment()
    with quiet(), override_settings(ACCOUNT_RATE_LIMITS=False), transaction.atomic():
        yield make_cast()
        transaction.set_rollback(True)
    teardown_test_environment()


def api(count: int, number: int) -> Tally:
    """Every operation as every caller in rounds, each with a seed of its own, until there were `count` cases."""
    tally, clock = Tally(), Clock("API", count)
    with stage() as cast:
        who, things = callers(cast, people(cast)), make_things(cast)
        every = operations(who)
        pairs = [(operation, caller) for caller in who for operation in every]
        while tally.cases < count:
            for _ in drive(pairs, things, each=10, number=number, tally=tally):
                clock.tell(tally.cases, len(tally.faults))
            number += 1
    return tally


def pages(count: int, number: int) -> Walk:
    clock = Clock("addresses", count)
    with stage() as cast:
        things = hostile_things(cast)
        secret = tokens.make(site=cast.north, name="a program", days=1, actor=cast.alice)[1]
        walk = Walk(cast, things, people(cast), secret, number)
        walk.learn()
        for found in walk.steps(count):
            clock.tell(found.cases, len(found.broken))
    return walk
