"""The permanent cast: two sites, one person of every role, and small real things to act on. Same names in every test.

alice uploads at north, bob at river, lena leads north; rita reads and works at river, ravi reads and works nowhere; ada adjudicates; stella
leads the study; max administers models, sys the system. Pictures are real files in both stores; rows take only legal changes of state.
"""

from __future__ import annotations

import hashlib
import io
import itertools
import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from django.conf import settings
from django.contrib.auth.hashers import make_password
from django.db.models import F
from django.test import Client
from PIL import Image as Picture

from portal.accounts import sessions
from portal.accounts.models import Membership, Role, Site, User
from portal.analyses.models import Analysis, Assessment
from portal.datasets.models import Snapshot, SnapshotItem, SnapshotState
from portal.images import storage
from portal.images.models import Exam, Image, Patient, Upload, UploadFile
from portal.labels.models import Label, Provenance
from portal.learning.models import Evaluation, TrainingRun
from portal.registry.models import ChampionChange, ModelVersion
from portal.reviews.models import Read, ReviewTask

PASSWORD = "correct horse battery"
_count = itertools.count(1)
_PATHS: dict[str, tuple[str, ...]] = {
    "received": (),
    "rejected": ("rejected",),
    "failed": ("failed",),
    "clean": ("clean",),
    "quarantined": ("clean", "quarantined"),
    "analysed": ("clean", "analysed"),
    "accepted": ("clean", "analysed", "accepted"),
    "in_review": ("clean", "analysed", "in_review"),
    "settled": ("clean", "analysed", "in_review", "settled"),
    "withdrawn": ("clean", "withdrawn"),
    "erased": ("withdrawn", "erased"),
}


@dataclass
class Cast:
    north: Site
    river: Site
    alice: User
    bob: User
    lena: User
    rita: User
    ravi: User
    ada: User
    stella: User
    max: User
    sys: User

    def people(self) -> dict[str, User]:
        return {name: value for name, value in vars(self).items() if isinstance(value, User)}

    def client(self, user: User) -> Client:
        """A browser in which this person is logged in."""
        return browser_of(user)


def browser_of(user: User) -> Client:
    client = Client()
    client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
    session = client.session
    sessions.begin(session, user)
    session.save()
    return client


def make_cast() -> Cast:
    north = Site.objects.create(name="North", slug="north", country="Norway")
    river = Site.objects.create(name="River", slug="river", country="Kenya")
    return Cast(
        north=north,
        river=river,
        alice=make_user("alice", (Role.UPLOADER, north)),
        bob=make_user("bob", (Role.UPLOADER, river)),
        lena=make_user("lena", (Role.LEAD, north)),
        rita=make_user("rita", (Role.READER, river)),
        ravi=make_user("ravi", (Role.READER, None)),
        ada=make_user("ada", (Role.ADJUDICATOR, None)),
        stella=make_user("stella", (Role.STUDY_LEAD, None)),
        max=make_user("max", (Role.MODEL_ADMIN, None)),
        sys=make_user("sys", (Role.SYSTEM_ADMIN, None)),
    )


def make_user(name: str, *roles: tuple[Role, Site | None]) -> User:
    user = User.objects.create(email=f"{name}@example.org", name=name.capitalize(), password=_password_hash())
    Membership.objects.bulk_create(Membership(user=user, role=role, site=site) for role, site in roles)
    return user


@lru_cache
def _password_hash() -> str:
    """Hashed once: eight slow hashes a test would cost seconds."""
    return make_password(PASSWORD)


