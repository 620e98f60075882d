"""A file's name in a tombstone: tells again the same file of the same site, and gives nothing else away without the key."""

from __future__ import annotations

from django.utils.crypto import salted_hmac


def of(site_id: int, sha256: str) -> str:
    """Keyed by SECRET_KEY: an installation that changes it takes erased files in again."""
    return salted_hmac("winnow.erased", f"{site_id}:{sha256}", algorithm="sha256").hexdigest()
