"""What must not go into service outside development. Each rule says what is wrong and what to do; all that apply are told at once. Pure.

`refusals` gets the settings by name, and is asked at the end of portal/settings.py.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

Settings = Mapping[str, Any]
SHORTEST_KEY = 50
FEWEST_CHARACTERS = 10
_WEAK = {"", "postgres", "password", "winnow", "changeme", "secret", "admin", "test"}
_OWNERS = {"postgres", "winnow_owner"}
LOCAL = ("localhost", "127.0.0.1", "::1")
_UNSENT = ("console.EmailBackend", "filebased.EmailBackend", "locmem.EmailBackend")


@dataclass(frozen=True, slots=True)
class Rule:
    """`broken` is asked outside development alone."""

    name: str
    broken: Callable[[Settings], bool]
    advice: str


def _weak_password(settings: Settings) -> bool:
    found = settings["DATABASES"]["default"]
    return bool(found.get("HOST")) and not found["HOST"].startswith("/") and str(found.get("PASSWORD", "")).lower() in _WEAK


def _owner(settings: Settings) -> bool:
    if settings["AS_OWNER"]:
        return False
    user = str(settings["DATABASES"]["default"].get("USER", ""))
    return user in _OWNERS or (settings["DATABASE_OWNER_URL"] != settings["DATABASE_URL"] and user == settings["DATABASE_OWNER_ROLE"])


RULES: tuple[Rule, ...] = (
    Rule("store unknown", lambda s: s["STORE"] not in ("files", "s3"), "WINNOW_STORE must be `files` or `s3`."),
    Rule(
        "object store without buckets",
        lambda s: s["STORE"] == "s3" and not (s["S3_ORIGINALS"] and s["S3_CLEAN"] and s["S3_KEY"] and s["S3_SECRET"]),
        "WINNOW_STORE=s3 needs WINNOW_S3_ORIGINALS, WINNOW_S3_CLEAN, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (or ..._FILE).",
    ),
    Rule(
        "object store in the clear",
        lambda s: s["STORE"] == "s3" and s["S3_ENDPOINT"].startswith("http://"),
        "WINNOW_S3_ENDPOINT must begin with https://: photographs of patients go over it.",
    ),
    Rule(
        "SECRET_KEY missing", lambda s: s["SECRET_KEY"].startswith("development-only-"), "Set SECRET_KEY to at least 50 random characters."
    ),
    Rule(
        "SECRET_KEY weak",
        lambda s: len(s["SECRET_KEY"]) < SHORTEST_KEY or len(set(s["SECRET_KEY"])) < FEWEST_CHARACTERS,
        "SECRET_KEY is too short or not random: make a new one of at least 50 characters.",
    ),
    Rule(
        "SECRET_KEY of an example",
        lambda s: s["SECRET_KEY"].startswith("django-insecure"),
        "SECRET_KEY is a well-known one: make your own.",
    ),
    Rule("ALLOWED_HOSTS empty", lambda s: not s["ALLOWED_HOSTS"], "Set ALLOWED_HOSTS to the names by which browsers reach the portal."),
    Rule(
        "ALLOWED_HOSTS any",
        lambda s: "*" in s["ALLOWED_HOSTS"],
        "ALLOWED_HOSTS=* takes every name, so that a mailed link could lead anywhere: name the hosts.",
    ),
    Rule(
        "CSRF_TRUSTED_ORIGINS plain",
        lambda s: any(not origin.startswith("https://") or "*" in origin for origin in s["CSRF_TRUSTED_ORIGINS"]),
        "CSRF_TRUSTED_ORIGINS must begin with https:// and name hosts without *.",
    ),
    Rule("faults armed", lambda s: bool(s["FAULTS"]), "WINNOW_FAULTS arms faults on purpose: leave it out."),
    Rule("database password weak", _weak_password, "The password in DATABASE_URL is missing or well known: set a random one."),
    Rule(
        "database role owns",
        _owner,
        "DATABASE_URL connects as the role that owns the tables: use winnow_app, which cannot alter the audit trail.",
    ),
    Rule(
        "mail to the log",
        lambda s: s["EMAIL_BACKEND"].endswith(_UNSENT),
        "EMAIL_BACKEND writes one-time links where others read them: name a mail server, or leave it out.",
    ),
    Rule(
        "mail in the clear",
        lambda s: s["EMAIL_HOST"] not in LOCAL and not s["EMAIL_USE_TLS"],
        "EMAIL_USE_TLS=0 sends one-time links and the password of EMAIL_HOST_USER unprotected: leave it out.",
    ),
    Rule(
        "administrators without second factor",
        lambda s: not {"system_admin", "model_admin"} <= set(s["SECOND_FACTOR_ROLES"]),
        "WINNOW_SECOND_FACTOR must name system_admin and model_admin at least (or `all`).",
    ),
    Rule(
        "re-authentication off",
        lambda s: not 0 < s["REAUTHENTICATE_MINUTES"] <= 120,
        "WINNOW_REAUTHENTICATE_MINUTES must lie between 1 and 120.",
    ),
    Rule("throttles off", lambda s: not s["THROTTLES"], "WINNOW_THROTTLES=0 lets anybody guess without end: leave it out."),
    Rule(
        "sessions without end",
        lambda s: not (0 < s["SESSION_IDLE_SECONDS"] <= s["SESSION_COOKIE_AGE"] <= 30 * 86_400),
        "WINNOW_SESSION_HOURS must be at most 720, and WINNOW_SESSION_IDLE_MINUTES not longer than that.",
    ),
    Rule(
        "OIDC without TLS",
        lambda s: bool(s["OIDC_SERVER_URL"]) and urlsplit(s["OIDC_SERVER_URL"]).scheme != "https",
        "OIDC_SERVER_URL must begin with https://.",
    ),
    Rule(
        "OIDC half set",
        lambda s: bool(s["OIDC_SERVER_URL"]) != bool(s["OIDC_CLIENT_ID"] and s["OIDC_CLIENT_SECRET"]),
        "OIDC needs OIDC_SERVER_URL, OIDC_CLIENT_ID and OIDC_CLIENT_SECRET: set all three or none.",
    ),
)


def refusals(settings: Settings) -> list[str]:
    """What to do about each rule that is broken; empty where the portal may start."""
    return [rule.advice for rule in RULES if rule.broken(settings)]
