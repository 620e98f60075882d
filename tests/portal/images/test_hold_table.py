"""A table that is asked to be applied at this moment is not emptied by another that takes its place, nor given up, nor read otherwise."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from django.db import transaction

from portal.core.errors import WrongState
from portal.images import applying, forgetting, table_jobs, tables
from portal.images.dry_run import dry_run
from portal.images.models import MetadataTable, Upload
from portal.jobs.models import Job
from portal.pipeline import runner
from portal.pipeline.handlers import HANDLERS
from tests.cast import Cast, make_image
from tests.portal.images.test_regroup import together

pytestmark = pytest.mark.django_db(transaction=True)
WAIT = 30.0


@pytest.fixture
def upload(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> Upload:
    """Of three images; a table of them is long here."""
    monkeypatch.setattr(applying, "SHORT", 1)
    first = make_image(cast.north, state="settled", name="0.jpg")
    for number in (1, 2):
        make_image(cast.north, state="settled", name=f"{number}.jpg", upload=first.upload)
    return first.upload


def hold(cast: Cast, upload: Upload, patient: str = "Q") -> MetadataTable:
    lines = "".join(f"{number}.jpg,{patient}{number}\n" for number in range(3))
    return tables.hold_table(site=cast.north, upload=upload, data=f"file,patient\n{lines}".encode(), name="may.csv", actor=cast.alice)


def while_open(act: Callable[[], object], meanwhile: Callable[[], object]) -> None:
    """`meanwhile` runs on another connection between what `act` does and its commit, and waits for nothing."""
    done, over = threading.Event(), threading.Event()

    def first() -> None:
        with transaction.atomic():
            act()
            done.set()
            assert over.wait(WAIT), "the other one waited for this"

    def second() -> None:
        assert done.wait(WAIT)
        try:
            meanwhile()
        finally:
            over.set()

    assert together(first, second) == []


def ask(cast: Cast, held: MetadataTable) -> None:
    assert applying.apply_held(held=held, seen=dry_run(held).digest, actor=cast.alice) is None


def test_one_that_is_being_asked_for_keeps_its_cells_whoever_comes(cast: Cast, upload: Upload, settings: Any) -> None:
    held = hold(cast, upload)

    def meanwhile() -> None:
        hold(cast, upload, "Z")
        settings.TABLE_DAYS = 0
        forgetting.forget_tables()
        settings.TABLE_DAYS = 14
        for act in (lambda: tables.give_up_table(held=held), lambda: tables.choose_sheet(held=held, sheet="x"), lambda: ask(cast, held)):
            with pytest.raises(WrongState, match="at this very moment"):
                act()

    while_open(lambda: ask(cast, held), meanwhile)
    held.refresh_from_db()
    assert held.cells
    assert Job.objects.get(kind=table_jobs.KIND).state == "queued"
    hold(cast, upload, "Y")
    with pytest.raises(WrongState, match="being applied"):
        tables.give_up_table(held=held)
    runner.drain(table_jobs.KIND, HANDLERS[table_jobs.KIND])
    held.refresh_from_db()
    assert held.applied
    assert upload.files.filter(patient_code__startswith="Q").count() == 3


def test_a_new_table_does_not_wait_for_one_that_a_worker_is_applying(cast: Cast, upload: Upload) -> None:
    held = hold(cast, upload)
    ask(cast, held)
    while_open(lambda: tables.apply_held(held=held, seen=None, actor=cast.alice), lambda: hold(cast, upload, "Z"))
    held.refresh_from_db()
    assert held.applied
    assert MetadataTable.objects.exclude(cells=b"").count() == 1


def test_one_that_gave_way_to_another_is_not_applied(cast: Cast, upload: Upload) -> None:
    held = hold(cast, upload)

    def meanwhile() -> None:
        with pytest.raises(WrongState, match="at this very moment"):
            ask(cast, held)

    while_open(lambda: hold(cast, upload, "Z"), meanwhile)
    with pytest.raises(WrongState, match="held no longer"):
        ask(cast, held)
    assert not Job.objects.filter(kind=table_jobs.KIND).exists()
