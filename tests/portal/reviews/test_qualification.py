"""Before real pictures a reader answers a set of known ones, and is let in by what they said, or by whoever leads the study."""

from __future__ import annotations

from typing import Any

import pytest

from portal.accounts.models import Role, User
from portal.audit.models import AuditEvent
from portal.core.errors import BadInput, WrongState
from portal.ml import Kind
from portal.reviews import rest, standing
from portal.reviews.models import KnownImage, Purpose, Qualification, ReviewTask
from portal.reviews.quality import qualification
from portal.reviews.quality.qualification import Result, Standard, count, reached
from portal.reviews.services import Answer, lease_next, set_rules, submit_read
from tests.cast import Cast, make_image, make_task, make_user

pytestmark = pytest.mark.django_db


def known(cast: Cast, *kinds: str) -> None:
    for kind in kinds:
        image = make_image(cast.north, state="settled", kind=kind)
        KnownImage.objects.create(image=image, kind=kind)


@pytest.fixture
def asked(cast: Cast) -> None:
    """The study asks for 3 of 4, and finds half of what is not regular; the set holds two regular pictures and two others."""
    known(cast, "regular", "regular", "lugol_iodine", "green_filter")
    set_rules(site=None, qualify_agreement=0.75, qualify_sensitivity=0.5, actor=cast.stella)
    qualification.choose(per_kind=2, actor=cast.stella)
    make_task(cast.north)


def answer_all(reader: User, *wrong: int) -> list[ReviewTask]:
    """All that qualifies, in the order in which it comes; those numbered `wrong` by another kind."""
    given: list[ReviewTask] = []
    while (lease := lease_next(reader=reader)) and lease.task.purpose == Purpose.QUALIFICATION:
        kind = KnownImage.objects.get(image=lease.task.image).kind
        said = "not_cervix" if len(given) in wrong else kind
        submit_read(task=lease.task, reader=reader, answer=Answer(said))
        given.append(lease.task)
    return given


@pytest.mark.usefixtures("asked")
def test_only_the_set_is_given_until_it_is_answered_well_enough(cast: Cast) -> None:
    given = answer_all(cast.ravi)
    assert len(given) == 4
    lease = lease_next(reader=cast.ravi)
    assert lease is not None
    assert lease.task.purpose == Purpose.REVIEW
    row = Qualification.objects.get(reader=cast.ravi)
    assert (row.answered, row.right, row.not_regular, row.found, row.waived_by) == (4, 4, 2, 2, None)
    assert AuditEvent.objects.get(action="reader_qualified").details == {
        "answered": 4,
        "right": 4,
        "not_regular": 2,
        "found": 2,
        "patients": 1,
    }


@pytest.mark.usefixtures("asked")
def test_who_is_not_good_enough_is_told_so_and_let_in_by_the_study_lead_alone(cast: Cast) -> None:
    assert len(answer_all(cast.ravi, 0, 1)) == 4
    client = cast.client(cast.ravi)
    page = client.get("/reading/")
    assert page.context["token"] == ""
    assert "all 4 pictures of the qualification, 2 as expected. Talk to the study lead" in page.content.decode()
    assert "2 of 4 right" in client.get("/reading/when/").content.decode()
    lead = cast.client(cast.stella)
    shown = lead.get("/reviews/qualification/").content.decode()
    assert "2 of 4 right" in shown
    assert "not yet" in shown
    lead.post(f"/reviews/qualification/{cast.ravi.pk}/waive/")
    assert Qualification.objects.get(reader=cast.ravi).waived_by == cast.stella
    assert AuditEvent.objects.get(action="qualification_waived").actor_id == cast.stella.pk
    assert lease_next(reader=cast.ravi) is not None
    assert "let in by Stella" in lead.get("/reviews/qualification/").content.decode()


@pytest.mark.usefixtures("asked")
def test_more_pictures_are_a_further_chance_and_another_set_a_new_beginning(cast: Cast) -> None:
    answer_all(cast.ravi, 0, 1, 2)
    known(cast, "lugol_iodine", "lugol_iodine", "regular", "regular", "green_filter")
    assert qualification.choose(per_kind=3, actor=cast.stella) == 4
    assert len(answer_all(cast.ravi)) == 4
    assert not Qualification.objects.exists(), "5 of 8 are not three quarters"
    assert qualification.empty(actor=cast.stella) == 8
    assert qualification.result(standing.of(cast.ravi)).answered == 0
    assert qualification.choose(per_kind=3, actor=cast.stella) == 1
    assert len(answer_all(cast.ravi)) == 1
    assert Qualification.objects.get().right == 1


