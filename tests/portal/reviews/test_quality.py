"""What is said of a reader: right on gold, of one mind with oneself, changed since, moved by the model. Each with n and an interval."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Any

import pytest

from portal.accounts.models import User
from portal.images.models import Image
from portal.reviews.models import Lease, Read, ReviewTask
from portal.reviews.quality import held_against
from portal.reviews.quality.checked import Checked, Revealed, by_month, change, of, switching
from portal.reviews.quality.measuring import measure
from tests.cast import Cast, make_image, make_read, make_user


def rows(month: str, right: int, wrong: int, *, patients: int = 1000) -> list[Checked]:
    return [Checked(1, number < right, number % patients, month) for number in range(right + wrong)]


def test_a_share_counts_patients_and_images() -> None:
    found = of([*rows("2026-01", 30, 10), Checked(1, True, None), Checked(1, True, None)])
    assert (found.hits, found.total, found.patients) == (32, 42, 42)
    assert found.low < found.value == 32 / 42 < found.high
    assert math.isnan(of([]).value)
    assert [(month, figure.total) for month, figure in by_month([*rows("2026-02", 3, 1), *rows("2026-01", 2, 0)])] == [
        ("2026-01", 2), ("2026-02", 4),
    ]  # fmt: skip


def test_a_change_is_told_by_its_interval_and_not_by_its_point() -> None:
    before = rows("2026-01", 190, 10)
    small, large = change([*before, *rows("2026-02", 92, 8)]), change([*before, *rows("2026-02", 60, 40)])
    assert small is not None
    assert large is not None
    assert (small.month, round(small.value, 2), small.sure) == ("2026-02", -0.03, False)
    assert large.sure
    assert large.high < -0.2
    assert change(before) is None, "nothing before it"
    assert change([*before, *rows("2026-02", 0, 5)]) is None, "five images are no month"
    one_patient = change([*before, *rows("2026-02", 60, 40, patients=2)])
    assert one_patient is not None
    assert not one_patient.sure, "of two patients a hundred pictures show no change"


def revealed(before: str, after: str, model: str, others: str | None, count: int) -> list[Revealed]:
    return [Revealed(1, before, after, model, others, number) for number in range(count)]


def test_who_is_moved_by_the_model_rightly_and_wrongly() -> None:
    r, g = "regular", "green_filter"
    found = switching([
        *revealed(r, r, r, r, 50), *revealed(r, g, g, g, 6), *revealed(r, g, g, r, 2), *revealed(r, r, g, r, 10),
        *revealed(r, r, g, g, 5), *revealed(r, "unusable", g, None, 1), *revealed(r, g, g, None, 1),
    ])  # fmt: skip
    assert found.shown == 75
    assert (found.towards.hits, found.towards.total) == (9, 25)
    assert (found.elsewhere.hits, found.elsewhere.total) == (1, 25)
    assert (found.rightly.hits, found.rightly.total) == (6, 8)
    assert (found.wrongly.hits, found.wrongly.total) == (2, 8)
    assert (found.kept_wrongly.hits, found.kept_wrongly.total) == (5, 15)
    assert found.rightly.low < 0.75 < found.rightly.high
    assert math.isnan(switching([]).towards.value)


# ---- from the database ------------------------------------------------------------------------------------------------
def settled(cast: Cast, kind: str, patient: str, provenance: str = "consensus") -> tuple[Image, ReviewTask]:
    image = make_image(cast.north, state="settled", kind=kind, patient=patient, provenance=provenance)
    return image, ReviewTask.objects.get(image=image)


def measuring(purpose: str, image: Image, reader: User, kind: str, **about: Any) -> Read:
    task = ReviewTask.objects.create(image=image, purpose=purpose, for_reader=reader, state="closed")
    return make_read(task, reader, kind, **about)


@pytest.mark.django_db
def test_gold_is_held_against_the_label_and_a_repeat_against_the_readers_own_word(cast: Cast) -> None:
    image, task = settled(cast, "green_filter", "P1")
    make_read(task, cast.rita, "regular", current=False)
    make_read(task, cast.rita, "lugol_iodine", version=2)
    make_read(task, cast.rita, "green_filter", version=3, revealed=True, current=False)
    make_read(task, cast.ravi, "green_filter")
    measuring("repeat", image, cast.rita, "regular")
    measuring("gold", image, cast.ravi, "green_filter")
    other, question = settled(cast, "regular", "P2")
    make_read(question, cast.rita, "unusable")
    measuring("repeat", other, cast.rita, "cannot_tell")
    measuring("gold", other, cast.ravi, "cannot_tell")
    assert [(one.reader, one.right) for one in held_against.repeats()] == [(cast.rita.pk, True)]
    assert [(one.reader, one.right) for one in held_against.gold()] == [(cast.ravi.pk, True)]
    assert {(one.reader, one.right) for one in held_against.settled()} == {(cast.rita.pk, False), (cast.ravi.pk, True)}


@pytest.mark.django_db
def test_one_reader_alone_is_not_held_against_their_own_label(cast: Cast) -> None:
    make_read(settled(cast, "regular", "P1")[1], cast.rita, "regular")
    assert held_against.settled() == []
    make_read(settled(cast, "green_filter", "P2", "adjudication")[1], cast.rita, "regular")
    assert [one.right for one in held_against.settled()] == [False]


def shown(task: ReviewTask, reader: User) -> None:
    """The model's opinion, after the own answer."""
    now = datetime.now(UTC)
    Lease.objects.create(task=task, reader=reader, token=f"{task.pk}-{reader.pk}", until=now, ended=now, revealed=now)


