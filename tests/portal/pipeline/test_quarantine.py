"""A picture in which something is written is its own site's to see, until somebody there has cleared it."""

from __future__ import annotations

import io
import zipfile
from typing import Any

import numpy as np
import pytest
from django.urls import reverse
from PIL import Image as Picture
from PIL import ImageDraw, ImageFont

from portal import ml
from portal.audit.models import AuditEvent
from portal.core.errors import BadInput, NotAllowed, WrongState
from portal.images import quarantine, storage
from portal.images.blanking import Region, blanked
from portal.images.models import Image, TextFound
from portal.jobs import services as jobs
from portal.jobs.models import Job
from portal.pipeline import handlers
from tests.cast import Cast, champion, make_image
from tests.portal.images import pictures
from tests.portal.pipeline.conftest import Toy

pytestmark = pytest.mark.django_db


def _written(text: str = "05:58 AMINA", at: tuple[int, int] = (20, 20)) -> bytes:
    picture = pictures.textured(5, 640, 480)
    ImageDraw.Draw(picture).text(at, text, fill=(255, 255, 0), font=ImageFont.load_default(28), stroke_width=1, stroke_fill=(0, 0, 0))
    return pictures.encoded(picture, quality=92)


def _analyse(*images: Image) -> None:
    champion()
    jobs.put(kind="analyse", subject_ids=[image.pk for image in images])
    while claims := jobs.claim("analyse", worker="test"):
        handlers.analyse(claims)
    for image in images:
        image.refresh_from_db()


@pytest.fixture(autouse=True)
def _really_looked_for(toy: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ml, "find_text", toy.find_text)


@pytest.fixture
def held(cast: Cast, toy: Toy) -> Image:
    image = make_image(cast.north, state="clean", data=_written())
    _analyse(image)
    return image


def test_it_is_set_aside_and_no_model_looks_at_it(cast: Cast, toy: Toy, held: Image) -> None:
    plain = make_image(cast.north, state="clean", data=pictures.encoded(pictures.textured(6, 640, 480)))
    _analyse(plain)
    assert (held.state, plain.state) == ("quarantined", "accepted")
    assert held.analyses.count() == held.review_tasks.count() == 0
    assert toy.batches[-1] == 1
    x0, y0, x1, y1 = TextFound.objects.get(image=held).boxes[0]
    assert x0 <= 20
    assert y0 <= 28
    assert x1 >= 160
    assert y1 >= 40
    assert AuditEvent.objects.filter(action="image.quarantined", subject_id=held.pk).count() == 1
    assert not Job.objects.exclude(state="done").exists()


def test_only_its_own_site_sees_it(cast: Cast, held: Image) -> None:
    for route in ("image_picture", "image_thumb"):
        answers = {name: cast.client(user).get(reverse(route, args=[held.pk])).status_code for name, user in cast.people().items()}
        assert answers == {
            "alice": 200, "lena": 200, "bob": 404, "rita": 403, "ravi": 403, "ada": 403, "stella": 403, "max": 403, "sys": 403,
        }  # fmt: skip
    page = cast.client(cast.alice).get(reverse("quarantine")).content.decode()
    assert held.original_name in page
    assert page.count("box-text") == len(TextFound.objects.get(image=held).boxes)
    assert held.original_name not in cast.client(cast.bob).get(reverse("quarantine")).content.decode()
    assert "image_picture" not in cast.client(cast.max).get(reverse("image", args=[held.pk])).content.decode()


def test_no_export_holds_it(cast: Cast, held: Image) -> None:
    answer: Any = cast.client(cast.lena).get(reverse("collection_zip", args=[cast.north.pk]))
    names = zipfile.ZipFile(io.BytesIO(b"".join(answer.streaming_content))).namelist()
    assert not [name for name in names if held.clean_sha256[:16] in name]


