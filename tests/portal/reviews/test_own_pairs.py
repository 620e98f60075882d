"""A reader is told of agreement by the pairs that they are in: who answered third saw a disagreement of two others."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from portal.accounts.models import Role
from portal.reviews.models import ReviewTask
from portal.reviews.room import own
from tests.cast import Cast, make_read, make_task, make_user

pytestmark = pytest.mark.django_db


def test_a_third_reader_is_in_no_pair_of_two_others(cast: Cast) -> None:
    task, long_ago = make_task(cast.north), datetime.now(UTC) - timedelta(days=9)
    readers = [make_user(name, (Role.READER, None)) for name in ("one", "two", "three")]
    for reader, kind in zip(readers, ("regular", "green_filter", "regular"), strict=True):
        make_read(task, reader, kind, created=long_ago)
    ReviewTask.objects.filter(pk=task.pk).update(state="closed", reads_needed=3)
    assert [len(own.own_pairs(reader)) for reader in readers] == [1, 1, 0]
