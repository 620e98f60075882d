"""No byte that a reader gets before their own answer tells where a picture came from or what others, or machines, said."""

from __future__ import annotations

import io
import re
from datetime import timedelta

import pytest
from django.db.models.functions import Now
from django.test import Client
from PIL import Image as Picture
from PIL.PngImagePlugin import PngInfo

from portal.accounts.models import Site
from portal.analyses.models import Assessment
from portal.audit.models import AuditEvent
from portal.images import storage
from portal.reviews.models import Lease, ReviewTask
from portal.reviews.room import blind
from tests.cast import Cast, make_image, make_read, make_user

pytestmark = pytest.mark.django_db


@pytest.fixture
def task(cast: Cast) -> ReviewTask:
    """One that tells much: a site, a file and a person with names that nothing else has, reasons, a score, an earlier answer."""
    Site.objects.filter(pk=cast.north.pk).update(name="Zanzibar Clinic", slug="zanzibar", country="Tanzania")
    image = make_image(
        cast.north, state="in_review", patient="PATIENT-4711", exam="EXAM-0815", name="secret-name.jpg", p_non_regular=0.4321
    )
    ReviewTask.objects.filter(image=image).update(reasons=["detector_low", "beyond_training_distances"], reads_needed=2, priority=0.8642)
    task = ReviewTask.objects.get(image=image)
    other = make_user("osvaldo")
    make_read(task=task, reader=other, kind="lugol_iodine", note="a remark of osvaldo", box=[11.5, 12.5, 61.5, 62.5])
    return task


def forbidden(task: ReviewTask) -> list[str]:
    image = task.image
    assessment = Assessment.objects.get(image=image, current=True)
    analysis = assessment.analysis
    return [
        "zanzibar", "tanzania", "secret-name", "patient-4711", "exam-0815", "alice", "osvaldo", "test camera", image.sha256,
        image.clean_sha256, "0.4321", "0.8642", "0.97", "detector", "beyond", "threshold", "11.5", "76.0", "a remark",
        image.created.strftime("%Y-%m-%d"), image.created.strftime("%H:%M"), str(analysis.version), "champion",
        f"{analysis.ood:.5f}", f"{analysis.neighbours:.4f}", f"{analysis.logit:.4f}", "training images", "unusual",
    ]  # fmt: skip


def everything(client: Client, address: str) -> str:
    """Body and headers of an answer, as text in lower case."""
    response = client.get(address)
    assert response.status_code == 200
    headers = "\n".join(f"{name}: {value}" for name, value in response.headers.items() if name != "Expires")
    return (headers + response.content.decode("latin-1")).lower()


def address_of(page: str) -> str:
    found = re.search(r'data-picture="([^"]+)"', page, re.IGNORECASE)
    assert found
    return found[1]


def test_the_page_tells_nothing(cast: Cast, task: ReviewTask) -> None:
    page = everything(cast.client(cast.rita), "/reading/")
    found = [word for word in forbidden(task) if word.lower() in page]
    assert found == []
    for number in (task.pk + 7000, task.image_id + 7000):
        assert str(number) not in page


def test_the_page_carries_no_number_of_task_or_image(cast: Cast, task: ReviewTask) -> None:
    """The same page for another task differs in its random address alone."""
    client = cast.client(cast.rita)
    first = client.get("/reading/").content.decode()
    ReviewTask.objects.filter(pk=task.pk).update(state="cancelled")
    Lease.objects.all().delete()
    make_image(cast.north, state="in_review")
    second = client.get("/reading/").content.decode()

    def plain(page: str) -> str:
        token = re.search(r'name="token" value="([^"]+)"', page)
        assert token
        page = page.replace(token[1], "TOKEN")
        page = re.sub(r'nonce="[^"]+"', "", page)
        page = re.sub(r"[A-Za-z0-9]{64}", "CSRF", page)
        return page

    assert plain(first) == plain(second)


def test_the_picture_tells_nothing_and_is_not_kept(cast: Cast, task: ReviewTask) -> None:
    client = cast.client(cast.rita)
    page = client.get("/reading/").content.decode()
    response = client.get(address_of(page))
    assert "no-store" in response["Cache-Control"]
    assert set(response.headers) <= {
        "Content-Type", "Content-Length", "Cache-Control", "Vary", "X-Frame-Options", "X-Content-Type-Options", "Referrer-Policy",
        "Cross-Origin-Opener-Policy", "Cross-Origin-Resource-Policy", "Permissions-Policy", "Content-Security-Policy", "Expires",
    }  # fmt: skip
    text = everything(client, address_of(page))
    assert [word for word in forbidden(task) if len(word) > 5 and word.lower() in text] == []
    with Picture.open(io.BytesIO(response.content)) as picture:
        assert picture.size == (task.image.width, task.image.height)
    event = AuditEvent.objects.filter(action="view_picture").latest("id")
    assert (event.actor_id, event.subject_id, event.site_id) == (cast.rita.pk, task.image_id, task.image.site_id)


