"""The example set: drawn by the project's own generator, sent in by the ordinary way of an upload, settled by its truth when asked."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

from django.conf import settings
from django.db.models import Count

from portal import ml
from portal.accounts.models import Site, User
from portal.accounts.services import EXAMPLE_SITES, ensure_example_sites
from portal.images.models import FileOutcome, Image, Upload
from portal.images.quarantine import vouch
from portal.images.services import apply_table, close_upload, open_upload, receive
from portal.reviews.examples import Settled, Truth, settle_example_truth

NOTE = "Example set, drawn by Winnow"


def folder() -> Path:
    """Where the truth is kept; the pictures themselves only until they are sent."""
    return Path(settings.VAR_DIR) / "example"


def _unfinished() -> Path:
    return folder() / "unfinished"


def wanted() -> bool:
    """Whether nothing was ever uploaded here, or an earlier run of ours was cut short."""
    return _unfinished().exists() or not Upload.objects.exists()


def send(*, patients: int = 40, seed: int = 7) -> int:
    """Draw the set and upload it as each site's uploader. Safe to repeat: the same pictures are known by their bytes. Says how many."""
    folder().mkdir(parents=True, exist_ok=True)
    _unfinished().touch()
    drawn = ml.draw_examples(folder(), seed=seed, patients=patients)
    for slug, (site, uploader) in ensure_example_sites().items():
        paths = [Path(image.path) for image in drawn if image.site == slug]
        if paths:
            _upload(site, uploader, folder() / slug / "metadata.csv", paths)
        shutil.rmtree(folder() / slug, ignore_errors=True)
    _unfinished().unlink()
    return len(drawn)


def _upload(site: Site, uploader: User, table: Path, paths: list[Path]) -> None:
    for cut_short in Upload.objects.filter(site=site, created_by=uploader, closed=None, cancelled=None):
        close_upload(upload=cut_short, actor=uploader)
    upload = open_upload(site=site, actor=uploader, note=NOTE, expected=len(paths))
    apply_table(upload=upload, table_bytes=table.read_bytes(), actor=uploader)
    for path in paths:
        with path.open("rb") as file:
            row = receive(upload=upload, file=file, name=path.name, actor=uploader, size=path.stat().st_size)
        if row.image:
            # some carry a drawn timer, and nobody should have to clear it
            vouch(image=row.image, attestation=NOTE, actor=uploader)
    close_upload(upload=upload, actor=uploader)
    refused = upload.files.filter(outcome=FileOutcome.REJECTED).first()
    if refused:
        raise RuntimeError(f"The portal refused a picture of its own example set: {refused.name}: {refused.message}")


def states() -> list[tuple[str, int, int]]:
    """State, images and patients of what was drawn here; empty where nothing was."""
    ours = Image.objects.filter(upload__note=NOTE, site__slug__in=EXAMPLE_SITES).order_by("state")
    return list(ours.values_list("state").annotate(images=Count("pk"), patients=Count("exam__patient", distinct=True)))


def settle(*, actor: User | None) -> Settled:
    """Settle what was analysed so far by the generator's truth, under a provenance of its own. Call again for the rest."""
    return settle_example_truth(truth=_truth(), actor=actor)


def _truth() -> list[Truth]:
    """Nothing where no example set was drawn here."""
    path = folder() / "truth.csv"
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return [(row["site"], Path(row["path"]).name, row["kind"], _box(row)) for row in csv.DictReader(file)]


def _box(row: dict[str, str]) -> tuple[float, float, float, float] | None:
    corners = [row[name] for name in ("box_x0", "box_y0", "box_x1", "box_y1")]
    if not all(corners):
        return None
    x0, y0, x1, y1 = map(float, corners)
    return x0, y0, x1, y1
