"""A long table is applied by a worker: seen while it goes on, stopped, killed and taken up again, and never half done."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from typing import Any

import pytest
from django.apps import apps
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection

from portal.audit.models import AuditEvent
from portal.core.errors import WrongState
from portal.images import applying, services, table_jobs, tables
from portal.images.dry_run import dry_run
from portal.images.models import Correction, Exam, Image, MetadataTable, Patient, Upload, UploadFile
from portal.jobs import services as jobs
from portal.jobs.models import Job
from portal.pipeline import runner
from portal.pipeline.handlers import HANDLERS
from tests.cast import Cast, make_image
from tests.portal.images.test_regroup import together

pytestmark = pytest.mark.django_db(transaction=True)
ROWS = applying.SHORT + 700


@pytest.fixture
def images(cast: Cast) -> list[Image]:
    """So many of one upload that a table of them is long; rows alone, as a table opens no picture."""
    first = make_image(cast.north, state="settled", patient="P0", name="0.jpg")
    shas = [f"{number:064x}" for number in range(1, ROWS)]
    rows = [Image(site=cast.north, upload=first.upload, exam=first.exam, original_name=f"{n}.jpg", sha256=sha, size=1, state="settled",
                  clean_sha256=sha, clean_format="jpg") for n, sha in enumerate(shas, 1)]  # fmt: skip
    made = Image.objects.bulk_create(rows)
    UploadFile.objects.bulk_create(UploadFile(upload=first.upload, name=one.original_name, outcome="accepted", image=one) for one in made)
    return [first, *made]


def text(patient: str, rows: int = ROWS) -> bytes:
    return ("file,patient,exam\n" + "".join(f"{n}.jpg,{patient}{n // 4},V1\n" for n in range(rows))).encode()


def hold(cast: Cast, upload: Upload, patient: str = "Q", rows: int = ROWS) -> MetadataTable:
    return tables.hold_table(site=cast.north, upload=upload, data=text(patient, rows), name="may.csv", actor=cast.alice)


def ask(cast: Cast, held: MetadataTable) -> tables.Applied | None:
    return applying.apply_held(held=held, seen=dry_run(held).digest, actor=cast.alice)


def drain() -> None:
    runner.drain(table_jobs.KIND, HANDLERS[table_jobs.KIND])


def everything() -> dict[str, int]:
    """How many rows every table of the portal has, but for those that tell of work."""
    own = (model for model in apps.get_models() if model.__module__.startswith("portal.") and model not in (Job, AuditEvent))
    return {model._meta.label: model._default_manager.count() for model in own}


def placed(images: list[Image]) -> set[str]:
    rows = Exam.objects.filter(images__in=images).values_list("patient__code", flat=True)
    return {code[0] for code in rows}


def test_a_long_table_is_applied_by_a_worker_and_its_page_says_how_far_it_is_and_what_became_of_it(cast: Cast, images: list[Image]) -> None:
    alice = cast.client(cast.alice)
    held = hold(cast, images[0].upload)
    page = alice.get(f"/tables/{held.pk}/").content.decode()
    seen = re.search(r'name="seen" value="(\w+)"', page)
    assert seen
    page = alice.post(f"/tables/{held.pk}/apply/", {"seen": seen[1]}, follow=True).content.decode()
    assert "Waits for its turn: 1,200 rows" in page
    assert placed(images) == {"P"}
    upload = f"/uploads/{held.upload_id}/"
    assert "1,200 rows wait to be applied" in alice.get(upload).content.decode()
    drain()
    said = "1,200 rows read: 1,200 found their file, 0 wait for one, 0 have remarks. 1,200 images were corrected"
    for address in (f"/tables/{held.pk}/live/", f"/tables/{held.pk}/", upload):
        page = alice.get(address).content.decode()
        assert said in page, address
    assert "hx-get" not in alice.get(f"/tables/{held.pk}/live/").content.decode()
    assert (placed(images), Correction.objects.count()) == ({"Q"}, ROWS)
    event = AuditEvent.objects.get(action="upload.table_applied")
    assert (event.actor_id, event.details["rows"], event.details["versions"]) == (cast.alice.pk, ROWS, ROWS)
    assert AuditEvent.objects.filter(action="image.corrected", actor_id=cast.alice.pk).count() == ROWS


def test_a_short_table_is_applied_while_its_sender_waits_but_never_before_a_long_one_of_its_site(cast: Cast, images: list[Image]) -> None:
    upload = images[0].upload
    assert ask(cast, hold(cast, upload, "S", rows=3)) is not None
    assert not Job.objects.filter(kind=table_jobs.KIND).exists()
    assert ask(cast, hold(cast, upload, "Q")) is None
    assert ask(cast, hold(cast, upload, "R", rows=3)) is None
    first, second = jobs.claim(table_jobs.KIND, worker="a"), jobs.claim(table_jobs.KIND, worker="b")
    HANDLERS[table_jobs.KIND].work(second)
    assert placed(images[:1]) == {"S"}
    HANDLERS[table_jobs.KIND].work(first)
    assert placed(images[:1]) == {"Q"}
    Job.objects.filter(state="queued").update(not_before="2000-01-01T00:00Z")
    drain()
    later = MetadataTable.objects.latest("pk")
    assert later.refused == tables.CHANGED_SINCE
    assert "no longer what you saw" in cast.client(cast.alice).get(f"/tables/{later.pk}/").content.decode()
    assert ask(cast, later) is not None
    assert placed(images[:1]) == {"R"}


def test_how_far_it_is_can_be_read_while_it_goes_on_and_stopping_it_leaves_nothing(
    cast: Cast, images: list[Image], settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(applying, "_LOOK_SECONDS", 0.05)
    settings.FAULTS = "table_part=sleep:0.6"
    held = hold(cast, images[0].upload)
    ask(cast, held)
    before = everything()
    shown: list[applying.Work] = []

    def watch_and_stop() -> None:
        while not (shown and shown[-1].done):
            shown.append(applying.work_of(held))
            time.sleep(0.02)
        answer = cast.client(cast.alice).post(f"/tables/{held.pk}/stop/", follow=True)
        assert "being stopped" in answer.content.decode()

    assert together(drain, watch_and_stop) == []
    assert (shown[-1].done, shown[-1].of) == (1000, ROWS)
    assert (applying.work_of(held).state, everything()) == ("cancelled", before)
    page = cast.client(cast.alice).get(f"/tables/{held.pk}/").content.decode()
    assert "Nothing is written yet" in page
    settings.FAULTS = ""
    ask(cast, held)
    drain()
    assert placed(images) == {"Q"}


def test_one_that_waits_is_stopped_at_once_and_cannot_be_given_up_or_asked_for_twice(cast: Cast, images: list[Image]) -> None:
    held = hold(cast, images[0].upload)
    ask(cast, held)
    for refused in (lambda: ask(cast, held), lambda: tables.give_up_table(held=held), lambda: tables.choose_sheet(held=held, sheet="x")):
        with pytest.raises(WrongState, match="being applied"):
            refused()
    hold(cast, images[0].upload, "Z")
    held.refresh_from_db()
    assert held.cells
    applying.stop(held=held, actor=cast.alice)
    drain()
    assert placed(images) == {"P"}
    with pytest.raises(WrongState, match="not being applied any more"):
        applying.stop(held=held, actor=cast.alice)


def test_a_killed_worker_leaves_nothing_and_the_next_one_applies_it_once(cast: Cast, images: list[Image]) -> None:
    held = hold(cast, images[0].upload)
    ask(cast, held)
    before = everything()
    command = "from portal.pipeline.tasks import drain; drain('apply_table')"
    run = [sys.executable, "manage.py", "shell", "-c", command]
    died = subprocess.run(run, env=os.environ | {"WINNOW_FAULTS": "table_part=kill"}, capture_output=True)
    assert died.returncode == -9
    assert everything() == before
    Job.objects.update(lease_until="2000-01-01T00:00Z")
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_stat_activity WHERE state = 'idle in transaction'")
        assert cursor.fetchone()[0] == 0
    jobs.sweep()
    drain()
    assert (placed(images), Correction.objects.count(), Patient.objects.filter(code__startswith="Q").count()) == ({"Q"}, ROWS, ROWS // 4)
    assert Job.objects.get(kind=table_jobs.KIND).deaths == 1


def test_a_long_table_that_comes_with_the_files_is_told_as_being_applied_and_places_files_that_come_later(cast: Cast) -> None:
    upload = services.open_upload(site=cast.north, actor=cast.alice)
    alice = cast.client(cast.alice)
    sent = {"table": SimpleUploadedFile("t.csv", text("T"))}
    answer = alice.post(f"/uploads/{upload.pk}/table/", sent, headers={"Accept": "application/json"})
    said = answer.json()
    assert (answer.status_code, said["rows"], said["errors"]) == (202, ROWS, [])
    assert said["notices"] == ["The table has 1,200 rows. It is being applied now; the upload's page shows how far it is."]
    drain()
    assert upload.files.filter(outcome="expected", patient_code="T0").count() == 4
    held = MetadataTable.objects.get()
    assert (held.rows, held.said["waiting"], bytes(held.cells)) == (ROWS, ROWS, b"")
    refused = alice.post(f"/uploads/{upload.pk}/table/", {"table": SimpleUploadedFile("t.csv", b"colour\n" + b"red\n" * ROWS)})
    assert refused.status_code == 400


def test_what_somebody_changed_meanwhile_is_told_on_the_page_and_on_the_uploads(cast: Cast, images: list[Image]) -> None:
    held = hold(cast, images[0].upload)
    ask(cast, held)
    services.cancel_upload(upload=images[0].upload, actor=cast.alice)
    drain()
    alice = cast.client(cast.alice)
    assert "This upload was cancelled. Start a new one." in alice.get(f"/tables/{held.pk}/live/").content.decode()
    assert "Table may.csv was not applied. This upload was cancelled." in alice.get(f"/uploads/{held.upload_id}/").content.decode()
    assert AuditEvent.objects.filter(action="table.refused", site_id=cast.north.pk).count() == 1


def test_work_that_fails_thrice_holds_the_table_as_it_was(cast: Cast, images: list[Image], settings: Any) -> None:
    settings.FAULTS = "table_part=raise"
    held = hold(cast, images[0].upload)
    ask(cast, held)
    for _ in range(3):
        Job.objects.filter(state="queued").update(not_before="2000-01-01T00:00Z")
        drain()
    held.refresh_from_db()
    assert (applying.work_of(held).state, held.refused, placed(images)) == ("failed", applying.FAILED, {"P"})
    settings.FAULTS = ""
    assert applying.FAILED in cast.client(cast.alice).get(f"/tables/{held.pk}/").content.decode()
    ask(cast, held)
    drain()
    assert placed(images) == {"Q"}
