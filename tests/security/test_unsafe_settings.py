"""Outside development nothing starts with settings that are not safe; each refusal says what to do."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured

from portal.core import safety
from tests.security.conftest import Read
from tests.security.production import PRODUCTION

ROOT = Path(__file__).resolve().parent.parent.parent
OIDC: dict[str, str | None] = {
    "OIDC_SERVER_URL": "https://id.example.org",
    "OIDC_CLIENT_ID": "winnow",
    "OIDC_CLIENT_SECRET": "s3cr3t-of-the-clinic",
}
STORE: dict[str, str | None] = {
    "WINNOW_STORE": "s3", "WINNOW_S3_ORIGINALS": "originals", "WINNOW_S3_CLEAN": "clean", "WINNOW_S3_ENDPOINT": "https://store.example.org",
    "AWS_ACCESS_KEY_ID": "winnow", "AWS_SECRET_ACCESS_KEY": "s3cr3t-of-the-store",
}  # fmt: skip
UNSAFE: dict[str, dict[str, str | None]] = {
    "store unknown": {"WINNOW_STORE": "tape"},
    "object store without buckets": STORE | {"WINNOW_S3_CLEAN": ""},
    "object store in the clear": STORE | {"WINNOW_S3_ENDPOINT": "http://store.example.org"},
    "SECRET_KEY missing": {"SECRET_KEY": None},
    "SECRET_KEY weak": {"SECRET_KEY": "short"},
    "SECRET_KEY of an example": {"SECRET_KEY": "django-insecure-" + PRODUCTION["SECRET_KEY"]},
    "ALLOWED_HOSTS empty": {"ALLOWED_HOSTS": ""},
    "ALLOWED_HOSTS any": {"ALLOWED_HOSTS": "winnow.example.org,*"},
    "CSRF_TRUSTED_ORIGINS plain": {"CSRF_TRUSTED_ORIGINS": "http://winnow.example.org"},
    "faults armed": {"WINNOW_FAULTS": "after_claim=kill:0.01"},
    "database password weak": {"DATABASE_URL": "postgres://winnow_app:postgres@db.example.org/winnow"},
    "database role owns": {"DATABASE_URL": "postgres://winnow_owner:b7c1f0aa@db.example.org/winnow"},
    "mail to the log": {"EMAIL_BACKEND": "django.core.mail.backends.console.EmailBackend"},
    "mail in the clear": {"EMAIL_HOST": "mail.example.org", "EMAIL_USE_TLS": "0"},
    "administrators without second factor": {"WINNOW_SECOND_FACTOR": "reader"},
    "re-authentication off": {"WINNOW_REAUTHENTICATE_MINUTES": "0"},
    "throttles off": {"WINNOW_THROTTLES": "0"},
    "sessions without end": {"WINNOW_SESSION_IDLE_MINUTES": "100000"},
    "OIDC without TLS": OIDC | {"OIDC_SERVER_URL": "http://id.example.org"},
    "OIDC half set": OIDC | {"OIDC_CLIENT_SECRET": ""},
}
"""For each rule of `safety.RULES` one way to break it."""


def test_every_rule_has_a_way_to_break_it() -> None:
    assert UNSAFE.keys() == {rule.name for rule in safety.RULES}


def test_what_an_administrator_sets_is_safe(read_settings: Read) -> None:
    found = read_settings(**OIDC, **STORE)
    assert found["DEVELOPMENT"] is False
    assert found["SESSION_COOKIE_SECURE"]
    assert found["CSRF_COOKIE_SECURE"]
    assert found["SECURE_HSTS_SECONDS"] > 0
    assert not [word for words in found["CONTENT_SECURITY_POLICY"]["DIRECTIVES"].values() for word in words if "unsafe" in str(word)]


@pytest.mark.parametrize("rule", safety.RULES, ids=lambda rule: rule.name)
def test_an_unsafe_setting_refuses_the_start_and_says_what_to_do(read_settings: Read, rule: safety.Rule) -> None:
    with pytest.raises(ImproperlyConfigured, match=re.escape(rule.advice)):
        read_settings(**UNSAFE[rule.name])


def test_the_same_is_allowed_in_development(read_settings: Read) -> None:
    assert read_settings(WINNOW_DEVELOPMENT="1", **UNSAFE["throttles off"])["THROTTLES"] is False


def test_the_administrators_page_lists_every_refusal() -> None:
    text = (ROOT / "docs" / "administrator.md").read_text()
    assert [rule.name for rule in safety.RULES if f"| {rule.name} |" not in text] == []


def _run(environ: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    return subprocess.run([sys.executable, *arguments], cwd=ROOT, env=kept | environ, capture_output=True, text=True)


def test_a_process_with_an_unsafe_setting_does_not_start(tmp_path: Path) -> None:
    done = _run({**PRODUCTION, "ALLOWED_HOSTS": "*", "WINNOW_VAR": str(tmp_path)}, "-c", "import portal.wsgi")
    assert done.returncode != 0
    assert "ALLOWED_HOSTS=* takes every name" in done.stderr


def test_check_deploy_finds_nothing(tmp_path: Path) -> None:
    """The same as `make security` asks, with the settings of docs/administrator.md."""
    done = _run({**PRODUCTION, "WINNOW_VAR": str(tmp_path)}, "manage.py", "check", "--deploy", "--fail-level", "WARNING")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", ["SECRET_KEY", "DATABASE_URL", "REDIS_URL", "OIDC_CLIENT_SECRET"])
def test_a_secret_comes_from_a_file(read_settings: Read, tmp_path: Path, name: str) -> None:
    value = str({**PRODUCTION, **OIDC}[name])
    (tmp_path / "secret").write_text(value + "\n")
    found = read_settings(**{**OIDC, name: None, f"{name}_FILE": str(tmp_path / "secret")})
    assert found[name] == value


@pytest.mark.parametrize(
    ("content", "beside", "said"), [(None, None, "cannot be read"), ("", None, "is empty"), ("one", "another" * 10, "both set")]
)
def test_a_secret_file_that_cannot_be_used_refuses_the_start(
    read_settings: Read, tmp_path: Path, content: str | None, beside: str | None, said: str
) -> None:
    if content is not None:
        (tmp_path / "secret").write_text(content)
    more: dict[str, Any] = {"SECRET_KEY": beside, "SECRET_KEY_FILE": str(tmp_path / "secret")}
    with pytest.raises(ImproperlyConfigured, match=said):
        read_settings(**more)