@pytest.mark.usefixtures("asked")
def test_a_reader_is_judged_over_what_is_not_of_their_own_site(cast: Cast) -> None:
    KnownImage.objects.create(image=make_image(cast.river, state="settled", kind="regular"), kind="regular", qualifying=True)
    assert qualification.result(standing.of(cast.rita)).left == 4
    assert qualification.result(standing.of(cast.ravi)).left == 5
    assert len(answer_all(cast.rita)) == 4
    assert Qualification.objects.filter(reader=cast.rita).exists()


def test_an_empty_set_is_said_to_the_reader_and_to_the_study_lead(cast: Cast) -> None:
    make_task(cast.north)
    set_rules(site=None, qualify_agreement=0.9, actor=cast.stella)
    assert lease_next(reader=cast.ravi) is None
    assert "not chosen yet" in rest.why(cast.ravi)
    assert rest.why(cast.ada, adjudicating=True) == ""
    assert "The set is empty" in cast.client(cast.stella).get("/reviews/qualification/").content.decode()


@pytest.mark.usefixtures("asked")
def test_where_nothing_is_asked_for_any_more_everybody_reads(cast: Cast) -> None:
    set_rules(site=None, actor=cast.stella)
    lease = lease_next(reader=cast.ravi)
    assert lease is not None
    assert lease.task.purpose == Purpose.REVIEW


@pytest.mark.parametrize(
    ("result", "standard", "good"),
    [
        (Result(10, 7, 4, 4), Standard(agreement=0.7), True),
        (Result(10, 6, 4, 4), Standard(agreement=0.7), False),
        (Result(10, 10, 4, 2), Standard(sensitivity=0.5), True),
        (Result(10, 8, 4, 1), Standard(agreement=0.7, sensitivity=0.5), False),
        (Result(10, 10, 0, 0), Standard(sensitivity=1.0), True),
        (Result(9, 9, 4, 4, left=1), Standard(agreement=0.5), False),
        (Result(), Standard(agreement=0.5), False),
    ],
)
def test_both_shares_must_be_reached_at_the_end_of_the_set(result: Result, standard: Standard, good: bool) -> None:
    assert reached(result, standard) == good


def test_answers_are_counted_by_what_is_known() -> None:
    answers = [
        ("regular", "regular", 1),
        ("lugol_iodine", "regular", 1),
        ("lugol_iodine", "lugol_iodine", None),
        ("cannot_tell", "unusable", 2),
    ]
    assert count(answers) == Result(4, 2, 2, 1, patients=3)


def test_the_set_is_drawn_of_every_kind_as_far_as_there_are(cast: Cast) -> None:
    known(cast, *["regular"] * 3, "lugol_iodine")
    client = cast.client(cast.stella)
    page = client.post("/reviews/qualification/choose/", {"per_kind": "2"}, follow=True).content.decode()
    assert "3 pictures came into the set." in page
    assert qualification.chosen() == {**dict.fromkeys((kind.value for kind in Kind), 0), "regular": 2, "lugol_iodine": 1}
    assert client.post("/reviews/qualification/choose/", {"per_kind": "0"}).status_code == 400
    with pytest.raises(BadInput):
        qualification.choose(per_kind=1_000, actor=cast.stella)
    assert "3 pictures left the set" in client.post("/reviews/qualification/empty/", follow=True).content.decode()


def test_nobody_lets_themselves_in_or_somebody_who_reads_nothing(cast: Cast) -> None:
    both = make_user("both", (Role.STUDY_LEAD, None), (Role.READER, None))
    with pytest.raises(WrongState, match="themselves"):
        qualification.waive(reader=both, actor=both)
    with pytest.raises(WrongState, match="no reader"):
        qualification.waive(reader=cast.alice, actor=both)
    qualification.waive(reader=cast.ravi, actor=both)
    with pytest.raises(WrongState, match="already"):
        qualification.waive(reader=cast.ravi, actor=both)
    assert cast.client(cast.stella).post(f"/reviews/qualification/{cast.alice.pk}/waive/").status_code == 404
    assert cast.client(cast.ravi).get("/reviews/qualification/").status_code == 403


def test_the_page_takes_the_same_number_of_queries_for_many_readers(cast: Cast, django_assert_max_num_queries: Any) -> None:
    for number in range(12):
        make_user(f"reader{number}", (Role.READER, None))
    client = cast.client(cast.stella)
    with django_assert_max_num_queries(16):
        assert client.get("/reviews/qualification/").status_code == 200