def picture_bytes(*, seed: int | None = None, size: tuple[int, int] = (96, 72), format: str = "JPEG") -> bytes:
    """A small picture of its own: a pink disc on noise. Without a seed no two are the same."""
    number = next(_count) if seed is None else seed
    rng = np.random.default_rng(number)
    pixels = rng.integers(90, 140, (size[1], size[0], 3), dtype=np.uint8)
    y, x = np.ogrid[: size[1], : size[0]]
    disc = (x - size[0] / 2) ** 2 + (y - size[1] / 2) ** 2 < (min(size) / 3) ** 2
    pixels[disc] = (rng.integers(180, 230), rng.integers(90, 140), rng.integers(90, 140))
    pixels[0, :8, 0] = [(number >> (4 * k)) & 15 for k in range(8)]
    sink = io.BytesIO()
    Picture.fromarray(pixels).save(sink, format, **({"quality": 95} if format == "JPEG" else {}))
    return sink.getvalue()


def make_upload(site: Site, *, by: User | None = None) -> Upload:
    return Upload.objects.create(site=site, created_by=by or _uploader(site), expected=1)


def make_image(
    site: Site,
    *,
    state: str = "received",
    patient: str | None = "P1",
    exam: str = "E1",
    kind: str = "regular",
    stated_kind: str = "",
    provenance: str = Provenance.CONSENSUS,
    upload: Upload | None = None,
    name: str | None = None,
    data: bytes | None = None,
    version: ModelVersion | None = None,
    p_non_regular: float | None = None,
) -> Image:
    """An image in `state`, brought there by legal changes, with its files and the rows that the state promises.

    From `analysed` on it has an Analysis and an Assessment of `version` (else the champion, made if there is none) that says `kind`;
    `in_review` has an open task, `accepted` an automatic label, `settled` one of `provenance` (and a closed task).
    """
    data = data or picture_bytes()
    upload = upload or make_upload(site)
    image = Image.objects.create(
        site=site,
        exam=_exam(site, patient, exam) if patient else None,
        upload=upload,
        original_name=name or f"photo-{next(_count)}.jpg",
        sha256=hashlib.sha256(data).hexdigest(),
        size=len(data),
        format="jpeg",
        stated_kind=stated_kind,
        device="Test camera",
    )
    UploadFile.objects.create(upload=upload, name=image.original_name, outcome="accepted", image=image)
    _write(storage.original_path(site.pk, image.sha256), data)
    for step in _PATHS[state]:
        _STEPS.get(step, _only_state)(image, step, kind, provenance, version, p_non_regular, data)
        image.refresh_from_db()
    return image


def _only_state(image: Image, step: str, *_: Any) -> None:
    Image.objects.filter(pk=image.pk).update(state=step, state_reason="a test" if step != "analysed" else "")


def _clean(image: Image, step: str, *rest: Any) -> None:
    data: bytes = rest[-1]
    with Picture.open(io.BytesIO(data)) as picture:
        width, height = picture.size
        sink = io.BytesIO()
        picture.convert("RGB").save(sink, "JPEG", quality=95, subsampling=0)
    clean = sink.getvalue()
    sha256 = hashlib.sha256(clean).hexdigest()
    _write(storage.clean_path(image.site_id, sha256, "jpg"), clean)
    _write(storage.thumb_path(image.site_id, sha256), clean)
    Image.objects.filter(pk=image.pk).update(state="clean", clean_sha256=sha256, clean_format="jpg", width=width, height=height)


def _analysed(image: Image, step: str, kind: str, _: str, version: ModelVersion | None, p: float | None, data: bytes) -> None:
    make_analysis(image, version=version, kind=kind, p_non_regular=p)
    _only_state(image, step)
    Image.objects.filter(pk=image.pk).update(state_reason="")


def _accepted(image: Image, step: str, kind: str, *_: Any) -> None:
    Label.objects.create(image=image, kind=kind, provenance=Provenance.AUTOMATIC)
    Image.objects.filter(pk=image.pk).update(state=step)


def _in_review(image: Image, step: str, *_: Any) -> None:
    ReviewTask.objects.create(image=image, reasons=["between_thresholds"], priority=0.5)
    Image.objects.filter(pk=image.pk).update(state=step)


