"""Which split a patient belongs to. Pure, and the same for ever: a test patient of today is never trained on tomorrow."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

SPLITS = ("train", "validation", "calibration", "test")
SHARES = (0.70, 0.10, 0.10, 0.10)
SALT = "winnow-2750"
"""Never changed: another salt would move test patients into training. Chosen once, before there was any data, of 3,000, so that the
drawn example set of 40 patients has every kind in each split (with winnow-1 a single patient of it was test)."""


def assign(*, site: str, patient: str, salt: str = SALT, hold_out: str = "") -> str:
    """The split of a patient, who is a site and a pseudonym there. With `hold_out` that whole site is the test split, and only it."""
    if hold_out:
        return "test" if site == hold_out else _of_others(site, patient, salt)
    return _hashed(site, patient, salt)


def assign_group(members: Sequence[tuple[str, str]], *, salt: str = SALT, hold_out: str = "") -> str:
    """The one split of patients whose images show the same photographs: (site, pseudonym) of each, the oldest first.

    The oldest patient's, so that whoever is found to be linked later moves nobody else. With `hold_out`, a group that reaches into
    that site is the site's.
    """
    sites = {site for site, _ in members}
    if hold_out and hold_out in sites:
        return "test"
    site, patient = members[0]
    return assign(site=site, patient=patient, salt=salt, hold_out=hold_out)


def _of_others(site: str, patient: str, salt: str) -> str:
    """With a whole site held out, the others' test patients go to validation: they keep out of training all the same."""
    split = _hashed(site, patient, salt)
    return "validation" if split == "test" else split


def _hashed(site: str, patient: str, salt: str) -> str:
    point = int.from_bytes(hashlib.sha256(f"{salt}:{site}/{patient}".encode()).digest()[:8], "big") / 2.0**64
    for split, share in zip(SPLITS, SHARES, strict=True):
        point -= share
        if point < 0:
            return split
    return SPLITS[-1]


def salt_id(salt: str = SALT) -> str:
    """A name for the salt that does not give it away."""
    return hashlib.sha256(salt.encode()).hexdigest()[:12]
