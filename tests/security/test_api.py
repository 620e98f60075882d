"""The API does what its schema says, whoever asks. The short form; `make security` asks 10,000 times."""

from __future__ import annotations

import os

import pytest

from tests.access_matrix import make_things, people
from tests.cast import Cast
from tests.security.contract import Tally, callers, drive, operations

pytestmark = pytest.mark.django_db
EACH = int(os.environ.get("WINNOW_CASES", "3"))
SEED = 7


def test_every_operation_answers_every_caller_as_the_schema_says(cast: Cast) -> None:
    who = callers(cast, people(cast))
    every = operations(who)
    tally = Tally()
    for _ in drive([(operation, caller) for caller in who for operation in every], make_things(cast), each=EACH, number=SEED, tally=tally):
        pass
    assert not tally.faults, "\n\n".join(f"{fault}\n{example}" for fault, example in tally.faults.items())
    assert tally.cases > len(who) * len(every), tally
