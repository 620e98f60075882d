"""The same photograph sent again by other bytes: found at its own site, told to its people, and to nobody else."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import imagehash
import pytest
from django.urls import reverse
from PIL import Image as Picture

from portal.audit.models import AuditEvent
from portal.core.errors import NotAllowed, WrongState
from portal.images import comparing, selectors, services
from portal.images.likeness import distance, look, same_picture
from portal.images.models import Image, Likeness, NearDuplicate, UploadFile
from portal.images.placing import carry_out, plan
from portal.jobs import services as jobs
from portal.jobs.models import Job
from portal.pipeline import handlers
from tests.cast import Cast, make_image
from tests.portal.images import pictures
from tests.portal.images.conftest import Send, image_of, sanitise_all

pytestmark = pytest.mark.django_db


def compare_all() -> None:
    while claims := jobs.claim("compare", worker="test"):
        handlers.compare(claims)


def _cropped(picture: Picture.Image) -> Picture.Image:
    across, down = picture.width // 100, picture.height // 100
    return picture.crop((across, down, picture.width - across, picture.height - down))


AGAIN: dict[str, Callable[[Picture.Image], bytes]] = {
    "written anew": lambda p: pictures.encoded(p, quality=40),
    "half the size": lambda p: pictures.encoded(p.resize((p.width // 2, p.height // 2)), quality=70),
    "as a PNG": lambda p: pictures.encoded(p, "PNG"),
    "a little cropped": lambda p: pictures.encoded(_cropped(p), quality=90),
    "a little brighter": lambda p: pictures.encoded(p.point(lambda v: min(255, int(v * 1.05 + 2))), quality=90),
}


def _two(send: Send, patients: tuple[str, str] = ("", ""), again: str = "half the size") -> tuple[Image, Image]:
    picture = pictures.textured(1)
    rows = [send("one.jpg", pictures.encoded(picture, quality=92)), send("two.jpg", AGAIN[again](picture))]
    send("unlike.jpg", pictures.encoded(pictures.textured(2), quality=92))
    sanitise_all()
    for row, patient in zip(rows, patients, strict=True):
        _place(row, patient)
    compare_all()
    return image_of(rows[0]), image_of(rows[1])


def _place(row: UploadFile, patient: str) -> None:
    row.patient_code = patient
    carry_out(plan([(image_of(row), row)]))


def test_the_hash_is_that_of_imagehash() -> None:
    for seed in range(5):
        picture = pictures.textured(seed)
        bits = "".join("1" if bit else "0" for bit in imagehash.phash(picture).hash.ravel())
        assert look(picture).phash == bits


@pytest.mark.parametrize("again", AGAIN)
def test_the_same_photograph_is_known_again(send: Send, again: str) -> None:
    first, second = _two(send, again=again)
    assert list(NearDuplicate.objects.values_list("image", "other")) == [(second.pk, first.pk)]
    assert [event.details["other"] for event in AuditEvent.objects.filter(action="image.near_duplicate")] == [first.pk]
    assert not Likeness.objects.filter(compared=None).exists()


def test_another_view_in_other_colours_is_another_photograph() -> None:
    red = pictures.textured(3)
    green = Picture.merge("RGB", [red.getchannel(band) for band in (1, 0, 2)])
    seen, other = look(red), look(green)
    assert not same_picture(distance(seen.phash, seen.phash), seen.sketch, other.sketch)


@pytest.mark.parametrize(
    ("patients", "said"),
    [
        (("P1", "P1"), "of the same patient"),
        (("P1", "P2"), "of patient P1. Two patients may have been mixed up"),
        (("P1", ""), "One of the two names no patient"),
    ],
)
def test_who_sent_it_reads_what_it_may_mean(send: Send, cast: Cast, patients: tuple[str, str], said: str) -> None:
    first, second = _two(send, patients)
    browser = cast.client(cast.alice)
    page = browser.get(reverse("upload", args=[second.upload_id])).content.decode()
    assert page.count(f"the same photograph as image {first.pk}") == page.count(said) == 1
    assert said in browser.get(reverse("image", args=[second.pk])).content.decode()
    assert f"as image {second.pk}" in browser.get(reverse("image", args=[first.pk])).content.decode()


def test_moved_to_the_right_patient_it_is_a_mix_up_no_longer(send: Send) -> None:
    first, second = _two(send, ("P1", "P2"))
    assert selectors.near([second.pk])[second.pk][0].relation == "other_patient"
    Image.objects.filter(pk=second.pk).update(exam=first.exam)
    assert selectors.near([second.pk])[second.pk][0].relation == "same_patient"


def test_a_person_can_say_that_they_are_not_the_same(send: Send, cast: Cast) -> None:
    first, second = _two(send)
    pair = NearDuplicate.objects.get()
    answer = cast.client(cast.alice).post(reverse("near_dismiss", args=[pair.pk]), follow=True)
    assert "not the same photograph" in answer.content.decode()
    assert selectors.near([first.pk, second.pk]) == {}
    said = AuditEvent.objects.get(action="image.near_dismissed")
    assert (said.actor_id, said.subject_id, said.details["other"]) == (cast.alice.pk, second.pk, first.pk)
    with pytest.raises(WrongState):
        comparing.dismiss(pair=pair, actor=cast.alice)
    with pytest.raises(NotAllowed):
        comparing.dismiss(pair=pair, actor=cast.bob)


def test_a_site_learns_nothing_of_another_sites_holdings(send: Send, cast: Cast) -> None:
    """Alice's pages are the same bytes before and after river gets the same photograph, and again when river's is compared first."""
    row = send("one.jpg", pictures.encoded(pictures.textured(1), quality=92))
    sanitise_all()
    compare_all()
    before = _pages(cast, image_of(row))
    theirs = services.open_upload(site=cast.river, actor=cast.bob)
    send("copy.jpg", pictures.encoded(pictures.textured(1), quality=60), to=theirs, actor=cast.bob)
    sanitise_all()
    compare_all()
    jobs.put(kind="compare", subject_ids=[image_of(row).pk])
    compare_all()
    assert _pages(cast, image_of(row)) == before
    assert not NearDuplicate.objects.exists()


def _pages(cast: Cast, image: Image) -> list[bytes]:
    browser = cast.client(cast.alice)
    addresses = [
        reverse("image", args=[image.pk]), reverse("upload", args=[image.upload_id]), reverse("upload_live", args=[image.upload_id]),
        reverse("upload_outcomes", args=[image.upload_id]), reverse("gallery"), reverse("home"), reverse("upload_list"),
    ]  # fmt: skip
    answers: list[Any] = [browser.get(address) for address in addresses]
    bodies = [b"".join(a.streaming_content) if a.streaming else a.content for a in answers]
    masks = rb'nonce="[^"]*"|name="csrfmiddlewaretoken" value="[^"]*"|"x-csrftoken": "[^"]*"'
    return [re.sub(masks, b"", body) for body in bodies]


def test_images_from_before_are_compared_too(cast: Cast) -> None:
    picture = pictures.textured(4)
    for quality in (95, 60):
        make_image(cast.north, state="settled", data=pictures.encoded(picture, quality=quality))
    received = make_image(cast.north)
    assert comparing.compare_the_rest() == 2
    compare_all()
    assert NearDuplicate.objects.count() == 1
    assert not Likeness.objects.filter(image=received).exists()
    assert comparing.compare_the_rest() == 0


def test_comparing_again_finds_no_pair_twice(send: Send) -> None:
    first, second = _two(send)
    jobs.put(kind="compare", subject_ids=[first.pk, second.pk])
    compare_all()
    assert NearDuplicate.objects.count() == AuditEvent.objects.filter(action="image.near_duplicate").count() == 1
    assert not Job.objects.filter(kind="compare").exclude(state="done").exists()