@pytest.mark.django_db
def test_the_models_word_counts_where_it_was_shown(cast: Cast) -> None:
    for number, (first, then, other) in enumerate([("regular", "green_filter", "green_filter"), ("regular", "regular", "regular")]):
        image = make_image(cast.north, state="settled", kind="green_filter", patient=f"P{number}", p_non_regular=0.9)
        task = ReviewTask.objects.get(image=image)
        shown(task, cast.rita)
        make_read(task, cast.rita, first, current=first == then)
        if then != first:
            make_read(task, cast.rita, then, version=2, revealed=True)
        make_read(task, cast.ravi, other)
    found = sorted((one.reader == cast.rita.pk, one.before, one.after, one.model, one.others) for one in held_against.revealed())
    assert found == [
        (True, "regular", "green_filter", "green_filter", "green_filter"),
        (True, "regular", "regular", "green_filter", "regular"),
    ]
    kept = measure().content["switching"]
    assert kept["shown"] == 2, "ravi was not shown it"
    assert kept["towards"][3:] == [1, 2, 2]
    assert kept["readers"][str(cast.rita.pk)]["rightly"][3:5] == [1, 1]


@pytest.mark.django_db
def test_what_is_kept_of_a_reader(cast: Cast) -> None:
    tess = make_user("tess")
    for number in range(8):
        _, task = settled(cast, "regular" if number % 2 else "green_filter", f"P{number}")
        for reader in (cast.rita, cast.ravi, tess):
            kind = "regular" if number % 2 or (reader == tess and number == 0) else "green_filter"
            make_read(task, reader, "cannot_tell" if reader == tess and number == 1 else kind, seconds=float(number))
    kept = measure().content["readers"]
    assert set(kept) == {str(reader.pk) for reader in (cast.rita, cast.ravi, tess)}
    of_tess = kept[str(tess.pk)]
    assert of_tess["cannot_tell"][3:] == [1, 8, 8]
    assert of_tess["seconds"] == 4.0
    assert of_tess["gold"] is None
    assert of_tess["change"] is None
    assert [month for month, _ in of_tess["months"]] == [f"{datetime.now(UTC):%Y-%m}"]
    assert of_tess["months"][0][1][3:5] == [6, 7]
    assert of_tess["sensitivity"][0] < kept[str(cast.rita.pk)]["sensitivity"][0]
