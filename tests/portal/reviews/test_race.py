"""Eight readers at once on sixty tasks: nobody too many, nothing twice, nothing left."""

from __future__ import annotations

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connection
from django.db.models import Count

from portal.accounts.models import Role, User
from portal.images.models import Image
from portal.labels.models import Label
from portal.reviews.models import Lease, Read, ReviewTask
from portal.reviews.services import Answer, lease_next, submit_read
from tests.cast import Cast, make_cast, make_image, make_task, make_user
from tests.portal.reviews.looks import over_assigned
from tests.portal.reviews.race import run

pytestmark = pytest.mark.django_db(transaction=True)
READERS, TASKS = 8, 60


@pytest.fixture
def cast(transactional_db: None) -> Cast:
    return make_cast()


def test_eight_readers_share_sixty_tasks(cast: Cast) -> None:
    for k in range(TASKS):
        task = ReviewTask.objects.get(image=make_image(cast.north, state="in_review"))
        ReviewTask.objects.filter(pk=task.pk).update(reads_needed=1 + k % 2)
    readers = [make_user(f"reader{n}", (Role.READER, None)) for n in range(READERS)]
    crowded: list[int] = []
    start = threading.Barrier(READERS)

    def work(reader: User) -> int:
        start.wait()
        count = 0
        idle = 0
        while idle < 3:
            lease = lease_next(reader=reader)
            if lease is None:
                idle += 1
                continue
            crowded.extend(over_assigned())
            submit_read(task=lease.task, reader=reader, answer=Answer("regular"))
            count += 1
        connection.close()
        return count

    with ThreadPoolExecutor(READERS) as pool:
        counts = list(pool.map(work, readers))
    assert crowded == []
    assert sum(counts) == TASKS * 3 // 2
    assert Counter(Read.objects.values_list("task__reads_needed", flat=True)) == {1: TASKS // 2, 2: TASKS}
    assert ReviewTask.objects.filter(state="closed").count() == TASKS
    assert Image.objects.filter(state="settled").count() == TASKS
    assert Label.objects.filter(current=True).count() == TASKS
    assert not Lease.objects.filter(ended__isnull=True).exists()


def test_one_reader_in_many_tabs_holds_one_picture(cast: Cast) -> None:
    for _ in range(4):
        make_task(cast.north)

    def tab(_: int) -> int | None:
        lease = lease_next(reader=cast.rita)
        connection.close()
        return lease.pk if lease else None

    with ThreadPoolExecutor(6) as pool:
        assert len(set(pool.map(tab, range(12)))) == 1
    assert Lease.objects.count() == 1


def test_a_double_click_records_one_answer(cast: Cast) -> None:
    task = make_task(cast.north)
    ReviewTask.objects.filter(pk=task.pk).update(reads_needed=2)
    lease_next(reader=cast.rita)

    def click(_: int) -> str:
        try:
            submit_read(task=task, reader=cast.rita, answer=Answer("regular"))
        except Exception as error:
            return getattr(error, "code", "broken")
        finally:
            connection.close()
        return "recorded"

    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(click, range(4))) == ["already_answered"] * 3 + ["recorded"]
    assert Read.objects.values("task").annotate(n=Count("pk")).get()["n"] == 1


def test_six_processes_share_sixty_tasks_with_all_that_readers_do(cast: Cast) -> None:
    """The short form of `make race`."""
    result = run(cast, readers=6, tasks=60)
    assert not result.faults, result
    assert result.not_closed == 0
    assert result.answers >= 100
    assert result.looks >= 3
