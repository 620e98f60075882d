"""A portal that has been at work for years, by COPY: sites, patients, exams, images, the machines' word, questions, answers, audit."""

from __future__ import annotations

import os
import random
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg

SITES, UPLOADS, AN_EXAM, EXAMS_A_PATIENT = 20, 1_000, 4, 2
READERS = 24
CLOSED = 0.4
"""Of the images so many have been read by two readers."""
_KINDS = ("regular", "green_filter", "lugol_iodine")
_YEARS = timedelta(days=700)
_BEGAN = datetime.now(UTC) - _YEARS


def superuser() -> psycopg.Connection[Any]:
    """Past triggers and foreign keys: what is filled in keeps them by itself."""
    db = psycopg.connect(os.environ["BENCH_SUPERUSER_URL"], autocommit=True)
    db.execute("SET session_replication_role = replica")
    return db


def fill(images: int) -> None:
    """Once: a database that holds as many images is left as it is."""
    with superuser() as db:
        row = db.execute("SELECT count(*) FROM images_image").fetchone()
        if row and row[0] >= images:
            return
        people = _people()
        _places(db, images)
        _images(db, images)
        _machines(db, images)
        _read(db, int(images * CLOSED), people)
        for table in ("images_image", "reviews_reviewtask", "reviews_read", "reviews_lease", "audit_auditevent", "labels_label",
                      "analyses_analysis", "analyses_assessment", "images_exam", "images_patient"):  # fmt: skip
            db.execute(f"SELECT setval(pg_get_serial_sequence('{table}', 'id'), GREATEST((SELECT max(id) FROM {table}), 1))")
        db.execute("VACUUM ANALYZE")
        db.execute("CHECKPOINT")


def _people() -> list[int]:
    from portal.accounts.models import Membership, Role, Site, User
    from portal.images.models import Upload
    from portal.registry.models import ModelVersion

    sites = [Site.objects.create(name=f"Site {n}", slug=f"site-{n}") for n in range(SITES)]
    uploader = User.objects.create(email="uploader@example.org")
    Upload.objects.bulk_create(Upload(site=sites[n % SITES], created_by=uploader) for n in range(UPLOADS))
    ModelVersion.objects.create(name="bench", bundle_path="bench", bundle_hash="0" * 64, state="champion")
    readers = [User.objects.create(email=f"reader-{n:02}@example.org") for n in range(READERS)]
    Membership.objects.bulk_create(Membership(user=user, role=Role.READER, site=sites[n % SITES]) for n, user in enumerate(readers))
    return [user.pk for user in readers]


def _copy(db: psycopg.Connection[Any], table: str, columns: str, rows: Iterable[Sequence[Any]]) -> None:
    with db.cursor() as cursor, cursor.copy(f"COPY {table} ({columns}) FROM STDIN") as copy:
        for row in rows:
            copy.write_row(row)


def _exam(image: int) -> int:
    return (image - 1) // AN_EXAM + 1


def _patient(exam: int) -> int:
    return (exam - 1) // EXAMS_A_PATIENT + 1


def site_of(patient: int) -> int:
    """Two fifths are of one site."""
    return 1 if patient % 5 < 2 else 1 + patient % SITES


def _when(number: int, of: int) -> datetime:
    return _BEGAN + _YEARS * (number / (of + 1))


def _places(db: psycopg.Connection[Any], images: int) -> None:
    exams = _exam(images)
    patients = _patient(exams)
    _copy(db, "images_patient", "id, site_id, code", ((n, site_of(n), f"P{n}") for n in range(1, patients + 1)))
    _copy(db, "images_exam", "id, patient_id, code", ((n, _patient(n), f"E{n}") for n in range(1, exams + 1)))


def _images(db: psycopg.Connection[Any], images: int) -> None:
    columns = (
        "id, created, site_id, exam_id, upload_id, original_name, sha256, size, format, state, state_reason, width, height, clean_sha256,"
        " clean_format, device, stated_kind"
    )
    _copy(db, "images_image", columns, (
        (n, _when(n, images), site := site_of(_patient(_exam(n))), _exam(n), site + SITES * (n % 40), f"photo-{n}.jpg", f"{n:064x}",
         2_500_000, "jpeg", "settled" if n % 5 < 2 else "accepted", "", 1600, 1200, f"{n:064x}", "jpg", f"Camera {site % 7}", "")
        for n in range(1, images + 1)
    ))  # fmt: skip


def _machines(db: psycopg.Connection[Any], images: int) -> None:
    dice = random.Random(5)
    analysis = (
        "id, image_id, version_id, detector_state, box, detector_score, other_boxes, probabilities, p_non_regular, kind,"
        " deep_sad_distance, deep_sad_rank, embedding, quality, colour, heat, route, reasons"
    )
    p = [dice.random() for _ in range(images + 1)]
    _copy(db, "analyses_analysis", analysis, (
        (n, n, 1, "found", [20.0, 10.0, 700.0, 800.0], 0.9, "[]", '{"regular": 0.5, "green_filter": 0.3, "lugol_iodine": 0.2}', p[n],
         _KINDS[n % 3], 0.4, 0.5, [], "{}", [], "{}", "review", [])
        for n in range(1, images + 1)
    ))  # fmt: skip
    assessment = "id, image_id, analysis_id, siblings, p_non_regular, kind, route, reasons, rule, current"
    _copy(db, "analyses_assessment", assessment, (
        (n, n, n, [], p[n], _KINDS[n % 3], "review", [], "{}", True) for n in range(1, images + 1)
    ))  # fmt: skip
    label = "id, image_id, kind, provenance, reasons, basis, current"
    _copy(db, "labels_label", label, (
        (n, n, _KINDS[n % 3], "consensus" if n % 5 < 2 else "automatic", [], "{}", True) for n in range(1, images + 1)
    ))  # fmt: skip


