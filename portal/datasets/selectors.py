"""Which images a query chooses, with what they are labelled now. One query to the database, whatever the number of images."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.contrib.postgres.aggregates import ArrayAgg
from django.db.models import Count, Q, QuerySet

from portal.accounts.models import Site
from portal.datasets import closure
from portal.datasets.models import Snapshot, SnapshotItem
from portal.datasets.query import HUMAN_ONLY, Query
from portal.datasets.rows import Row
from portal.datasets.splits import assign, assign_group
from portal.images.models import OUT, Image, ImageState
from portal.labels.models import HUMAN, Label, Provenance
from portal.ml import Kind
from portal.reviews import earning
from portal.reviews.triage import NOBODY

USABLE = (ImageState.ACCEPTED, ImageState.SETTLED)
"""States in which a label stands: an image that is being read again is under question."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """The rows of a snapshot, and how many images are left out and why."""

    rows: tuple[Row, ...]
    without_patient: int
    repeated: tuple[int, ...]
    """Images that show the same picture again, by its clean bytes: kept once, so that it cannot lie in two splits."""
    joined: int
    """Groups of these patients that share a split, because images of theirs show the same photograph."""
    moved: int
    """Patients who are in another split than they would be alone."""
    not_compared: int
    """Images that were not compared with all others yet."""


def choose(query: Query) -> Chosen:
    """What a snapshot of this query would hold now."""
    hold_out = Site.objects.filter(pk=query.hold_out).values_list("slug", flat=True).first() if query.hold_out else None
    linked = closure.members()
    values = list(_labels(query).values(*_COLUMNS).order_by("image_id"))
    with_patient = [v for v in values if v["image__exam__patient__code"]]
    rows = _once(_row(v, hold_out or "", linked) for v in with_patient)
    kept = {row.image_id for row in rows}
    joined, moved = _joined(with_patient, hold_out or "", linked)
    return Chosen(
        rows=tuple(rows), without_patient=len(values) - len(with_patient),
        repeated=tuple(v["image_id"] for v in with_patient if v["image_id"] not in kept),
        joined=joined, moved=moved, not_compared=sum(v["image__likeness__compared"] is None for v in with_patient),
    )  # fmt: skip


_COLUMNS = (
    "id", "image_id", "kind", "provenance", "box", "image__site__slug", "image__exam__patient__code", "image__exam__code",
    "image__device", "image__clean_sha256", "image__clean_format", "image__site_id", "image__exam__patient", "image__likeness__compared",
    "image__exam_id", "image__stated_kind", "image__captured", "read_for",
)  # fmt: skip
_Linked = Mapping[int, Sequence[tuple[int, str, str]]]
"""`closure.members()`."""


def _labels(query: Query) -> QuerySet[Label]:
    wanted = Q(current=True, image__state__in=USABLE)
    if query.sites:
        wanted &= Q(image__site__in=query.sites)
    if query.kinds:
        wanted &= Q(kind__in=query.kinds)
    if query.provenances == HUMAN_ONLY:
        wanted &= Q(provenance__in=HUMAN)
    return Label.objects.filter(wanted).annotate(read_for=earning.read_for("image"))


def _split(values: Mapping[str, Any], hold_out: str, linked: _Linked) -> str:
    if members := linked.get(values["image__exam__patient"]):
        return assign_group([(site, code) for _, site, code in members], hold_out=hold_out)
    return assign(site=values["image__site__slug"], patient=values["image__exam__patient__code"], hold_out=hold_out)


def _joined(chosen: Sequence[dict[str, Any]], hold_out: str, linked: _Linked) -> tuple[int, int]:
    """How many groups have two or more patients here, and how many patients are elsewhere than they would be alone."""
    patients = {v["image__exam__patient"]: v for v in chosen if v["image__exam__patient"] in linked}
    sizes = Counter(linked[patient][0][0] for patient in patients)
    moved = sum(_split(v, hold_out, linked) != _split(v, hold_out, {}) for v in patients.values())
    return sum(size > 1 for size in sizes.values()), moved


def _row(values: dict[str, Any], hold_out: str, linked: _Linked) -> Row:
    site, patient = values["image__site__slug"], values["image__exam__patient__code"]
    return Row(
        label_id=values["id"], image_id=values["image_id"], kind=values["kind"], provenance=values["provenance"],
        box=tuple(values["box"]) if values["box"] else None, site_id=values["image__site_id"], site=site, patient=patient,
        exam=values["image__exam__code"] or "", device=values["image__device"], sha256=values["image__clean_sha256"],
        format=values["image__clean_format"], split=_split(values, hold_out, linked), exam_id=values["image__exam_id"],
        stated_kind=values["image__stated_kind"], captured=values["image__captured"], read_for=_read_for(values),
    )  # fmt: skip


def _read_for(values: Mapping[str, Any]) -> str:
    """Of a label that readers gave; for another one nobody read the image."""
    return str(values["read_for"]) if values["provenance"] in (Provenance.CONSENSUS, Provenance.ADJUDICATION) else NOBODY


def _once(rows: Iterable[Row]) -> list[Row]:
    seen: dict[str, Row] = {}
    for row in rows:
        seen.setdefault(row.sha256, row)
    return sorted(seen.values(), key=lambda row: (row.site, row.patient, row.exam, row.sha256))


def items(snapshot: Snapshot) -> list[Row]:
    """The frozen rows of a snapshot, in the order of its manifest: every image as it was labelled and placed then."""
    values = snapshot.items.values(
        "label_id", "image_id", "label__kind", "label__provenance", "box", "image__site__slug", "exam__patient__code", "exam__code",
        "device", "image__clean_sha256", "image__clean_format", "image__site_id", "split", "read_for",
    )  # fmt: skip
    rows = (
        Row(
            label_id=v["label_id"], image_id=v["image_id"], kind=v["label__kind"], provenance=v["label__provenance"],
            box=tuple(v["box"]) if v["box"] else None, site_id=v["image__site_id"], site=v["image__site__slug"],
            patient=v["exam__patient__code"] or "", exam=v["exam__code"] or "", device=v["device"],
            sha256=v["image__clean_sha256"], format=v["image__clean_format"], split=v["split"], read_for=v["read_for"],
        )
        for v in values
    )  # fmt: skip
    return sorted(rows, key=lambda row: (row.site, row.patient, row.exam, row.sha256))


def holding(images: Sequence[int]) -> list[Snapshot]:
    """The data sets that hold the pictures of these images, oldest first, each with `n`, of how many of them. Two queries.

    An image that was left out because another has the same bytes counts as held: where the other is of another site, who sent this one
    would learn of it otherwise.
    """
    numbers = [str(image) for image in images]
    held = Q(pk__in=SnapshotItem.objects.filter(image__in=images).values("snapshot")) | Q(counts__repeated_images__has_any_keys=numbers)
    found = list(Snapshot.objects.filter(held).prefetch_related("runs").order_by("pk"))
    counted = SnapshotItem.objects.filter(image__in=images, snapshot__in=found).values_list("snapshot").annotate(n=Count("pk"))
    items = dict(counted)
    for snapshot in found:
        again = set(snapshot.counts.get("repeated_images", ())) & set(numbers)
        snapshot.n = items.get(snapshot.pk, 0) + len(again)  # type: ignore[attr-defined]
    return found


@dataclass(frozen=True, slots=True)
class Split:
    """A patient who is known by now to be in several splits of a frozen data set, under the codes that he had then."""

    site: str
    codes: tuple[str, ...]
    splits: tuple[str, ...]


def known_since(snapshot: Snapshot) -> list[Split]:
    """Whom a merge, a move or a corrected table made one patient after the freeze, across splits: one query."""
    now = snapshot.items.filter(image__exam__isnull=False).order_by().values("image__exam__patient", "image__site__name")
    codes = ArrayAgg("exam__patient__code", distinct=True, order_by="exam__patient__code")
    found = now.annotate(n=Count("split", distinct=True), splits=ArrayAgg("split", distinct=True, order_by="split"), codes=codes)
    apart = found.filter(n__gt=1).order_by("image__site__name", "image__exam__patient")
    return [Split(row["image__site__name"], tuple(row["codes"]), tuple(row["splits"])) for row in apart[:100]]


def said(query: Query) -> list[tuple[str, str]]:
    """A query in words."""
    names = dict(Site.objects.filter(pk__in=[*query.sites, *([query.hold_out] if query.hold_out else [])]).values_list("pk", "name"))
    return [
        ("Sites", ", ".join(names.get(pk, f"site {pk}") for pk in query.sites) or "all"),
        ("Kinds", ", ".join(kind.replace("_", " ") for kind in query.kinds) or "all"),
        ("Labels", "settled by people only" if query.provenances == HUMAN_ONLY else "with automatic labels"),
        ("Held out", names.get(query.hold_out or 0, "no site")),
    ]


@dataclass(frozen=True, slots=True)
class SiteCount:
    """Of one site: all images that are not withdrawn, those with a standing label, and the regular ones of these."""

    images: int = 0
    patients: int = 0
    labelled: int = 0
    regular: int = 0
    regular_patients: int = 0


def site_counts(sites: Sequence[int]) -> dict[int, SiteCount]:
    """What each site's collection holds; one query."""
    standing = Q(state__in=USABLE, labels__current=True)
    regular = standing & Q(labels__kind=Kind.REGULAR)
    found = (
        Image.objects.filter(site__in=sites)
        .exclude(state__in=OUT)
        .values("site_id")
        .annotate(
            images=Count("pk", distinct=True),
            patients=Count("exam__patient", distinct=True),
            labelled=Count("pk", filter=standing, distinct=True),
            regular=Count("pk", filter=regular, distinct=True),
            regular_patients=Count("exam__patient", filter=regular, distinct=True),
        )
    )
    counted = {
        row["site_id"]: SiteCount(row["images"], row["patients"], row["labelled"], row["regular"], row["regular_patients"]) for row in found
    }
    return {site: counted.get(site, SiteCount()) for site in sites}


def taken_back(snapshot: Snapshot) -> tuple[int, int]:
    """How many of a snapshot's images were withdrawn or erased since, and how many of these erased."""
    states = list(snapshot.items.filter(image__state__in=OUT).values_list("image__state", flat=True))
    return len(states), states.count(ImageState.ERASED)


def images_of(snapshot: Snapshot, sha256s: Sequence[str]) -> dict[str, int]:
    """The ids of a snapshot's images by the sha256 of their clean picture."""
    found = snapshot.items.filter(image__clean_sha256__in=sha256s).values_list("image__clean_sha256", "image_id")
    return dict(found)