def test_blanked_it_goes_on_as_a_new_picture_and_the_old_one_is_gone(cast: Cast, held: Image) -> None:
    old = storage.clean_path(cast.north.pk, held.clean_sha256, "jpg")
    thumb = storage.thumb_path(cast.north.pk, held.clean_sha256)
    boxes = TextFound.objects.get(image=held).boxes
    ticked = {"box": [str(n) for n in range(len(boxes))]}
    answer = cast.client(cast.alice).post(reverse("image_blank", args=[held.pk]), ticked, follow=True)
    assert "is blanked" in answer.content.decode()
    handlers.HANDLERS["drop"].work(jobs.claim("drop", worker="test"))
    assert not old.exists()
    assert not thumb.exists()
    held.refresh_from_db()
    _analyse(held)
    assert held.state == "accepted"
    with Picture.open(storage.clean_path(cast.north.pk, held.clean_sha256, "jpg")) as picture:
        there = np.asarray(picture.crop(tuple(round(edge) for edge in boxes[0])), dtype=int)
    assert not ((there[..., 0] > 225) & (there[..., 1] > 225) & (there[..., 2] < 90)).any(), "no yellow letter is left"
    found = TextFound.objects.get(image=held)
    assert (found.boxes, found.cleared_by_id) == ([], cast.alice.pk)
    assert AuditEvent.objects.filter(action="image.blanked", subject_id=held.pk, actor_id=cast.alice.pk).count() == 1


def test_what_is_blanked_takes_nothing_from_inside_the_box() -> None:
    first = pictures.textured(1)
    second = first.copy()
    second.paste((255, 255, 255), (100, 80, 200, 120))
    box = [(100.0, 80.0, 200.0, 120.0)]
    assert blanked(first, box).tobytes() == blanked(second, box).tobytes()
    edge = blanked(first, [(-5.0, -5.0, 40.0, 400.0)])
    assert edge.crop((40, 0, 320, 240)).tobytes() == first.crop((40, 0, 320, 240)).tobytes()


def test_text_that_was_left_brings_it_back(cast: Cast, held: Image) -> None:
    quarantine.blank(image=held, boxes=[(300, 300, 310, 310)], actor=cast.alice)
    _analyse(held)
    assert held.state == "quarantined"


def test_released_it_goes_on_with_the_words_of_who_attests(cast: Cast, held: Image) -> None:
    with pytest.raises(BadInput):
        quarantine.release(image=held, attestation="ok", actor=cast.alice)
    with pytest.raises(NotAllowed):
        quarantine.release(image=held, attestation="only the timer", actor=cast.bob)
    browser = cast.client(cast.alice)
    browser.post(reverse("image_release", args=[held.pk]), {"attestation": "only the timer of the device"})
    _analyse(held)
    assert held.state == "accepted"
    said = AuditEvent.objects.get(action="image.released")
    assert (said.actor_id, said.details["attestation"]) == (cast.alice.pk, "only the timer of the device")
    with pytest.raises(WrongState):
        quarantine.release(image=held, attestation="only the timer", actor=cast.alice)


def test_withdrawn_it_stays_out(cast: Cast, held: Image) -> None:
    cast.client(cast.lena).post(reverse("image_withdraw", args=[held.pk]), {"reason": "Text in the picture"})
    held.refresh_from_db()
    assert held.state == "withdrawn"


@pytest.mark.parametrize("blank", [True, False])
def test_a_site_may_allow_the_place_of_its_timer(cast: Cast, toy: Toy, blank: bool) -> None:
    rule = {"x0": "0", "y0": "0", "x1": "60", "y1": "15", **({"blank": "on"} if blank else {})}
    address = reverse("text_rule", args=[cast.north.pk])
    assert cast.client(cast.alice).post(address, rule).status_code == 403
    assert cast.client(cast.lena).post(address, rule).status_code == 302
    inside = make_image(cast.north, state="clean", data=_written("05:58"))
    outside = make_image(cast.north, state="clean", data=_written("05:58", (20, 300)))
    elsewhere = make_image(cast.river, state="clean", data=_written("05:59"))
    before = inside.clean_sha256
    _analyse(inside, outside, elsewhere)
    assert [image.state for image in (inside, outside, elsewhere)] == ["accepted", "quarantined", "quarantined"]
    assert (inside.clean_sha256 != before) == blank
    assert AuditEvent.objects.get(action="site.text_rule").details["after"]["x1"] == 0.6


def test_a_rule_allows_a_tenth_of_the_picture_at_most(cast: Cast) -> None:
    with pytest.raises(BadInput):
        quarantine.set_rule(site=cast.north, region=Region(0, 0, 1, 0.5), blank=True, actor=cast.lena)


def test_it_is_looked_for_once(cast: Cast, toy: Toy) -> None:
    image = make_image(cast.north, state="clean", data=pictures.encoded(pictures.textured(7, 320, 240)))
    _analyse(image)
    checked = TextFound.objects.get(image=image).checked
    _analyse(image)
    assert TextFound.objects.get(image=image).checked == checked