def _read(db: psycopg.Connection[Any], closed: int, people: list[int]) -> None:
    """The closed questions, two answers each, with their leases and the audit trail of both."""
    images = [n for n in range(1, int(closed / CLOSED) + 1) if n % 5 < 2][:closed]
    two = [(people[k % READERS], people[(k * 7 + 1) % READERS] if (k * 7 + 1) % READERS != k % READERS else people[(k + 2) % READERS])
           for k in range(READERS * 7)]  # fmt: skip
    count = len(images)
    tasks = [(k + 1, image, sorted(two[k % len(two)]), _when(k, count)) for k, image in enumerate(images)]
    _copy(db, "reviews_reviewtask",
          "id, created, image_id, site_id, readers, reasons, state, purpose, reads_needed, answered, priority, closed, note", (
        (pk, when, image, site_of(_patient(_exam(image))), readers, ["between_thresholds"], "closed", "review", 2, 2, 0.5, when, "")
        for pk, image, readers, when in tasks
    ))  # fmt: skip
    _copy(db, "reviews_read",
          "id, created, task_id, reader_id, version, current, undone, kind, reasons, note, role, seconds, revealed", (
        (2 * pk - 1 + side, when, pk, readers[side], 1, True, False, _KINDS[image % 3], [], "", "reader", 4.0, False)
        for pk, image, readers, when in tasks for side in (0, 1)
    ))  # fmt: skip
    _copy(db, "reviews_lease", "id, created, task_id, reader_id, token, until, ended, reserved", (
        (2 * pk - 1 + side, when, pk, readers[side], f"{2 * pk + side:043}", when, when, False)
        for pk, _, readers, when in tasks for side in (0, 1)
    ))  # fmt: skip
    _copy(db, "audit_auditevent", "created, actor_id, action, subject_type, subject_id, site_id, details", (
        (when, actor, action, subject, pk, site_of(_patient(_exam(image))), '{"lease": 1, "role": "reader", "version": 1}')
        for pk, image, readers, when in tasks
        for actor, action, subject in (
            (None, "open_task", "reviews.ReviewTask"), (readers[0], "lease", "reviews.ReviewTask"), (readers[0], "read", "reviews.Read"),
            (readers[1], "lease", "reviews.ReviewTask"), (readers[1], "read", "reviews.Read"), (None, "label", "labels.Label"),
            (readers[1], "image.settled", "images.Image"),
        )
    ))  # fmt: skip


_OPEN = """
WITH chosen AS (
    UPDATE images_image SET state = 'in_review' WHERE id IN (
        SELECT id FROM images_image WHERE state = 'accepted' ORDER BY hashint8(exam_id), id LIMIT %(count)s
    ) RETURNING id, site_id
)
INSERT INTO reviews_reviewtask (created, image_id, site_id, readers, reasons, state, purpose, reads_needed, answered, priority, note)
SELECT now() - random() * interval '30 days', id, site_id, '{}', '{between_thresholds}', 'open', 'review', 1 + id %% 2, 0, random(), ''
FROM chosen
"""
_ANSWERED = """
WITH chosen AS (
    UPDATE reviews_reviewtask SET readers = ARRAY[%(reader)s]::bigint[], answered = 1, reads_needed = 2 WHERE id IN (
        SELECT id FROM reviews_reviewtask AS task WHERE state = 'open' AND purpose = 'review' AND answered = 0
            AND NOT EXISTS (SELECT FROM reviews_lease WHERE task_id = task.id AND ended IS NULL)
        ORDER BY turn LIMIT %(count)s
    ) RETURNING id
), leased AS (
    INSERT INTO reviews_lease (task_id, reader_id, token, until, ended, reserved)
    SELECT id, %(reader)s, gen_random_uuid()::text, now(), now(), false FROM chosen
)
INSERT INTO reviews_read (created, task_id, reader_id, version, current, undone, kind, reasons, note, role, seconds, revealed)
SELECT now() - interval '1 day' - random() * interval '30 days', id, %(reader)s, 1, true, false, 'regular', '{}', '', 'reader', 4, false
FROM chosen
"""


def open_questions(waiting: int, *, heavy: int, answered: int) -> None:
    """So many open questions, of which this reader has answered so many: the first of the queue. What was there before is kept."""
    with superuser() as db:
        db.execute("UPDATE reviews_lease SET ended = now() WHERE ended IS NULL")
        row = db.execute("SELECT count(*), count(*) FILTER (WHERE answered = 1 AND readers = ARRAY[%s]::bigint[])"
                         " FROM reviews_reviewtask WHERE state = 'open'", [heavy]).fetchone()  # fmt: skip
        assert row is not None
        db.execute(_OPEN, {"count": max(0, waiting - row[0])})
        db.execute(_ANSWERED, {"count": max(0, answered - row[1]), "reader": heavy})
        db.execute("VACUUM ANALYZE reviews_reviewtask, reviews_lease, reviews_read")
        db.execute("ANALYZE images_image")
