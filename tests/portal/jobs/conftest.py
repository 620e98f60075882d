"""Helpers of the jobs' tests: expire a lease, take one claim, watch the bell."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.db.models.functions import Now

from portal.jobs import bell
from portal.jobs.kinds import KINDS
from portal.jobs.models import Job


@pytest.fixture
def rings(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The kinds that were rung for, in order."""
    rung: list[str] = []
    monkeypatch.setattr(bell, "_BELLS", {kind: lambda kind=kind: rung.append(kind) for kind in KINDS})
    return rung


@pytest.fixture
def expire() -> Callable[[], int]:
    """Let every lease run out, as when all workers died some time ago."""
    return lambda: Job.objects.filter(state="claimed").update(lease_until=Now() - timedelta(seconds=1))
