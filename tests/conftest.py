"""The database of the tests: made and flushed as the owner, used as the application's role, as in production."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import psycopg
import pytest
from whitenoise.middleware import WhiteNoiseMiddleware

from portal.embedded import OWNER
from tests import servers

ROOT = Path(__file__).resolve().parent.parent
REAL_DATA = Path(os.environ.get("WINNOW_REAL_DATA", ROOT.parent / "shared" / "data"))
_KEPT = {"django_migrations", "django_content_type", "auth_permission"}


_found: dict[tuple[str, ...], dict[str, Any]] = {}
_look = WhiteNoiseMiddleware.add_files_from_finders


def _look_once(self: WhiteNoiseMiddleware) -> None:
    """Every `Client` loads the middleware anew, and this one opens every static file: once is enough for the same folders and rules."""
    from django.conf import settings

    key = (self.static_prefix, str(self.max_age), *map(str, (settings.STATICFILES_DIRS, settings.STORAGES, settings.STATIC_ROOT)))
    if key not in _found:
        _look(self)
        _found[key] = self.files
    self.files = dict(_found[key])


WhiteNoiseMiddleware.add_files_from_finders = _look_once


@pytest.fixture(scope="session")
def django_db_setup(django_db_blocker: Any) -> None:
    from django.test import TransactionTestCase

    subprocess.run([sys.executable, "manage.py", "migrate", "-v0"], check=True, cwd=ROOT, env={**os.environ, "WINNOW_AS_OWNER": "1"})
    TransactionTestCase._fixture_teardown = lambda self: _truncate()  # type: ignore[attr-defined]


def _truncate() -> None:
    from django.db import connections

    connections.close_all()
    with psycopg.connect(servers.postgres.url(role=OWNER), autocommit=True) as db:
        tables = [row[0] for row in db.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")]
        names = ", ".join(f'"{name}"' for name in tables if name not in _KEPT)
        db.execute(f"TRUNCATE {names} RESTART IDENTITY CASCADE")


@pytest.fixture
def real_data() -> Path:
    """The folder of real images; its tests skip where it is absent."""
    if not (REAL_DATA / "manifest.csv").exists():
        pytest.skip("no real images here: set WINNOW_REAL_DATA to the folder of manifest.csv")
    return REAL_DATA


LONGEST = (
    *("browser/test_walk.py", "chaos/test_storm.py", "ops/test_up.py", "test_access_matrix.py", "training/test_train.py"),
    *(
        "training/test_folds.py",
        "security/test_non_interference.py",
        "browser/test_axe.py",
        "test_foreign_values.py",
        "browser/test_resume.py",
    ),
    *("chaos/test_poison.py", "browser/test_metadata.py", "training/test_parallel.py", "training/test_reproduce.py"),
    *("chaos/test_cuts.py", "training/test_quality.py", "browser/test_learning.py", "security/test_hostile_values.py"),
    *("portal/pipeline/test_workers.py", "security/test_api.py", "security/test_advisories.py", "portal/images/test_clean.py"),
)
"""Files by how long they take. They come first, and the short ones after them, so that neither of two processes waits for the other."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    place = {Path(__file__).parent / name: number for number, name in enumerate(LONGEST)}
    items.sort(key=lambda item: place.get(item.path, len(place)))