def _settled(image: Image, step: str, kind: str, provenance: str, *_: Any) -> None:
    ReviewTask.objects.filter(image=image, state="open").update(state="closed")
    Label.objects.create(image=image, kind=kind, provenance=provenance, box=[20.0, 10.0, 76.0, 62.0])
    Image.objects.filter(pk=image.pk).update(state=step)


_STEPS: dict[str, Any] = {"clean": _clean, "analysed": _analysed, "accepted": _accepted, "in_review": _in_review, "settled": _settled}


def make_analysis(
    image: Image,
    *,
    version: ModelVersion | None = None,
    kind: str = "regular",
    p_non_regular: float | None = None,
    look: int | None = None,
) -> Analysis:
    """An Analysis by `version` (else the champion) and the current Assessment that rests on it."""
    p = p_non_regular if p_non_regular is not None else (0.02 if kind == "regular" else 0.97)
    regular = 1 - p
    green = p if kind != "lugol_iodine" else 0.0
    route = "auto_regular" if p < 0.2 else "auto_non_regular" if p > 0.8 else "review"
    said = kind if kind in ("regular", "green_filter", "lugol_iodine") else "regular"
    reasons = ["between_thresholds"] if route == "review" else []
    analysis = Analysis.objects.create(
        image=image,
        version=version or champion(),
        detector_state="found",
        box=[20.0, 10.0, 76.0, 62.0],
        detector_score=0.97,
        probabilities={"regular": regular, "green_filter": green, "lugol_iodine": p - green},
        p_non_regular=p,
        kind=said,
        deep_sad_distance=0.4,
        deep_sad_rank=0.5,
        logit=4 * p - 2,
        neighbours=2 + p,
        ood=p / 2,
        embedding=[0.1, 0.2, 0.3, 0.4],
        quality={"sharpness": 120.0, "glare": 0.01, "exposure": 0.5},
        look=look,
        route=route,
        reasons=reasons,
    )
    Assessment.objects.filter(image=image, current=True).update(current=False)
    Assessment.objects.create(image=image, analysis=analysis, p_non_regular=p, kind=said, route=route, reasons=reasons)
    return analysis


def give_reasons(image: Image, reasons: list[str]) -> Assessment:
    """A new current assessment of the same analysis, for review and with these reasons."""
    before = Assessment.objects.get(image=image, current=True)
    Assessment.objects.filter(pk=before.pk).update(current=False)
    return Assessment.objects.create(
        image=image, analysis=before.analysis, p_non_regular=before.p_non_regular, kind=before.kind, route="review", reasons=reasons
    )


def make_task(image: Image | Site) -> ReviewTask:
    """An open task; of a fresh image where a site is given."""
    if isinstance(image, Site):
        image = make_image(image, state="in_review", p_non_regular=0.5)
    return ReviewTask.objects.get(image=image, state="open")


def make_read(task: ReviewTask, reader: User, kind: str = "regular", *, role: str = "reader", **about: Any) -> Read:
    """An answer that counts, and the question's count of them."""
    if role == "reader":
        ReviewTask.objects.filter(pk=task.pk).update(answered=F("answered") + 1)
    return Read.objects.create(task=task, reader=reader, kind=kind, role=role, **about)


def make_version(state: str = "candidate", *, name: str | None = None, **about: Any) -> ModelVersion:
    """A registered bundle: its folder holds a manifest and no weights. `champion` retires the present one; `about`: more of bundle.json."""
    number = next(_count)
    name = name or f"bundle-{number}"
    folder = Path(settings.BUNDLES_DIR) / f"{name}-{number}"
    folder.mkdir(parents=True, exist_ok=True)
    manifest = json.dumps({"name": name, "number": number, "files": {}, **about})
    (folder / "bundle.json").write_text(manifest)
    previous = ModelVersion.objects.filter(state="champion").first() if state == "champion" else None
    if previous:
        ModelVersion.objects.filter(pk=previous.pk).update(state="retired")
    version = ModelVersion.objects.create(
        name=name,
        bundle_path=str(folder),
        bundle_hash=hashlib.sha256(manifest.encode()).hexdigest(),
        state=state,
        thresholds={"t_lo": 0.2, "t_hi": 0.8},
    )
    if state == "champion":
        ChampionChange.objects.create(version=version, previous=previous, how="promote" if previous else "first")
    return version


