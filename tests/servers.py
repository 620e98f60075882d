"""A pytest plugin (`-p tests.servers`): a Postgres and a Redis of the tests' own, before Django reads its settings.

The server is the tests' alone, so its ordinary database is used as it is: worker processes started by a test need no other address.
"""

from __future__ import annotations

import atexit
import os
import shutil
import sys
import tempfile
from pathlib import Path

from portal.embedded import OWNER, Postgres, Redis

FOLDER = Path(tempfile.mkdtemp(prefix="winnow-test-"))
FOLDER.chmod(0o755)
SETTINGS = {
    # A killed server loses nothing without them, only a machine without power
    "fsync": "off", "full_page_writes": "off",
    # Rows of tests are never committed: it would count them, find none, and the planner would join what is there row by row
    "autovacuum": "off" if "pytest" in sys.modules else "on",
}  # fmt: skip
postgres = Postgres(FOLDER / "pg", SETTINGS)
redis = Redis(FOLDER / "redis")


def _start() -> None:
    postgres.start()
    redis.start()
    (FOLDER / "var" / "static").mkdir(parents=True)
    os.environ |= {
        "WINNOW_DEVELOPMENT": "1",
        "DATABASE_URL": postgres.url(),
        "DATABASE_OWNER_URL": postgres.url(role=OWNER),
        "REDIS_URL": redis.url(),
        "WINNOW_VAR": str(FOLDER / "var"),
        "WINNOW_THROTTLES": "0",  # they have tests of their own
        # the tests' bundles know no device, and their sites have earned nothing: test_uncalibrated.py, test_earning.py
        "WINNOW_REVIEW_UNCALIBRATED": "0",
        "WINNOW_MISSED_SHARE": "",
        "WINNOW_AUDIT_SHARE": "0",
        "EMAIL_BACKEND": "django.core.mail.backends.locmem.EmailBackend",
        # playwright's loop runs in the tests' thread
        "DJANGO_ALLOW_ASYNC_UNSAFE": "1",
        # Other tests hold the other cores: threads that wait for one another in every small step would burn what they share
        **dict.fromkeys(("WINNOW_TORCH_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"),
    }


def _stop() -> None:
    postgres.stop()
    redis.stop()
    shutil.rmtree(FOLDER, ignore_errors=True)


_start()
atexit.register(_stop)
