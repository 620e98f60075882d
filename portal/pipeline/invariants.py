"""What must never be found across rooms; and the one place that runs every room's list (format: `portal.jobs.invariants`)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any

from django.apps import apps
from django.db import connection
from django.utils.module_loading import module_has_submodule

from portal.images import selectors as images

SHOWN = 20
Rows = Sequence[Any]
HARMLESS = frozenset({"blobs.blob_without_row"})
"""What a `kill -9` may leave behind: a file whose sender never got an answer and will send it again. Told, not alarmed at."""

_IN_WORK = "EXISTS (SELECT FROM jobs_job j WHERE j.kind = '{kind}' AND j.subject_id = {row}.id AND j.state IN ('queued', 'claimed'))"
_AUDITED = "EXISTS (SELECT FROM audit_auditevent e WHERE e.subject_type = '{label}' AND e.subject_id = {row}.id)"


def _without_work(table: str, condition: str, kind: str) -> str:
    return f"SELECT x.id FROM {table} x WHERE {condition} AND NOT " + _IN_WORK.format(kind=kind, row="x")  # noqa: S608  # nosec B608 # constants


def _unaudited(table: str, label: str) -> str:
    return f"SELECT x.id FROM {table} x WHERE NOT " + _AUDITED.format(label=label, row="x")  # noqa: S608  # nosec B608 # constants of this file


_UNPACKING = "EXISTS (SELECT FROM images_uploadfile f WHERE f.id = x.file_id AND f.outcome = 'unpacking')"
INVARIANTS = {
    # lost: in a state that a worker should take up, and nothing queued that would
    "lost.archive_without_unpack": _without_work("images_archive", _UNPACKING, "unpack"),
    "lost.received_without_sanitise": _without_work("images_image", "x.state = 'received'", "sanitise"),
    "lost.clean_without_analyse": _without_work("images_image", "x.state = 'clean'", "analyse"),
    "lost.likeness_without_compare": """
        SELECT x.image_id FROM images_likeness x WHERE x.compared IS NULL AND NOT EXISTS (
            SELECT FROM jobs_job j WHERE j.kind = 'compare' AND j.subject_id = x.image_id AND j.state IN ('queued', 'claimed'))""",
    "lost.snapshot_without_freeze": _without_work("datasets_snapshot", "x.state = 'writing'", "freeze"),
    "lost.run_without_train": _without_work("learning_trainingrun", "x.state IN ('queued', 'running')", "train"),
    "lost.evaluation_without_evaluate": _without_work("learning_evaluation", "x.state IN ('queued', 'running')", "evaluate"),
    # stuck: between two states that are written in one transaction
    "stuck.analysed_without_triage": "SELECT id FROM images_image WHERE state = 'analysed'",
    "stuck.accepted_without_label": """
        SELECT i.id FROM images_image i WHERE i.state IN ('accepted', 'settled')
        AND NOT EXISTS (SELECT FROM labels_label l WHERE l.image_id = i.id AND l.current)""",
    "stuck.in_review_without_task": """
        SELECT i.id FROM images_image i WHERE i.state = 'in_review' AND NOT EXISTS (
            SELECT FROM reviews_reviewtask t WHERE t.image_id = i.id AND t.purpose = 'review' AND t.state IN ('open', 'adjudication'))""",
    "stuck.open_task_of_image_out": """
        SELECT t.id, i.id FROM reviews_reviewtask t JOIN images_image i ON i.id = t.image_id
        WHERE t.state IN ('open', 'adjudication') AND i.state IN ('withdrawn', 'erased', 'rejected')""",
    "stuck.judged_without_assessment": """
        SELECT i.id FROM images_image i WHERE i.state IN ('accepted', 'in_review') AND NOT EXISTS (
            SELECT FROM analyses_assessment s WHERE s.image_id = i.id AND s.current)""",
    "stuck.failed_without_reason": "SELECT id FROM images_image WHERE state IN ('failed', 'rejected') AND state_reason = ''",
    # doubled: the database refuses these; should a constraint be missing, this says so
    "doubled.labels": "SELECT image_id, count(*) FROM labels_label WHERE current GROUP BY image_id HAVING count(*) > 1",
    "doubled.tasks": """
        SELECT image_id, count(*) FROM reviews_reviewtask WHERE state IN ('open', 'adjudication') AND purpose = 'review'
        GROUP BY image_id HAVING count(*) > 1""",
    "doubled.images": "SELECT min(id), site_id, sha256 FROM images_image GROUP BY site_id, sha256 HAVING count(*) > 1",
    "doubled.cleaned": """
        SELECT subject_id, count(*) FROM audit_auditevent e WHERE action = 'image.cleaned' AND NOT EXISTS (
            SELECT FROM audit_auditevent r WHERE r.action IN ('image.retried', 'image.returned') AND r.subject_id = e.subject_id)
        GROUP BY subject_id HAVING count(*) > 1""",
    # unaudited: a row that was made or changed without a word in the audit log
    "unaudited.image": _unaudited("images_image", "images.Image"),
    "unaudited.upload": _unaudited("images_upload", "images.Upload"),
    "unaudited.label": _unaudited("labels_label", "labels.Label"),
    "unaudited.task": _unaudited("reviews_reviewtask", "reviews.ReviewTask"),
    "unaudited.snapshot": _unaudited("datasets_snapshot", "datasets.Snapshot"),
    "unaudited.run": _unaudited("learning_trainingrun", "learning.TrainingRun"),
    "unaudited.evaluation": _unaudited("learning_evaluation", "learning.Evaluation"),
    "unaudited.version": _unaudited("registry_modelversion", "registry.ModelVersion"),
    "unaudited.clean": """
        SELECT i.id FROM images_image i WHERE i.clean_sha256 <> '' AND NOT EXISTS (
            SELECT FROM audit_auditevent e
            WHERE e.subject_type = 'images.Image' AND e.subject_id = i.id AND e.action = 'image.cleaned')""",
}
CHECKS: dict[str, Callable[[], Rows]] = {
    "blobs.row_without_blob": images.rows_without_blob,
    "blobs.blob_without_row": images.orphan_blobs,
}


def violations() -> dict[str, Rows]:
    """Every broken invariant of every room by name, with the first rows that break it."""
    queries, checks = collect()
    found: dict[str, Rows] = {name: _first(query) for name, query in queries.items()}
    found |= {name: list(check())[:SHOWN] for name, check in checks.items()}
    return {name: rows for name, rows in found.items() if rows}


def collect() -> tuple[dict[str, str], dict[str, Callable[[], Rows]]]:
    """The queries and the checks of all rooms; a name is used once."""
    queries: dict[str, str] = {}
    checks: dict[str, Callable[[], Rows]] = {}
    for room in apps.get_app_configs():
        if not room.name.startswith("portal.") or not module_has_submodule(room.module, "invariants"):
            continue
        module = import_module(f"{room.name}.invariants")
        new = {**getattr(module, "INVARIANTS", {}), **getattr(module, "CHECKS", {})}
        if twice := new.keys() & (queries.keys() | checks.keys()):
            raise ValueError(f"{room.name}.invariants uses names that another room uses: {sorted(twice)}")
        queries |= getattr(module, "INVARIANTS", {})
        checks |= getattr(module, "CHECKS", {})
    return queries, checks


def _first(query: str) -> Rows:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT * FROM ({query}) AS broken LIMIT {SHOWN}")  # noqa: S608  # nosec B608 # queries of our own modules
        return list(cursor.fetchall())
