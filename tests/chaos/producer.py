"""A sender that can be killed: `python -m tests.chaos.producer UPLOAD ACTOR FIRST LAST ACKS`.

Sends pictures FIRST to LAST by the ordinary service, as a web request does, and notes each in the file ACKS once it was accepted.
Started again it goes on where the notes end: what was under way is sent a second time, as a browser does.
"""

from __future__ import annotations

import io
import sys
import time
from pathlib import Path

import django

django.setup()

from django.db import DatabaseError, close_old_connections, connection  # noqa: E402

from portal.accounts.models import User  # noqa: E402
from portal.images import services  # noqa: E402
from portal.images.models import Upload, UploadFile  # noqa: E402
from tests.cast import picture_bytes  # noqa: E402


def main(upload_id: int, actor_id: int, first: int, last: int, acks: Path) -> None:
    known = len(acks.read_text().split()) if acks.exists() else 0
    with open(acks, "a", buffering=1) as notes:
        for number in range(first + known, last):
            row = _send(upload_id, actor_id, number)
            assert row.image is not None, row.message
            notes.write(f"{row.image.sha256}\n")


def _send(upload_id: int, actor_id: int, number: int) -> UploadFile:
    data = picture_bytes(seed=number)
    while True:
        try:
            upload, actor = Upload.objects.get(pk=upload_id), User.objects.get(pk=actor_id)
            return services.receive(upload=upload, file=io.BytesIO(data), name=f"{number}.jpg", actor=actor, size=len(data))
        except DatabaseError:
            # Postgres is away: the request failed, and a browser sends the file again
            connection.close()
            close_old_connections()
            time.sleep(0.3)


if __name__ == "__main__":
    upload, actor, first, last = map(int, sys.argv[1:5])
    main(upload, actor, first, last, Path(sys.argv[5]))
