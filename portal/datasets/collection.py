"""The cleaned collection: what the whole is for. Rows of a site or of a snapshot, read as they stream; one query each."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from django.db.models import FilteredRelation, Q

from portal.accounts.models import Site
from portal.datasets.models import Snapshot
from portal.images import kept, storage
from portal.images.models import OUT, Image, ImageState
from portal.ml import Kind

COLUMNS = (
    "site", "patient", "exam", "image", "sha256_original", "sha256_clean", "state", "kind", "provenance", "labelled", "stated_kind",
    "captured", "device", "width", "height", "box_x0", "box_y0", "box_x1", "box_y1", "split",
)  # fmt: skip
_CHUNK = 2000


@dataclass(frozen=True, slots=True)
class Entry:
    """One image of a collection: its cells in order of COLUMNS, and where its clean picture lies."""

    cells: tuple[str, ...]
    kind: str
    site_id: int
    sha256: str
    format: str

    @property
    def regular(self) -> bool:
        return self.kind == Kind.REGULAR

    @property
    def picture(self) -> Path:
        return kept.local(storage.clean_path(self.site_id, self.sha256, self.format))


def of_site(site: Site) -> Iterator[Entry]:
    """Every image of a site that is not withdrawn, with its current label where it stands."""
    label = FilteredRelation("labels", condition=Q(labels__current=True))
    images = Image.objects.filter(site=site).exclude(state__in=OUT).annotate(label=label).order_by("id")
    for values in images.values(*_FIELDS.values()).iterator(chunk_size=_CHUNK):
        yield _entry({name: values[path] for name, path in _FIELDS.items()})


def of_snapshot(snapshot: Snapshot) -> Iterator[Entry]:
    """Every image of a snapshot that was not taken back since, as it was labelled and placed then."""
    paths = {name: path if path.startswith(_FROZEN) else f"image__{path}" for name, path in _FIELDS.items()}
    items = snapshot.items.exclude(image__state__in=OUT).order_by("id").values(*paths.values(), "split")
    for values in items.iterator(chunk_size=_CHUNK):
        yield _entry({name: values[path] for name, path in paths.items()}, split=values["split"])


_FIELDS = {
    "site": "site__slug", "patient": "exam__patient__code", "exam": "exam__code", "image": "id", "sha256_original": "sha256",
    "sha256_clean": "clean_sha256", "state": "state", "kind": "label__kind", "provenance": "label__provenance",
    "labelled": "label__created", "stated_kind": "stated_kind", "captured": "captured", "device": "device", "width": "width",
    "height": "height", "box": "label__box", "site_id": "site_id", "format": "clean_format",
}  # fmt: skip

_FROZEN = ("label__", "exam__", "device", "stated_kind", "captured")
"""What a snapshot's items keep of their own."""


def _entry(values: dict[str, Any], split: str = "") -> Entry:
    values |= dict(zip(("box_x0", "box_y0", "box_x1", "box_y1"), values["box"] or ("",) * 4, strict=True)) | {"split": split}
    # A label counts only while it stands: what is being read again is exported without a kind
    standing = bool(split) or values["state"] in (ImageState.ACCEPTED, ImageState.SETTLED)
    if not standing:
        values |= {"kind": "", "provenance": "", "labelled": None}
    return Entry(
        cells=tuple(_text(values[name]) for name in COLUMNS),
        kind=values["kind"] or "",
        site_id=values["site_id"],
        sha256=values["sha256_clean"],
        format=values["format"],
    )


def _text(value: Any) -> str:
    if value is None:
        return ""
    return value.isoformat(timespec="seconds") if hasattr(value, "isoformat") else str(value)


@dataclass(slots=True)
class Names:
    """Names inside a ZIP: <site>/<patient>/<exam>/<sha prefix>.<ext>, safe on every system and never the same twice."""

    taken: set[str] = field(default_factory=set)

    def name(self, entry: Entry) -> str:
        cell = dict(zip(COLUMNS, entry.cells, strict=True))
        folder = "/".join((safe(cell["site"]), safe(cell["patient"] or "no-patient"), safe(cell["exam"] or "no-exam")))
        name = f"{folder}/{entry.sha256[:16]}.{entry.format}"
        if name.lower() in self.taken:
            name = f"{folder}/{entry.sha256[:16]}-{cell['image']}.{entry.format}"
        self.taken.add(name.lower())
        return name


def safe(text: str) -> str:
    """A folder's name from a pseudonym. What had to be changed gets a piece of its hash, so that two never become one."""
    plain = re.sub(r"[^A-Za-z0-9_-]", "_", text)[:40]
    return plain if plain == text else f"{plain}-{hashlib.sha256(text.encode()).hexdigest()[:6]}"
