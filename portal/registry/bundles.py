"""Bundle folders on disk: a bundle is copied once, checked on both sides, and appears under its hash all at once."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from django.conf import settings

from portal import ml
from portal.core.errors import BadInput
from portal.ml import BundleInfo


def describe(folder: Path) -> BundleInfo:
    """What a bundle says of itself, every file checked against its sha256; BadInput where it does not hold."""
    if not (folder / "bundle.json").is_file():
        raise BadInput(f"{folder.name} is not a bundle: bundle.json is missing, so it was never finished. Train it again.")
    try:
        return ml.describe_bundle(folder)
    except (ValueError, OSError, KeyError) as error:
        raise BadInput(f"The bundle cannot be registered: {error} Copy or train it again.") from error


def adopt(bundle: Path) -> tuple[BundleInfo, Path]:
    """Copy a bundle to BUNDLES_DIR/<hash>, or find it there. The copy is checked before it gets its name."""
    info = describe(bundle)
    target = settings.BUNDLES_DIR / info.hash
    if target.is_dir():
        describe(target)
        return info, target
    settings.BUNDLES_DIR.mkdir(parents=True, exist_ok=True)
    copy = Path(tempfile.mkdtemp(prefix=".incoming-", dir=settings.BUNDLES_DIR))
    try:
        _copy(bundle, copy)
        if describe(copy).hash != info.hash:
            raise BadInput("The bundle changed while it was copied. Register it again when nothing writes to it.")
        _name(copy, target)
    finally:
        shutil.rmtree(copy, ignore_errors=True)
    return info, target


def _copy(source: Path, target: Path) -> None:
    target.chmod(0o755)
    for path in sorted(source.iterdir()):
        if path.is_file() and not path.is_symlink():
            shutil.copyfile(path, target / path.name)
            with (target / path.name).open("rb") as copied:
                os.fsync(copied.fileno())


def _name(copy: Path, target: Path) -> None:
    try:
        copy.rename(target)
    except OSError:
        # Another worker was first with the same bundle; anything else is a real failure
        if not (target / "bundle.json").is_file():
            raise