def test_the_address_dies_with_the_lease_and_is_one_readers_own(cast: Cast, task: ReviewTask) -> None:
    client = cast.client(cast.rita)
    address = address_of(client.get("/reading/").content.decode())
    assert cast.client(cast.ada).get(address).status_code == 404
    assert cast.client(cast.alice).get(address).status_code == 403
    assert Client().get(address).status_code == 302
    Lease.objects.update(until=Now() - timedelta(seconds=1))
    assert client.get(address).status_code == 404
    absent = client.get("/reading/picture/nothing/").content
    assert re.sub(rb'nonce="[^"]+"|[A-Za-z0-9]{64}', b"", client.get(address).content) == re.sub(
        rb'nonce="[^"]+"|[A-Za-z0-9]{64}', b"", absent
    )


def test_what_a_file_carries_beside_its_pixels_is_left_out(cast: Cast, task: ReviewTask) -> None:
    """Even if something slipped past the sanitiser."""
    exif = Picture.Exif()
    exif[0x010E] = "taken at zanzibar"
    sink = io.BytesIO()
    source = Picture.new("RGB", (40, 30), (200, 90, 90))
    source.save(sink, "JPEG", exif=exif, comment=b"zanzibar comment", icc_profile=b"zanzibar profile")
    assert sink.getvalue().count(b"zanzibar") == 3
    storage.clean_path(task.image.site_id, task.image.clean_sha256, "jpg").write_bytes(sink.getvalue())
    client = cast.client(cast.rita)
    served = client.get(address_of(client.get("/reading/").content.decode())).content
    assert b"zanzibar" not in served
    with Picture.open(io.BytesIO(served)) as kept, Picture.open(sink) as given:
        assert kept.tobytes() == given.tobytes()


def test_a_png_loses_its_texts_and_keeps_its_pixels() -> None:
    sink, info = io.BytesIO(), PngInfo()
    info.add_text("Site", "zanzibar")
    Picture.new("RGB", (40, 30), (1, 2, 3)).save(sink, "PNG", pnginfo=info, exif=b"Exif\x00\x00zanzibar")
    served = blind.strip(sink.getvalue())
    assert b"zanzibar" not in served
    with Picture.open(io.BytesIO(served)) as kept:
        assert kept.convert("RGB").getpixel((5, 5)) == (1, 2, 3)


def test_what_is_said_after_an_answer_tells_nothing_of_others(cast: Cast, task: ReviewTask) -> None:
    client = cast.client(cast.rita)
    page = client.get("/reading/").content.decode()
    token = re.search(r'name="token" value="([^"]+)"', page)
    assert token
    after = client.post("/reading/answer/", {"token": token[1], "kind": "regular"}, follow=True).content.decode().lower()
    assert "recorded." in after
    assert [word for word in forbidden(task) if word.lower() in after] == []
    assert "disagree" not in after
    assert "adjudicat" not in after


def test_a_refused_answer_shows_what_was_written_and_nothing_of_others(cast: Cast, task: ReviewTask) -> None:
    client = cast.client(cast.rita)
    page = client.get("/reading/").content.decode()
    token = re.search(r'name="token" value="([^"]+)"', page)
    assert token
    ReviewTask.objects.filter(pk=task.pk).update(state="cancelled")
    response = client.post("/reading/answer/", {"token": token[1], "kind": "regular", "note": "my words"})
    assert response.status_code == 409
    assert "my words" in response.content.decode()
    assert [word for word in forbidden(task) if word.lower() in response.content.decode().lower()] == []


def test_a_withdrawn_picture_is_gone_at_once(cast: Cast, task: ReviewTask) -> None:
    client = cast.client(cast.rita)
    address = address_of(client.get("/reading/").content.decode())
    type(task.image).objects.filter(pk=task.image_id).update(state="withdrawn")
    assert client.get(address).status_code == 404
    assert client.get("/reading/").context["token"] == ""
