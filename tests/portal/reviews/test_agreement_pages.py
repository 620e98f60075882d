"""Agreement with intervals by patient, for those who lead the study; a reader sees their own and nobody else's."""

from __future__ import annotations

import math
import random
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.db.models import QuerySet
from django.db.models.functions import Now
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from portal.accounts.models import Role, User
from portal.reviews.agreement import Paired, by_kind, estimates
from portal.reviews.models import Lease, Read, ReviewTask
from portal.reviews.quality.pairs import first_pairs
from portal.reviews.room.looking_back import AMENDABLE
from tests.cast import Cast, make_image, make_read, make_task, make_user
from tests.portal.reviews import one_by_one

KINDS = ("regular", "green_filter", "lugol_iodine")


def pairs_of(count: int, *, patients: int, seed: int = 5) -> list[Paired]:
    chance = random.Random(seed)
    made = []
    for number in range(count):
        kind = chance.choices(KINDS, (8, 2, 1))[0]
        other = kind if chance.random() < 0.8 else chance.choice(KINDS)
        made.append(Paired(kind, other, number % patients))
    return made


def test_all_at_once_is_what_each_formula_says_by_itself() -> None:
    pairs = pairs_of(120, patients=40)
    answers = [(pair.first, pair.second) for pair in pairs]
    found = estimates(pairs)
    assert found["raw"].value == pytest.approx(one_by_one.raw(answers))
    assert found["kappa"].value == pytest.approx(one_by_one.cohen_kappa(answers))
    assert found["ac1"].value == pytest.approx(one_by_one.gwet_ac1(answers))
    assert found["alpha"].value == pytest.approx(one_by_one.krippendorff_alpha(answers))
    assert all(figure.low < figure.value < figure.high for figure in found.values())
    assert (found["raw"].total, found["raw"].patients) == (120, 40)
    assert found["raw"].hits == sum(a == b for a, b in answers)


def test_a_patient_photographed_often_says_no_more_than_once() -> None:
    few = pairs_of(40, patients=40)
    often = [pair for pair in few for _ in range(10)]
    narrow, wide = estimates([Paired(p.first, p.second, n) for n, p in enumerate(often)])["raw"], estimates(often)["raw"]
    assert (narrow.total, wide.total) == (400, 400)
    assert wide.high - wide.low > 2 * (narrow.high - narrow.low)
    assert wide.value == narrow.value


def test_what_cannot_be_said_is_not_said() -> None:
    assert estimates([]) == {}
    assert math.isnan(estimates([Paired("regular", "regular", 1)] * 9)["raw"].value), "one patient shows nothing of others"
    same = estimates([Paired("regular", "regular", n) for n in range(9)])
    assert math.isnan(same["kappa"].value)
    assert math.isnan(same["alpha"].value), "of one kind alone chance would agree too"
    assert (same["raw"].value, same["ac1"].value) == (1.0, 1.0)


def one_apart_of(patients: int, *, apart: int) -> list[Paired]:
    """All patients regular by both readers but for `apart` of them, whom one of the two calls green."""
    return [Paired("green_filter" if n < apart else "regular", "regular", n) for n in range(patients)]


def test_no_interval_is_stated_where_drawings_say_nothing() -> None:
    """Of 60 patients one was ever called green: a third of the drawings holds regular alone, where kappa and alpha are unknown."""
    found = estimates(one_apart_of(60, apart=1))
    assert found["kappa"].value == pytest.approx(0.0)
    assert found["alpha"].value == pytest.approx(0.0)
    assert not found["kappa"].sure
    assert not found["alpha"].sure
    assert all(math.isnan(end) for name in ("kappa", "alpha") for end in (found[name].low, found[name].high))
    assert found["raw"].low < found["raw"].value < found["raw"].high
    assert found["ac1"].sure


@pytest.mark.parametrize(("apart", "stated"), [(1, False), (2, False), (4, True), (6, True)])
def test_an_interval_is_stated_from_a_twentieth_of_unknown_drawings_down(apart: int, stated: bool) -> None:
    """None of k patients is drawn with a chance of (1 - k / 60)^60: 0.37, 0.13, 0.016 and 0.002."""
    pairs = one_apart_of(60, apart=apart)
    assert [estimates(pairs)[name].sure for name in ("kappa", "alpha")] == [stated] * 2
    assert by_kind(pairs)["green_filter"].sure == stated
    assert by_kind(pairs)["regular"].sure


