"""The pages of uploads: who may send and see what, answers as the script expects them, and a fixed number of queries."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import reverse

from portal.audit.models import AuditEvent
from portal.images import services
from portal.images.models import Image, Upload, UploadFile
from tests.cast import Cast, give_reasons, make_image
from tests.portal.images import pictures
from tests.portal.images.conftest import Send, image_of, sanitise_all

pytestmark = pytest.mark.django_db
JSON = {"accept": "application/json"}


def post_file(client: Client, upload: Upload, data: bytes, name: str = "a.jpg") -> Any:
    url = reverse("upload_file", args=[upload.pk]) + f"?name={name}"
    return client.post(url, data, content_type="application/octet-stream", headers=JSON)


def test_the_script_opens_sends_and_closes_an_upload(cast: Cast) -> None:
    client = cast.client(cast.alice)
    made = client.post(reverse("upload_new"), {"site": cast.north.pk, "note": "May", "expected": 2}, headers=JSON)
    assert made.status_code == 201
    where = made.json()
    sent = client.post(where["files"] + "?name=a.jpg", pictures.encoded(), content_type="image/jpeg", headers=JSON)
    assert (sent.status_code, sent.json()["outcome"]) == (200, "accepted")
    table = SimpleUploadedFile("t.csv", b"file,patient\na.jpg,P1\nb.jpg,P2\n")
    told = client.post(where["table"], {"table": table}, headers=JSON).json()
    assert (told["rows"], told["matched"], told["errors"]) == (2, 1, [])
    assert client.post(where["close"], headers=JSON).json() == {"page": where["page"]}
    page = client.get(where["page"]).content.decode()
    assert "a.jpg" in page
    assert "named by the table, never sent" in page


def test_without_the_script_the_form_leads_to_the_uploads_page(cast: Cast) -> None:
    client = cast.client(cast.alice)
    answer = client.post(reverse("upload_new"), {"site": cast.north.pk})
    assert answer["Location"] == reverse("upload", args=[Upload.objects.get().pk])


def test_only_own_sites_can_be_chosen(cast: Cast) -> None:
    client = cast.client(cast.alice)
    page = client.get(reverse("upload_new")).content.decode()
    assert "North" in page
    assert "River" not in page
    assert client.post(reverse("upload_new"), {"site": cast.river.pk}, headers=JSON).status_code == 400
    assert not Upload.objects.exists()


def test_every_file_gets_its_own_answer(cast: Cast, upload: Upload) -> None:
    client = cast.client(cast.alice)
    answers = [
        post_file(client, upload, data, name).json() for name, data in (("a.jpg", pictures.encoded()), ("b.jpg", b""), ("c.jpg", b"words"))
    ]
    assert [a["outcome"] for a in answers] == ["accepted", "rejected", "rejected"]
    assert "0 bytes" in answers[1]["message"]


def test_a_file_over_the_limit_is_answered_and_not_cut_off(cast: Cast, upload: Upload, settings: Any) -> None:
    settings.MAX_FILE_BYTES = 1_000_000
    answer = post_file(cast.client(cast.alice), upload, b"\xff\xd8\xff" + b"x" * 5_000_000)
    assert (answer.status_code, answer.json()["outcome"]) == (200, "rejected")


def test_a_table_that_cannot_be_used_is_a_400_with_words(cast: Cast, upload: Upload) -> None:
    table = SimpleUploadedFile("t.csv", b"patient\nP1\n")
    answer = cast.client(cast.alice).post(reverse("upload_table", args=[upload.pk]), {"table": table}, headers=JSON)
    assert answer.status_code == 400
    assert "The column 'file' is missing" in answer.json()["message"]


def test_the_page_polls_until_nothing_is_in_work(cast: Cast, upload: Upload, send: Send) -> None:
    client, live = cast.client(cast.alice), reverse("upload_live", args=[upload.pk])
    send("a.jpg", pictures.encoded()[:400])
    services.close_upload(upload=upload, actor=cast.alice)
    assert "hx-trigger" in client.get(live).content.decode()
    sanitise_all()
    answer = client.get(live).content.decode()
    assert "hx-trigger" not in answer
    assert "damaged or was not copied completely" in answer


def test_outcomes_as_csv_with_cells_that_no_spreadsheet_runs(cast: Cast, upload: Upload, send: Send) -> None:
    send("=cmd()|x.jpg", b"words")
    send("good.jpg")
    data = b"".join(cast.client(cast.alice).get(reverse("upload_outcomes", args=[upload.pk])).streaming_content)  # type: ignore[attr-defined]
    rows = list(csv.DictReader(io.StringIO(data.decode())))
    assert [row["outcome"] for row in rows] == ["rejected", "accepted"]
    assert not rows[0]["file"].startswith("=")


@pytest.mark.parametrize("person", ["bob", "rita"])
def test_strangers_get_nothing_of_an_upload(cast: Cast, upload: Upload, send: Send, person: str) -> None:
    image = image_of(send("secret.jpg"))
    client = cast.client(cast.people()[person])
    for route, key in (("upload", upload.pk), ("upload_live", upload.pk), ("upload_outcomes", upload.pk), ("image_thumb", image.pk)):
        assert client.get(reverse(route, args=[key])).status_code in (403, 404)
    for route in ("upload_close", "upload_cancel", "upload_table"):
        assert client.post(reverse(route, args=[upload.pk])).status_code in (403, 404)
    assert post_file(client, upload, pictures.encoded()).status_code in (403, 404)
    assert "secret" not in client.get(reverse("upload_list")).content.decode()


def test_an_administrator_sees_uploads_but_sends_none_and_opens_no_original(cast: Cast, upload: Upload) -> None:
    image = make_image(cast.north, state="clean", upload=upload)
    client = cast.client(cast.sys)
    assert client.get(reverse("upload", args=[upload.pk])).status_code == 200
    assert client.get(reverse("image_picture", args=[image.pk])).status_code == 200
    assert client.get(reverse("image_original", args=[image.pk])).status_code == 403
    assert post_file(client, upload, pictures.encoded()).status_code == 403


def test_pictures_are_private_and_a_full_view_leaves_an_event(cast: Cast) -> None:
    image = make_image(cast.north, state="clean", name='naïve"; x=y.html')
    client = cast.client(cast.lena)
    thumb, picture, original = (client.get(reverse(f"image_{what}", args=[image.pk])) for what in ("thumb", "picture", "original"))
    assert [r["Content-Type"] for r in (thumb, picture, original)] == ["image/jpeg", "image/jpeg", "application/octet-stream"]
    assert [r["X-Content-Type-Options"] for r in (thumb, picture, original)] == ["nosniff"] * 3
    assert [r["Cache-Control"] for r in (thumb, picture, original)] == ["private, no-store"] * 3
    assert original["Content-Disposition"].startswith("attachment")
    assert picture["Content-Disposition"] == f'inline; filename="{image.clean_sha256}.jpg"'
    events = AuditEvent.objects.filter(actor_id=cast.lena.pk, subject_id=image.pk).order_by("pk")
    assert [event.action for event in events][-2:] == ["image.picture_viewed", "image.original_viewed"]


def test_an_image_without_a_clean_picture_has_none_to_show(cast: Cast) -> None:
    image = make_image(cast.north, state="received")
    assert cast.client(cast.alice).get(reverse("image_picture", args=[image.pk])).status_code == 404


def test_a_missing_file_is_not_found_and_not_a_crash(cast: Cast, stores: Path) -> None:
    image = make_image(cast.north, state="clean")
    for path in stores.rglob("*.jpg"):
        path.unlink()
    assert cast.client(cast.alice).get(reverse("image_thumb", args=[image.pk])).status_code == 404


def test_a_failed_image_is_tried_again_from_the_page(cast: Cast) -> None:
    image = make_image(cast.north, state="failed")
    client = cast.client(cast.alice)
    assert client.post(reverse("image_retry", args=[image.pk])).status_code == 302
    assert Image.objects.get(pk=image.pk).state == "received"
    assert client.post(reverse("image_retry", args=[image.pk])).status_code == 409


def test_filters_and_pages_of_files(cast: Cast, upload: Upload) -> None:
    UploadFile.objects.bulk_create(UploadFile(upload=upload, name=f"{n}.jpg", outcome="rejected", message="no") for n in range(130))
    client = cast.client(cast.alice)
    first = client.get(reverse("upload", args=[upload.pk]) + "?show=problems").content.decode()
    assert "99.jpg" in first
    assert "100.jpg" not in first
    last = UploadFile.objects.get(name="99.jpg").pk
    assert "100.jpg" in client.get(reverse("upload", args=[upload.pk]) + f"?show=problems&after={last}").content.decode()
    assert "No file is like that" in client.get(reverse("upload", args=[upload.pk]) + "?show=accepted").content.decode()


def test_an_upload_says_what_is_wrong_with_a_picture_and_what_to_do_at_the_camera(cast: Cast, upload: Upload) -> None:
    blurred, fine = (make_image(cast.north, state="in_review", upload=upload, p_non_regular=0.5, patient=f"P{n}") for n in range(2))
    give_reasons(blurred, ["blurred", "between_thresholds"])
    page = cast.client(cast.alice).get(reverse("upload", args=[upload.pk])).content.decode()
    assert page.count("The picture is out of focus. Hold the camera still") == 1
    assert "two thresholds" not in page
    assert "out of focus" in cast.client(cast.alice).get(reverse("image", args=[blurred.pk])).content.decode()
    assert "out of focus" not in cast.client(cast.alice).get(reverse("image", args=[fine.pk])).content.decode()


@pytest.mark.parametrize("count", [1, 12])
@pytest.mark.parametrize("route", ["upload_list", "upload", "upload_live", "upload_outcomes"])
def test_pages_take_a_fixed_number_of_queries(
    cast: Cast, upload: Upload, route: str, count: int, django_assert_max_num_queries: Any
) -> None:
    for n in range(count):
        make_image(cast.north, state="clean", upload=upload, patient=f"P{n}")
        services.open_upload(site=cast.north, actor=cast.alice)
    client = cast.client(cast.alice)
    with django_assert_max_num_queries(14):
        answer = client.get(reverse(route, args=[] if route == "upload_list" else [upload.pk]))
        assert answer.status_code == 200
        _ = b"".join(answer.streaming_content) if answer.streaming else answer.content  # type: ignore[attr-defined]


@pytest.mark.parametrize("count", [1, 12])
def test_receiving_takes_a_fixed_number_of_queries(cast: Cast, send: Send, count: int, django_assert_max_num_queries: Any) -> None:
    for n in range(count):
        send(f"{n}.jpg")
    with django_assert_max_num_queries(22):
        send("next.jpg")


class _BrokenLine(io.BytesIO):
    """What a web server reads of a line that goes dead after some bytes."""

    def read(self, size: int | None = -1, /) -> bytes:
        if data := super().read(size):
            return data
        raise ConnectionResetError("gone")


def test_a_line_that_breaks_is_not_taken_for_a_full_disk(cast: Cast, upload: Upload, stores: Path) -> None:
    url = reverse("upload_file", args=[upload.pk]) + "?name=a.jpg"
    broken: dict[str, Any] = {"wsgi.input": _BrokenLine(pictures.encoded()), "CONTENT_LENGTH": "100000"}
    answer = cast.client(cast.alice).post(url, b"", content_type="image/jpeg", headers=JSON, **broken)
    assert (answer.status_code, answer.json()["code"]) == (400, "incomplete")
    assert not UploadFile.objects.exists()
    assert list((stores / "originals" / ".incoming").iterdir()) == []
