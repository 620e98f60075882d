"""The gallery and the page of one image: what is shown, to whom, and with how many queries."""

import re
from html import unescape
from typing import Any

import pgtrigger
import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from portal.analyses.models import Analysis, Assessment
from portal.images.models import Image
from tests.cast import Cast, make_image, make_read

pytestmark = pytest.mark.django_db


def _queries(client: Any, url: str) -> int:
    client.get(url)
    with CaptureQueriesContext(
        connection,
    ) as captured:
        assert client.get(url).status_code == 200
    return len(captured)


def test_the_gallery_shows_a_sites_own_images_and_no_others(cast: Cast) -> None:
    own = make_image(cast.north, state="accepted", name="own-picture.jpg")
    make_image(cast.river, state="accepted", name="foreign-picture.jpg")
    page = cast.client(cast.alice).get("/images/").content.decode()
    assert "own-picture.jpg" in page
    assert f"/images/{own.pk}/" in page
    assert "foreign-picture.jpg" not in page
    assert "1 image of 1 patient" in page


def test_administrators_see_all_sites_and_readers_none(cast: Cast) -> None:
    make_image(cast.north, name="north-picture.jpg")
    make_image(cast.river, name="river-picture.jpg")
    page = cast.client(cast.max).get("/images/").content.decode()
    assert "north-picture.jpg" in page
    assert "river-picture.jpg" in page
    assert cast.client(cast.ravi).get("/images/").status_code == 403


@pytest.mark.parametrize(
    ("query", "shown"),
    [
        ("kind=lugol_iodine", {"iodine"}),
        ("kind=none", {"waiting", "raw"}),
        ("provenance=automatic", {"automatic"}),
        ("state=in_work", {"raw"}),
        ("state=in_review", {"waiting"}),
        ("search=PAT-9", {"iodine"}),
        ("said=lugol_iodine", {"iodine"}),
    ],
)
def test_filters_show_what_they_say(cast: Cast, query: str, shown: set[str]) -> None:
    make_image(cast.north, state="settled", kind="lugol_iodine", name="iodine.jpg", patient="PAT-9")
    make_image(cast.north, state="accepted", name="automatic.jpg")
    make_image(cast.north, state="in_review", name="waiting.jpg", p_non_regular=0.5)
    make_image(cast.north, state="received", name="raw.jpg")
    page = cast.client(cast.alice).get(f"/images/?{query}").content.decode()
    assert {name for name in ("iodine", "automatic", "waiting", "raw") if f"{name}.jpg" in page} == shown


def test_a_foreign_site_in_the_filter_is_no_choice(cast: Cast) -> None:
    page = cast.client(cast.alice).get(f"/images/?site={cast.river.pk}").content.decode()
    assert "not one of the available choices" in page
    assert "River" not in page


def test_pages_follow_one_another_without_a_gap(cast: Cast) -> None:
    from portal.images.selectors import Filters
    from portal.web.selectors import PAGE, GalleryFilter, gallery

    made = [make_image(cast.north).pk for _ in range(PAGE + 3)]
    first = gallery(cast.alice, GalleryFilter())
    second = gallery(cast.alice, GalleryFilter(own=Filters(before=first.next_before)))
    assert [image.pk for image in (*first.images, *second.images)] == made[::-1]
    assert second.next_before is None


def test_the_gallery_asks_the_same_number_of_queries_for_one_image_and_for_many(cast: Cast) -> None:
    make_image(cast.north, state="accepted")
    client = cast.client(cast.alice)
    few = _queries(client, "/images/")
    for state in ("settled", "accepted", "in_review", "received", "clean"):
        make_image(cast.north, state=state, patient=f"P-{state}")
    assert _queries(client, "/images/") == few


def test_the_start_page_asks_the_same_number_of_queries_for_one_image_and_for_many(cast: Cast) -> None:
    make_image(cast.north, state="accepted")
    client = cast.client(cast.sys)
    few = _queries(client, "/")
    for state in ("settled", "accepted", "in_review", "received"):
        make_image(cast.river, state=state, patient=f"P-{state}")
    assert _queries(client, "/") == few


