"""Celery is the doorbell: tasks carry no data, keep no results, and may be lost or doubled.

The schedule is static and its file is a cache that may be deleted: everything a beat does is also safe to skip or to do twice.
"""

import os

from celery import Celery
from django_structlog.celery.steps import DjangoStructLogInitStep

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings")

app = Celery("winnow")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks(["portal.pipeline"])
app.steps["worker"].add(DjangoStructLogInitStep)
"""Lines of a worker's log name the task that they come from. (Nothing of a request goes along: a bell stands for nobody's work.)"""


def _every(seconds: float, task: str) -> dict[str, object]:
    # a beat that nobody heard in time is worth nothing: the next one comes
    return {"task": f"portal.pipeline.tasks.{task}", "schedule": seconds, "options": {"queue": "beat", "expires": max(2 * seconds, 30)}}


app.conf.beat_schedule = {
    "ring": _every(5, "ring"),
    "sweep": _every(10, "sweep"),
    "seal_audit": _every(60, "seal_audit"),
    "check_invariants": _every(3600, "check_invariants"),
    "finish_arrivals": _every(60, "finish_arrivals"),
    "sweep_incoming": _every(3600, "sweep_incoming"),
    "gather_known": _every(3600, "gather_known"),
    "judge_what_earns": _every(600, "judge_what_earns"),
    "remind_readers": _every(3600, "remind_readers"),
    "walk_chain": _every(86_400, "walk_chain"),
    "check_stores": _every(3600, "check_stores"),
    "measure_readers": _every(600, "measure_readers"),
}
