"""No secret stands in the repository, and a check that could not be made is not taken for one that found nothing."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from tests.security import advisories, leaks
from tests.security.__main__ import NOT_MADE, ROOT, packages

PLANTED = (
    "-----BEGIN RSA " + "PRIVATE KEY-----",
    "token = 'winnow_" + "0f" * 32 + "'",
    "GH=ghp_" + "a1" * 18,
    "AKIA" + "A1B2C3D4E5F6G7H8",
    "DATABASE_URL=postgres://winnow_app:" + "s3cretword@db.clinic.org/winnow",
)


def test_the_repository_holds_no_key_and_no_token() -> None:
    files = leaks.repository(ROOT)
    assert len(files) > 500
    assert leaks.in_files(files) == []


def test_planted_secrets_are_found_without_being_repeated(tmp_path: Path) -> None:
    place = tmp_path / "settings.env"
    place.write_text("harmless\n" + "\n".join(PLANTED))
    found = leaks.in_files([place])
    assert [line.split(":")[1] for line in found] == ["2", "3", "4", "5", "6"]
    assert "s3cretword" not in "".join(found)


def test_a_service_that_keeps_no_advisories_is_not_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(advisories, "_pip_audit", lambda service, lock, *more: advisories.Said([]))
    outcome, lines = packages(argparse.Namespace())
    assert outcome == NOT_MADE
    assert ["keeps no advisories" in line for line in lines] == [True] * 3