def test_an_image_tells_its_whole_story(cast: Cast) -> None:
    image = make_image(cast.north, state="settled", kind="green_filter", name="story.jpg")
    page = cast.client(cast.alice).get(f"/images/{image.pk}/").content.decode()
    for said in ("story.jpg", "green_filter", "consensus of readers", "box-model", "box-label", "Deep SAD distance", "P1"):
        assert said in page, said


def _beside(image: Image, siblings: list[Image], *, p: float, kind: str, reasons: list[str]) -> None:
    before = image.assessments.get(current=True)
    Assessment.objects.filter(pk=before.pk).update(current=False)
    Assessment.objects.create(
        image=image, analysis=before.analysis, p_non_regular=p, kind=kind, route="review", reasons=reasons,
        siblings=[sibling.pk for sibling in siblings],
    )  # fmt: skip


def test_an_image_says_in_words_what_the_comparison_did(cast: Cast) -> None:
    image = make_image(cast.north, state="in_review", p_non_regular=0.06)
    siblings = [make_image(cast.north, state="accepted") for _ in range(2)]
    client = cast.client(cast.alice)
    before = _words(client.get(f"/images/{image.pk}/"))
    assert "Judged alone." in before
    assert "All 2 assessments" not in before
    _beside(image, siblings, p=0.97, kind="green_filter", reasons=["context_overturned"])
    page = client.get(f"/images/{image.pk}/")
    words = _words(page)
    assert "Judged beside 2 other images of this exam." in words
    assert "0.06 alone, 0.97 beside them" in words
    assert "That turned the answer round: regular alone, green filter beside them. So people decide." in words
    assert "beside the exam's other images it looks different than alone" in words
    assert "All 2 assessments" in words
    assert "green filter, p 0.97, review; beside 2 others" in words
    for sibling in siblings:
        assert f'<a href="/images/{sibling.pk}/">' in page.content.decode()
        assert f"/images/{sibling.pk}/thumb/" in page.content.decode()


def test_an_image_whose_answer_stands_says_so_and_one_without_an_exam_says_nothing(cast: Cast) -> None:
    image, other = (make_image(cast.north, state="accepted") for _ in range(2))
    _beside(image, [other], p=0.01, kind="regular", reasons=[])
    client = cast.client(cast.alice)
    assert "Judged beside 1 other image of this exam." in (words := _words(client.get(f"/images/{image.pk}/")))
    assert "0.02 alone, 0.01 beside it. The answer is the same." in words
    alone = _words(client.get(f"/images/{make_image(cast.north, state='accepted', patient=None).pk}/"))
    assert "Judged" not in alone


def test_a_doubt_that_the_comparison_took_away_is_not_shown_as_standing(cast: Cast) -> None:
    image, other = make_image(cast.north, state="accepted", p_non_regular=0.5), make_image(cast.north, state="accepted")
    _beside(image, [other], p=0.0, kind="regular", reasons=[])
    page = cast.client(cast.alice).get(f"/images/{image.pk}/")
    words = _words(page)
    assert "Why it is asked" not in words
    assert "non-regular (calibrated)0.000" in words.replace(" 0.000", "0.000")
    assert "green filter, the classifier alone" in words


def test_an_answer_that_had_nothing_to_compare_with_says_so(cast: Cast) -> None:
    image, other = (make_image(cast.north, state="accepted", p_non_regular=0.97, kind="green_filter") for _ in range(2))
    alone = image.assessments.get(current=True)
    _beside(image, [other], p=alone.p_non_regular, kind=alone.kind, reasons=[])
    words = _words(cast.client(cast.alice).get(f"/images/{image.pk}/"))
    assert "None of the others looks regular, so there was nothing to compare with" in words


UNUSUAL = "How unusual it looks to the model: "
TOLD = ("unlike the training images", "How unusual", "distance to the nearest training images", "log odds of non-regular")


def _with_parts(image: Image, **parts: float | None) -> Image:
    with pgtrigger.ignore():
        Analysis.objects.filter(image=image).update(**parts)
    return image


