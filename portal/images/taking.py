"""All that is written of a file that is new, by one statement: its image, its row, its work, its event, and its place among what the site
holds. Nearly every file goes this way; one by one the same five statements took half the time of taking a file in (docs/LOG.md)."""

from __future__ import annotations

from typing import Any

from django.db import connection

from portal.audit.services import part_values, record_part
from portal.images import room, storage
from portal.images.models import Arrival, FileOutcome, Image, Upload, UploadFile
from portal.jobs import bell, turns

_NAMELESS = "WHERE NOT EXISTS (SELECT FROM images_uploadfile WHERE upload_id = %(upload_id)s AND upper(name) = upper(%(original_name)s))"
_SENT = """,
sent AS (
    INSERT INTO images_arrival (id, upload_id, actor_id, name, mark, size, "offset", sha256, file_id)
    SELECT %(arrival)s, %(upload_id)s, %(actor)s, %(original_name)s, %(mark)s, %(size)s, %(size)s, %(sha256)s, id FROM file
)"""


def _statement(sent: str = "") -> str:
    return f"""
WITH image AS ({room.INSERT.format(condition=_NAMELESS)}),
file AS (
    INSERT INTO images_uploadfile (upload_id, name, image_id, outcome, message, table_error, patient_code, exam_code, device, stated_kind)
    SELECT %(upload_id)s, %(original_name)s, id, %(outcome)s, '', '', '', '', '', '' FROM image RETURNING id, created
),
job AS ({turns.put_part("image")}),
event AS ({record_part("image")}),
counted AS ({room.COUNT.format(source="FROM image")}){sent}
SELECT image.id, image.created, file.id, file.created FROM image, file
"""  # noqa: S608  # nosec B608 # parts that are constants


_ALONE, _WITH_ARRIVAL = _statement(), _statement(_SENT)


def take_new(upload: Upload, name: str, spooled: storage.Spooled, actor_id: int, sent: Arrival | None = None) -> UploadFile | None:
    """The row of a file whose bytes its site has not sent and whose name no row of its upload has, in a transaction that holds both;
    and the row of `sent`, which has none yet. None, and nothing written, for any other file."""
    known = room.values(upload, name, spooled)
    event = part_values(actor_id=actor_id, action="image.received", subject=Image, site_id=upload.site_id, upload=upload.pk)
    arrival = {"arrival": sent.pk, "mark": sent.mark} if sent else {}
    values: dict[str, Any] = {**known, **event, **arrival, "kind": "sanitise", "actor": actor_id, "outcome": FileOutcome.ACCEPTED.value}
    with connection.cursor() as cursor:
        cursor.execute(_WITH_ARRIVAL if sent else _ALONE, values)
        new = cursor.fetchone()
    if new is None:
        return None
    bell.ring_after_commit("sanitise")
    image = Image(id=new[0], created=new[1], **known)
    file = UploadFile(id=new[2], created=new[3], upload=upload, name=name, outcome=FileOutcome.ACCEPTED, image=image)
    if sent:
        sent.file, sent._state.adding = file, False
    return file