def test_agreement_on_a_kind_by_hand() -> None:
    # green: both 6, the first alone 1, the second alone 3: 2 * 6 / (7 + 9)
    said = [("green_filter", "green_filter")] * 6 + [("green_filter", "regular")] + [("regular", "green_filter")] * 3
    found = by_kind([Paired(*pair, n) for n, pair in enumerate([*said, *[("regular", "regular")] * 5])])
    assert found["green_filter"].value == pytest.approx(12 / 16)
    assert (found["green_filter"].hits, found["green_filter"].total, found["green_filter"].patients) == (6, 10, 10)


# ---- pages ------------------------------------------------------------------------------------------------------------


LONG_AGO = AMENDABLE + timedelta(minutes=1)


def answer(cast: Cast, readers: tuple[User, User], count: int, *, state: str = "closed", apart: int = 4, ago: timedelta = LONG_AGO) -> None:
    for number in range(count):
        image = make_image(cast.north, state="in_review", patient=f"P{Read.objects.count() // 2 % 25}")
        task = make_task(image)
        kinds = ("regular", "green_filter") if number % apart == 0 else ("regular", "regular")
        for reader, kind in zip(readers, kinds, strict=True):
            make_read(task=task, reader=reader, kind=kind, seconds=4.0, created=timezone.now() - ago)
        ReviewTask.objects.filter(pk=task.pk).update(state=state)


@pytest.mark.django_db
def test_those_who_lead_the_study_see_agreement_by_site_month_readers_and_kind(cast: Cast) -> None:
    answer(cast, (cast.rita, cast.ravi), 12)
    with CaptureQueriesContext(connection) as few:
        page = cast.client(cast.max).get("/reviews/agreement/").content.decode()
    for words in ("Gwet&#x27;s AC1", "Krippendorff", "North", "Ravi and Rita", "12 images, 12 patients", "green filter", "0.750"):
        assert words in page, words
    assert page.count('<svg class="forest"') == 2
    answer(cast, (cast.rita, cast.ravi), 12)
    with CaptureQueriesContext(connection) as more:
        cast.client(cast.max).get("/reviews/agreement/")
    assert len(more) <= len(few)
    assert cast.client(cast.rita).get("/reviews/agreement/").status_code == 403


@pytest.mark.django_db
def test_a_page_says_in_words_where_there_is_too_little_variety(cast: Cast) -> None:
    answer(cast, (cast.rita, cast.ravi), 40, apart=40)
    for who, address in ((cast.max, "/reviews/agreement/"), (cast.rita, "/reading/mine/")):
        page = cast.client(who).get(address).content.decode()
        # kappa and alpha, and of green, which one of the two said of one patient, nothing at all
        assert page.count('<span class="muted">too little variety to say how sure this is</span>') >= 2, address
        assert page.count('<span class="muted">too little variety to say</span>') == 1, address
        assert '<b>0.000</b> <span class="muted">too little variety' in page, address
        assert "<b>nan" not in page, address


@pytest.mark.django_db
def test_first_words_of_readers_alone_count(cast: Cast) -> None:
    task = make_task(cast.north)
    make_read(task, cast.rita, "lugol_iodine", current=False, undone=True)
    make_read(task, cast.rita, "regular", version=2, current=False)
    make_read(task, cast.rita, "unusable", version=3, current=False)
    make_read(task, cast.rita, "green_filter", version=4, revealed=True)
    make_read(task, cast.ravi, "regular")
    make_read(task, cast.ada, "green_filter", role="adjudicator")
    gold = ReviewTask.objects.create(image=make_image(cast.north, state="settled"), purpose="gold", for_reader=cast.rita)
    make_read(gold, cast.rita, "regular")
    make_read(gold, cast.ravi, "green_filter")
    assert [(pair.first, pair.second, pair.readers) for pair in first_pairs(Read.objects.all())] == [
        ("regular", "regular", ("Ravi", "Rita"))
    ]  # fmt: skip


def one_after_another(reads: QuerySet[Read]) -> list[Paired]:
    """The same by walking over every answer there is, in its order."""
    said: dict[int, dict[int, tuple[str, str]]] = {}
    about: dict[int, tuple[int | None, str, str]] = {}
    for read in reads.filter(role="reader", revealed=False, undone=False, task__purpose="review").order_by("id"):
        image = read.task.image
        said.setdefault(read.task_id, {}).setdefault(read.reader_id, (read.kind, read.reader.name or read.reader.email))
        about[read.task_id] = (image.exam.patient_id if image.exam else None, image.site.name, f"{read.created:%Y-%m}")
    found = []
    for task, by_reader in said.items():
        two = sorted(list(by_reader.values())[:2], key=lambda answer: answer[1])
        if len(two) == 2 and "cannot_tell" not in {kind for kind, _ in two}:
            found.append(Paired(two[0][0], two[1][0], *about[task], (two[0][1], two[1][1])))
    return found