@pytest.mark.parametrize(
    ("ood", "words"),
    [
        (0.97, "farther from the model's training images than 97 % of the images held back from training."),
        (0.975, "farther from the model's training images than 97.5 % of the images held back from training."),
        (0.9999, "farther from the model's training images than 99.9 % of the images held back from training."),
        (1.0, "farther from the model's training images than all of the images held back from training."),
        (0.0, "no farther from the model's training images than the nearest of the images held back from training."),
    ],
)
def test_an_image_tells_in_words_how_unusual_it_is_to_the_model(cast: Cast, ood: float, words: str) -> None:
    image = _with_parts(make_image(cast.north, state="accepted"), ood=ood, neighbours=3.21987, logit=-1.5)
    told = _words(cast.client(cast.alice).get(f"/images/{image.pk}/"))
    assert UNUSUAL + words in told
    assert "Deep SAD distance 0.4000 distance to the nearest training images 3.2199" in told
    assert "log odds of non-regular, the classifier alone -1.5000" in told


def test_of_an_image_that_was_analysed_before_nothing_is_told_of_it(cast: Cast) -> None:
    image = make_image(cast.north, state="accepted")
    client = cast.client(cast.alice)
    known = _words(client.get(f"/images/{image.pk}/"))
    assert [said for said in TOLD if said not in known] == []
    _with_parts(image, ood=None, neighbours=None, logit=None)
    before = _words(client.get(f"/images/{image.pk}/"))
    assert [said for said in TOLD if said in before] == []
    assert "Deep SAD distance 0.4000" in before
    assert "None" not in before


def test_what_the_fusion_was_given_is_shown_to_those_who_see_the_deep_sad_distance_and_to_nobody_else(cast: Cast) -> None:
    image = make_image(cast.north, state="settled")
    seen = {}
    for name, person in cast.people().items():
        page = cast.client(person).get(f"/images/{image.pk}/").content.decode()
        seen[name] = {said in page for said in ("Deep SAD distance", *TOLD)}
    assert {name for name, told in seen.items() if told == {True}} == {"alice", "lena", "max", "sys"}
    assert {name for name, told in seen.items() if told == {False}} == {"bob", "rita", "ravi", "ada", "stella"}


def _words(page: Any) -> str:
    text = re.sub(r"<[^>]*>", "", page.content.decode())
    return unescape(" ".join(text.split()))


def test_a_site_lead_withdraws_an_image_and_says_why(cast: Cast) -> None:
    image = make_image(cast.north, state="in_review", p_non_regular=0.5)
    lead, address = cast.client(cast.lena), f"/images/{image.pk}/withdraw/"
    assert address in lead.get(f"/images/{image.pk}/").content.decode()
    for person in (cast.alice, cast.max):
        assert address not in cast.client(person).get(f"/images/{image.pk}/").content.decode()
        assert cast.client(person).post(address, {"reason": "no"}).status_code == 403
    assert lead.post(address, {"reason": " "}).status_code == 400
    assert lead.post(address, {"reason": "The patient asked for it."}).status_code == 302
    page = lead.get(f"/images/{image.pk}/").content.decode()
    assert "The patient asked for it." in page
    assert address not in page
    assert lead.post(address, {"reason": "Twice."}).status_code == 409
    assert image.review_tasks.get().state == "cancelled"


def test_the_story_asks_the_same_number_of_queries_with_one_sibling_and_with_many(cast: Cast) -> None:
    image = make_image(cast.north, state="settled")
    make_image(cast.north, state="accepted")
    client = cast.client(cast.alice)
    few = _queries(client, f"/images/{image.pk}/")
    for _ in range(4):
        make_image(cast.north, state="settled")
    assert _queries(client, f"/images/{image.pk}/") == few


def test_somebody_elses_image_answers_as_an_absent_one(cast: Cast) -> None:
    foreign = make_image(cast.river)
    client = cast.client(cast.alice)
    assert client.get(f"/images/{foreign.pk}/").status_code == 404
    assert client.get("/images/999999/").status_code == 404


def test_reads_of_an_open_task_are_not_shown(cast: Cast) -> None:

    image = make_image(cast.north, state="in_review", p_non_regular=0.5)
    make_read(task=image.review_tasks.get(), reader=cast.ravi, kind="unusable", note="a secret word")
    page = cast.client(cast.max).get(f"/images/{image.pk}/").content.decode()
    assert "a secret word" not in page
