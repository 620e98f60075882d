"""All that is written of a file that is new, by one statement: its image, its row, its work, its event, and its place among what the site
holds. Nearly every file goes this way; one by one the same five statements took half the time of taking a file in (docs/LOG.md)."""

from __future__ import annotations

from django.db import connection

from portal.audit.services import part_values, record_part
from portal.images import room, storage
from portal.images.models import FileOutcome, Image, Upload, UploadFile
from portal.jobs import bell, turns

_NAMELESS = "WHERE NOT EXISTS (SELECT FROM images_uploadfile WHERE upload_id = %(upload_id)s AND upper(name) = upper(%(original_name)s))"
_TAKE = f"""
WITH image AS ({room.INSERT.format(condition=_NAMELESS)}),
file AS (
    INSERT INTO images_uploadfile (upload_id, name, image_id, outcome, message, table_error, patient_code, exam_code, device, stated_kind)
    SELECT %(upload_id)s, %(original_name)s, id, %(outcome)s, '', '', '', '', '', '' FROM image RETURNING id, created
),
job AS ({turns.put_part("image")}),
event AS ({record_part("image")}),
counted AS ({room.COUNT.format(source="FROM image")})
SELECT image.id, image.created, file.id, file.created FROM image, file
"""  # noqa: S608  # nosec B608 # parts that are constants


def take_new(upload: Upload, name: str, spooled: storage.Spooled, actor_id: int) -> UploadFile | None:
    """The row of a file whose bytes its site has not sent and whose name no row of its upload has, in a transaction that holds both.

    None, and nothing written, for any other."""
    known = room.values(upload, name, spooled)
    event = part_values(actor_id=actor_id, action="image.received", subject=Image, site_id=upload.site_id, upload=upload.pk)
    with connection.cursor() as cursor:
        cursor.execute(_TAKE, {**known, **event, "kind": "sanitise", "actor": actor_id, "outcome": FileOutcome.ACCEPTED.value})
        new = cursor.fetchone()
    if new is None:
        return None
    bell.ring_after_commit("sanitise")
    image = Image(id=new[0], created=new[1], **known)
    return UploadFile(id=new[2], created=new[3], upload=upload, name=name, outcome=FileOutcome.ACCEPTED, image=image)
