"""Secrets from files, as Docker and systemd hand them over: `SECRET_KEY_FILE=/run/secrets/key` stands for SECRET_KEY."""

from __future__ import annotations

from collections.abc import MutableMapping
from pathlib import Path

SECRETS = (
    "SECRET_KEY", "DATABASE_URL", "DATABASE_OWNER_URL", "REDIS_URL", "OIDC_CLIENT_SECRET", "EMAIL_HOST_PASSWORD", "AWS_SECRET_ACCESS_KEY",
)  # fmt: skip
"""The variables that hold, or may hold, a password."""


def adopt(environ: MutableMapping[str, str]) -> None:
    """Put the content of each `<NAME>_FILE` in the place of NAME. ValueError where the file cannot be read, or both are set."""
    for name in SECRETS:
        path = environ.get(f"{name}_FILE")
        if not path:
            continue
        if environ.get(name) and environ[name] != _read(name, path):
            raise ValueError(f"{name} and {name}_FILE are both set, and differ. Keep one of them.")
        environ[name] = _read(name, path)


def _read(name: str, path: str) -> str:
    try:
        found = Path(path).read_text().strip()
    except OSError as error:
        raise ValueError(f"{name}_FILE cannot be read ({error.strerror}). Check its place and its rights.") from error
    if not found:
        raise ValueError(f"{name}_FILE is empty.")
    return found
