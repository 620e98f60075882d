"""Whatever is sent, nobody gets a server error. The short form of the walk; `make security` goes 10,000 steps."""

from __future__ import annotations

import os
from typing import Any

import pytest

from portal.accounts import tokens
from tests.access_matrix import people
from tests.cast import Cast
from tests.security.hostile import Walk, hostile_things, quiet

pytestmark = pytest.mark.django_db
STEPS = int(os.environ.get("WINNOW_STEPS", "300"))
SEED = int(os.environ.get("WINNOW_SEED", "7"))


def test_no_address_breaks_on_hostile_values(cast: Cast, settings: Any) -> None:
    settings.ACCOUNT_RATE_LIMITS = False
    things = hostile_things(cast)
    secret = tokens.make(site=cast.north, name="a program", days=1, actor=cast.alice)[1]
    walk = Walk(cast, things, people(cast), secret, SEED)
    with quiet():
        walk.learn()
        for _ in walk.steps(STEPS):
            pass
    assert not walk.found.broken, "\n".join(f"{place}\n    {said}" for place, said in walk.found.broken.items())
    assert walk.found.cases > STEPS
