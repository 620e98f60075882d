"""The cast, and settings as they are in production where a test asks for them."""

from __future__ import annotations

import runpy
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.hashers import PBKDF2PasswordHasher
from django.core.cache import cache

from tests.cast import Cast, make_cast
from tests.security.production import PRODUCTION

PBKDF2PasswordHasher.iterations = 1_000
SETTINGS = Path(__file__).resolve().parent.parent.parent / "portal" / "settings.py"
Read = Callable[..., dict[str, Any]]


@pytest.fixture
def cast(db: None) -> Cast:
    return make_cast()


@pytest.fixture(autouse=True)
def _forget_counts() -> Iterator[None]:
    cache.clear()
    yield
    cache.clear()


@pytest.fixture
def read_settings(monkeypatch: pytest.MonkeyPatch) -> Read:
    """portal/settings.py as a production process would read it, with some variables otherwise (None: not set)."""

    def read(**otherwise: str | None) -> dict[str, Any]:
        for name in ("WINNOW_DEVELOPMENT", "DATABASE_OWNER_URL", "EMAIL_BACKEND", "WINNOW_THROTTLES", "WINNOW_FAULTS"):
            monkeypatch.delenv(name, raising=False)
        for name, value in {**PRODUCTION, **otherwise}.items():
            if value is None:
                monkeypatch.delenv(name, raising=False)
            else:
                monkeypatch.setenv(name, value)
        return runpy.run_path(str(SETTINGS))

    return read