def mixed(cast: Cast, count: int) -> None:
    """Answers of every sort: taken back, amended, after the model's opinion, of a third reader and an adjudicator, over three months."""
    chance = random.Random(11)
    readers = [cast.rita, cast.ravi, make_user("tess", (Role.READER, None))]
    User.objects.filter(pk=readers[2].pk).update(name="")
    images = [
        make_image(site, state="settled", patient=patient) for site, patient in ((cast.north, "A"), (cast.river, None), (cast.north, "B"))
    ]
    for number in range(count):
        task = ReviewTask.objects.create(image=chance.choice(images), state=chance.choice(["closed", "cancelled"]))
        ago = timedelta(days=30 * chance.randrange(3), hours=count - number)
        for reader in chance.sample(readers, chance.choice([1, 2, 2, 3])):
            words = [dict[str, bool](), {"undone": True}, {}, {"revealed": True}][: chance.choice([1, 1, 3, 4])]
            words = words[1:] if chance.random() < 0.2 else words
            for version, word in enumerate(words, 1):
                kind = chance.choice([*KINDS, "cannot_tell"])
                latest = version == len(words)
                about: dict[str, Any] = {"version": version, "current": latest and not word.get("undone"), **word}
                make_read(task, reader, kind, created=timezone.now() - ago + timedelta(minutes=version), **about)
        if task.state == "closed":
            make_read(task, cast.ada, "regular", role="adjudicator")


@pytest.mark.django_db
def test_the_first_two_words_of_each_question_are_those_that_a_walk_over_all_finds(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    mixed(cast, 60)
    found = first_pairs(Read.objects.all())
    assert found == one_after_another(Read.objects.all())
    assert len({pair.month for pair in found}) > 1
    assert {pair.readers for pair in found} == {("Ravi", "Rita"), ("Ravi", "tess@example.org"), ("Rita", "tess@example.org")}
    closed = ReviewTask.objects.filter(state="closed")
    assert first_pairs(Read.objects.all(), tasks=closed) == one_after_another(Read.objects.filter(task__in=closed))
    newest = list(ReviewTask.objects.filter(answered__gte=2).order_by("-pk").values_list("pk", flat=True)[:9])
    monkeypatch.setattr("portal.reviews.quality.pairs.MOST_QUESTIONS", 9)
    assert first_pairs(Read.objects.all()) == one_after_another(Read.objects.filter(task__in=newest)), "of more, the newest"


@pytest.mark.django_db
def test_a_reader_sees_their_own_figures_from_thirty_closed_questions_on(cast: Cast) -> None:
    client = cast.client(cast.rita)
    assert "None of your answers is older than 7 days" in client.get("/reading/mine/").content.decode()
    answer(cast, (cast.rita, cast.ravi), 29)
    answer(cast, (cast.rita, cast.ravi), 5, state="open")
    page = client.get("/reading/mine/").content.decode()
    assert "there are 29 so far" in page
    assert "AC1" not in page
    answer(cast, (cast.rita, cast.ravi), 1)
    page = client.get("/reading/mine/").content.decode()
    assert "30 images, 25 patients" in page
    assert "Ravi" not in page
    assert "4.0 s" in page
    assert cast.client(cast.alice).get("/reading/mine/").status_code == 403


@pytest.mark.django_db
def test_no_figure_of_their_own_moves_as_long_as_an_answer_can_be_amended(cast: Cast) -> None:
    """Or a reader could answer, look whether another has answered too, and take back."""
    client = cast.client(cast.rita)
    answer(cast, (cast.rita, cast.ravi), 30)

    def figures() -> tuple[object, ...]:
        page = client.get("/reading/mine/").context
        return tuple(str(page[name]) for name in ("months", "pairs", "measured", "kinds"))

    before = figures()
    answer(cast, (cast.rita, cast.ravi), 4, ago=AMENDABLE - timedelta(minutes=1))
    assert figures() == before
    answer(cast, (cast.rita, cast.ravi), 1)
    assert figures() != before


@pytest.mark.django_db
def test_an_amendment_does_not_begin_the_week_anew(cast: Cast) -> None:
    task = make_task(cast.north)
    make_read(task, cast.rita, current=False, created=timezone.now() - LONG_AGO)
    make_read(task, cast.rita, "green_filter", version=2, created=timezone.now() - timedelta(days=2))
    Lease.objects.create(task=task, reader=cast.rita, token="amended-once", until=Now(), ended=Now())
    client = cast.client(cast.rita)
    page = client.get("/reading/mine/")
    assert (page.context["answers"], [row.reads for row in page.context["months"]]) == ([], [1])
    assert client.get("/reading/amend/amended-once/").status_code == 409
