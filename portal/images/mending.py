"""Setting right what a walk over the stores found, where something sound is left to do it with. Nothing is ever deleted."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from django.conf import settings

from portal.images import kept, sanitise, storage
from portal.images.models import Image
from portal.images.walk import Finding, Sort, folder, is_sound

LOST = "lost+found"


def mend(finding: Finding) -> bool:
    """Whether it is set right: an orphan is put aside, a clean picture or thumbnail made anew from a sound original.

    A rotten or missing original has no other source than a backup. A clean picture that the present libraries would make otherwise, or that
    was changed by hand, is left as it is: its name would not be its hash.
    """
    if finding.sort is Sort.ORPHAN:
        return _put_aside(finding)
    if finding.store == "originals" or not finding.images:
        return False
    return _make_anew(finding)


def _put_aside(finding: Finding) -> bool:
    root = Path(settings.ORIGINALS_DIR if finding.store == "originals" else settings.CLEAN_DIR)
    target = root / LOST / str(finding.site) / (finding.name if finding.store != "thumbs" else f"thumb-{finding.name}")
    kept.put_aside(folder(finding.store, finding.site) / finding.name, target)
    return True


def _make_anew(finding: Finding) -> bool:
    for image in Image.objects.filter(pk__in=finding.images):
        original = storage.original_path(image.site_id, image.sha256)
        if is_sound("originals", original) and _from(kept.local(original), finding):
            return True
    return False


def _from(original: Path, finding: Finding) -> bool:
    made = sanitise.clean(original, kept.temporary(settings.CLEAN_DIR).parent)
    if isinstance(made, sanitise.Refused):
        return False
    try:
        if hashlib.sha256(made.picture.read_bytes()).hexdigest() != finding.name[:64]:
            return False
        fresh = made.thumb if finding.store == "thumbs" else made.picture
        with open(fresh, "rb") as file:
            os.fsync(file.fileno())
        kept.replace(fresh, folder(finding.store, finding.site) / finding.name)
        return True
    finally:
        for left in (made.picture, made.thumb):
            left.unlink(missing_ok=True)
