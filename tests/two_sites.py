"""Two states of the database that differ only in what other sites have.

`make_own` is one site with something of everything; `make_others` adds two sites with the same and more, one with lower numbers than all of
the own site's rows and one with higher. The others' files, codes, words and names are partly the own site's too, byte by byte, and partly
their own, so that a question may name both.
"""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from django.utils import timezone
from PIL import Image as Picture

from portal.accounts import services as accounts
from portal.accounts import tokens
from portal.accounts.models import Role, Site, User
from portal.audit.services import record
from portal.datasets import closure
from portal.datasets import services as datasets
from portal.datasets.query import Query
from portal.erasure import services as erasures
from portal.erasure.subjects import of_image
from portal.holdings.models import SiteHolding
from portal.images import comparing, regrouping, tables, wordings
from portal.images import services as images
from portal.images.models import (
    Arrival,
    Image,
    NearDuplicate,
    Patient,
    TextFound,
    TextRule,
    Upload,
    WordingOf,
)
from portal.jobs.models import Job
from portal.learning.models import TrainingRun
from portal.reviews.models import Lease, ReviewRules, ReviewTask
from tests.cast import make_image, make_read, make_user, picture_bytes

LOW, MIDDLE, HIGH = 1_000, 500_000, 900_000
"""Where the numbers of one other site, of the own and of the second other begin."""
THEIRS = "zanzibar"
"""A word that only other sites have."""
STATES = ("received", "rejected", "failed", "clean", "quarantined", "analysed", "accepted", "in_review", "settled", "withdrawn", "erased")
ONLY_THEIRS = 500
"""The seed of a picture that only other sites have."""
MANY = 8
"""Images more than one page of a list holds, where a page holds PAGE."""
PAGE = 6


@dataclass
class Everyone:
    """People of no site."""

    reader: User
    adjudicator: User
    model: User
    system: User


def make_everyone() -> Everyone:
    return Everyone(
        make_user("ravi", (Role.READER, None)), make_user("ada", (Role.ADJUDICATOR, None)), make_user("max", (Role.MODEL_ADMIN, None)),
        make_user("sys", (Role.SYSTEM_ADMIN, None)),
    )  # fmt: skip


@dataclass
class OneSite:
    """A site with something of everything."""

    site: Site
    uploader: User
    lead: User
    secret: str = ""
    images: dict[str, Image] = field(default_factory=dict)


def make_site(name: str, everyone: Everyone, *, word: str, many: int = 0, champion: Any = None) -> OneSite:
    """`word` is in its codes, names and notes; everything else is what any other site made so has too."""
    site = Site.objects.create(name=name, slug=name.lower(), country="Norway")
    made = OneSite(site, make_user(f"{name}-uploader", (Role.UPLOADER, site)), make_user(f"{name}-lead", (Role.LEAD, site)))
    made.secret = tokens.make(site=site, name="laptop", days=7, actor=made.uploader)[1]
    upload = images.open_upload(site=site, actor=made.uploader, note=f"{word} of May")
    for number, state in enumerate(STATES):
        made.images[state] = _image(made, number, state, word, upload, champion)
    Image.objects.filter(pk=made.images["clean"].pk).update(device=f"{word} colposcope")
    _pictures_that_are_alike(made)
    Patient.objects.bulk_create(Patient(site=site, code=f"{word}-of-many-{number}") for number in range(50 if many else 0))
    for number in range(many):
        make_image(site, state="settled", patient=f"{word}-{number}", name=f"many-{number}.jpg", data=picture_bytes(seed=1000 + number))
    _tables_and_words(made, upload, word)
    _reads(made, everyone)
    _taken_back(made)
    Arrival.objects.create(upload=upload, actor=made.uploader, name=f"{word}-half.jpg", size=10)
    TextFound.objects.create(image=made.images["quarantined"], boxes=[[1, 2, 30, 20]], checked=timezone.now())
    TextRule.objects.create(site=site, x0=0, y0=0, x1=0.1, y1=0.1)
    ReviewRules.objects.create(site=site, reads_needed=2, set_by=everyone.system)
    SiteHolding.objects.update_or_create(site=site, defaults={"bytes": 10**6 + len(word), "files": 70, "max_files": 5000 + many})
    Job.objects.create(kind="analyse", subject_id=made.images["clean"].pk, state="failed", error="a test")
    for action in ("image.received", "site.changed"):
        record(actor_id=made.lead.pk, action=action, subject=site, site_id=site.pk, said=word)
    return made


