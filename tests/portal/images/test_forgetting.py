"""Tables that nobody applied go by themselves; rows that wait for a file too long are asked about and removed by a person."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from portal.audit.models import AuditEvent
from portal.images import applying, forgetting, services, tables
from portal.images.dry_run import dry_run
from portal.images.models import MetadataTable, Upload, UploadFile
from portal.pipeline import tasks
from tests.cast import Cast
from tests.portal.images.conftest import Send

pytestmark = pytest.mark.django_db
LONG_AGO = timezone.now() - timedelta(days=15)


def hold(cast: Cast, upload: Upload | None, rows: int = 1) -> MetadataTable:
    lines = "".join(f"{n}.jpg,P1,Ola Nordmann\n" for n in range(rows))
    data = f"file,patient,name of the patient\n{lines}".encode()
    return tables.hold_table(site=cast.north, upload=upload, data=data, name="may.csv", actor=cast.alice)


def test_a_table_that_nobody_applied_is_forgotten_and_its_site_is_told(cast: Cast, upload: Upload) -> None:
    old, asked = hold(cast, None), hold(cast, upload, rows=applying.SHORT + 1)
    applying.apply_held(held=asked, seen=dry_run(asked).digest, actor=cast.alice)
    fresh = hold(cast, upload)
    MetadataTable.objects.filter(pk__in=[old.pk, asked.pk]).update(created=LONG_AGO)
    tasks.sweep_incoming()
    held = {one.pk: bool(one.cells) for one in MetadataTable.objects.all()}
    assert held == {old.pk: False, asked.pk: True, fresh.pk: True}
    (event,) = AuditEvent.objects.filter(action="table.forgotten")
    assert (event.subject_id, event.site_id, event.actor_id) == (old.pk, cast.north.pk, None)
    page = cast.client(cast.lena).get(f"/sites/{cast.north.pk}/table/").content.decode()
    assert "It was held for 14 days and not applied, and is forgotten." in page
    assert cast.client(cast.alice).get(f"/tables/{old.pk}/").status_code == 409
    assert forgetting.forget_tables() == 0


def test_rows_that_wait_too_long_are_asked_about_and_removed_by_a_person(cast: Cast, upload: Upload, send: Send) -> None:
    arrived = send("here.jpg")
    services.apply_table(upload=upload, table_bytes=b"file,patient\nhere.jpg,P1\ngone.jpg,P2\nlate.jpg,P3\n", actor=cast.alice)
    alice, own = cast.client(cast.alice), f"/uploads/{upload.pk}/"
    assert "have waited for their file since" not in alice.get(own).content.decode()
    assert alice.post(f"{own}rows/forget/").status_code == 409
    UploadFile.objects.filter(name__in=["here.jpg", "gone.jpg"]).update(created=LONG_AGO)
    assert f"have waited for their file since {LONG_AGO:%-d %b %Y}" in alice.get(own).content.decode()
    assert cast.client(cast.bob).post(f"{own}rows/forget/").status_code == 404
    page = alice.post(f"{own}rows/forget/", follow=True).content.decode()
    assert "Removed: 1 row of the table without a file." in page
    assert set(upload.files.values_list("name", "patient_code")) == {("here.jpg", "P1"), ("late.jpg", "P3")}
    assert upload.files.get(pk=arrived.pk).image_id
    event = AuditEvent.objects.get(action="upload.rows_forgotten")
    assert (event.subject_id, event.actor_id, event.details) == (upload.pk, cast.alice.pk, {"rows": 1})