def champion() -> ModelVersion:
    return ModelVersion.objects.filter(state="champion").first() or make_version("champion")


def make_snapshot(*images: Image, by: User | None = None, name: str | None = None) -> Snapshot:
    """A frozen snapshot of settled images (four fresh ones where none is given), with its folder as docs/CONTRACTS.md says."""
    chosen = list(images) or _four_settled()
    name = name or f"snapshot-{next(_count)}"
    folder = Path(settings.SNAPSHOTS_DIR) / name
    by = by or User.objects.filter(memberships__role=Role.MODEL_ADMIN).first() or User.objects.first()
    assert by is not None
    manifest = _write_snapshot(folder, chosen)
    digest = hashlib.sha256(manifest.encode()).hexdigest()
    (folder / "snapshot.json").write_text(
        json.dumps({"name": name, "hash": digest, "images": len(chosen), "patients": 1, "salt_id": "test"})
    )
    snapshot = Snapshot.objects.create(
        name=name, created_by=by, state=SnapshotState.FROZEN, folder=str(folder), hash=digest, counts={"images": len(chosen)}
    )
    SnapshotItem.objects.bulk_create(
        SnapshotItem(
            snapshot=snapshot, image=i, label=i.labels.get(current=True), split="train", exam=i.exam, device=i.device, captured=i.captured
        )
        for i in chosen
    )
    return snapshot


def _four_settled() -> list[Image]:
    site = Site.objects.order_by("pk").first()
    assert site is not None
    kinds = ("regular", "regular", "green_filter", "lugol_iodine")
    return [make_image(site, state="settled", kind=kind, patient=f"P{k}") for k, kind in enumerate(kinds)]


def _write_snapshot(folder: Path, images: list[Image]) -> str:
    (folder / "images").mkdir(parents=True, exist_ok=True)
    lines = ["path,sha256,kind,provenance,patient,exam,site,device,split,box_x0,box_y0,box_x1,box_y1"]
    for image in images:
        label = image.labels.get(current=True)
        path = f"images/{image.clean_sha256}.jpg"
        (folder / path).write_bytes(storage.clean_path(image.site_id, image.clean_sha256, "jpg").read_bytes())
        patient = image.exam.patient_id if image.exam else ""
        lines.append(f"{path},{image.clean_sha256},{label.kind},{label.provenance},{patient},{image.exam_id},{image.site_id},,train,,,,")
    manifest = "\n".join(lines) + "\n"
    (folder / "manifest.csv").write_text(manifest)
    return manifest


def make_run(snapshot: Snapshot | None = None, *, by: User | None = None, state: str = "queued") -> TrainingRun:
    snapshot = snapshot or make_snapshot()
    config = {"preset": "small", "seed": 7, "parts": ["resnest", "deep_sad"]}
    return TrainingRun.objects.create(
        name=f"run-{next(_count)}", snapshot=snapshot, started_by=by or snapshot.created_by, state=state, config=config
    )


def make_evaluation(
    version: ModelVersion | None = None, snapshot: Snapshot | None = None, *, state: str = "done", **report: Any
) -> Evaluation:
    return Evaluation.objects.create(version=version or make_version(), snapshot=snapshot or make_snapshot(), state=state, report=report)


def _uploader(site: Site) -> User:
    found = User.objects.filter(memberships__role=Role.UPLOADER, memberships__site=site).first()
    return found or make_user(f"uploader-{site.slug}", (Role.UPLOADER, site))


def _exam(site: Site, patient: str, exam: str) -> Exam:
    return Exam.objects.get_or_create(patient=Patient.objects.get_or_create(site=site, code=patient)[0], code=exam)[0]


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