def _image(made: OneSite, number: int, state: str, word: str, upload: Upload, champion: Any) -> Image:
    """The same bytes at every site. Half of the codes are what all sites say, half only this one."""
    patient = "P1" if number % 2 else f"{word}-{number % 4}"
    return make_image(
        made.site, state=state, patient=patient if state != "received" else None, name=f"photo-{number}.jpg", upload=upload,
        data=picture_bytes(seed=number), kind="green_filter" if state == "settled" else "regular", version=champion,
    )  # fmt: skip


def _pictures_that_are_alike(made: OneSite) -> None:
    """The settled one again, written anew: a near-duplicate at its own site, and of what every other site has."""
    sink = io.BytesIO()
    with Picture.open(io.BytesIO(picture_bytes(seed=STATES.index("settled")))) as picture:
        picture.save(sink, "PNG")
    twin = make_image(made.site, state="settled", patient="P7", name="twin.png", data=sink.getvalue())
    made.images["twin"] = twin
    ids = list(Image.objects.filter(site=made.site).exclude(clean_sha256="").values_list("pk", flat=True))
    comparing.look_again(ids)
    comparing.compare(ids)
    closure.link(ids)
    assert NearDuplicate.objects.filter(image=twin).exists()


def _tables_and_words(made: OneSite, upload: Upload, word: str) -> None:
    lines = f"file,patient,exam,device,stated_kind\nphoto-6.jpg,P1,E2,{word} camera,regular\nlate.jpg,{word},E1,,\n"
    images.apply_table(upload=upload, table_bytes=lines.encode(), actor=made.uploader, name=f"{word}.csv")
    again = f"file,patient,device\nphoto-6.jpg,P1,{word} lamp\nphoto-8.jpg,P9,\n".encode()
    tables.hold_table(site=made.site, upload=None, data=again, name="look.csv", actor=made.uploader)
    wordings.remember(site=made.site, of=WordingOf.KIND, chosen={word: "lugol_iodine", "vili": "lugol_iodine"}, actor=made.uploader)
    wordings.remember(site=made.site, of=WordingOf.DEVICE, chosen={"cam": f"{word} camera"}, actor=made.uploader)
    source = made.images["accepted"].exam
    assert source
    images_of = [made.images["accepted"].pk]
    regrouping.split_patient(source=source.patient, images=images_of, new_code=f"{word}-split", actor=made.uploader)


def _reads(made: OneSite, everyone: Everyone) -> None:
    asked = ReviewTask.objects.get(image=made.images["in_review"], state="open")
    make_read(task=asked, reader=everyone.adjudicator, kind="lugol_iodine", note="a remark")
    until = timezone.now() + timedelta(hours=1)
    Lease.objects.create(task=asked, reader=everyone.reader, token=f"lease-{made.site.slug}", until=until)
    record(actor_id=everyone.reader.pk, action="lease", subject=asked, site_id=made.site.pk)


def _taken_back(made: OneSite) -> None:
    gone = make_image(made.site, state="settled", patient="P8", name="gone.jpg", data=picture_bytes(seed=77))
    erasures.ask(subject=of_image(gone), typed=str(gone.pk), actor=made.lead)


def make_life(everyone: Everyone) -> None:
    """What happens over all sites, after them: a data set is frozen, and a model learns from it."""
    snapshot = datasets.create_snapshot(name="all of May", query=Query(), actor=everyone.model)
    config = {"preset": "small", "seed": 7, "parts": ["resnest"]}
    TrainingRun.objects.create(name="of May", snapshot=snapshot, started_by=everyone.model, state="queued", config=config)


def make_own(everyone: Everyone, champion: Any) -> OneSite:
    return make_site("North", everyone, word="fjord", many=MANY, champion=champion)


def make_other(name: str, everyone: Everyone, champion: Any) -> OneSite:
    """Another site, with what only administrators and its own people are to see beside the rest."""
    made = make_site(name, everyone, word=THEIRS, champion=champion)
    make_user(f"{name}-reader", (Role.READER, made.site))
    make_image(made.site, state="settled", patient=THEIRS, name=f"{THEIRS}.jpg", data=picture_bytes(seed=ONLY_THEIRS), version=champion)
    accounts.invite(email=f"{name}@example.net", roles=[(Role.UPLOADER, made.site)], actor=everyone.system)
    datasets.create_snapshot(name=f"{name} alone", query=Query(sites=(made.site.pk,)), actor=everyone.model)
    for number in range(5):
        record(actor_id=made.uploader.pk, action="image.viewed", subject=made.site, site_id=made.site.pk, number=number)
    return made
