"""Patients whose images show the same photograph, at whatever site, lie in the same split."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portal.datasets import closure
from portal.datasets.models import CrossSiteCopy
from portal.datasets.query import Query
from portal.datasets.selectors import choose
from portal.datasets.services import create_snapshot
from portal.datasets.splits import assign, assign_group
from portal.images import comparing
from portal.images.models import Image
from portal.jobs import services as jobs
from portal.pipeline import handlers
from tests.cast import Cast, make_image
from tests.portal.images import pictures

links = st.lists(st.tuples(st.integers(1, 30), st.integers(1, 30)), max_size=40)


@given(links=links)
def test_whoever_is_linked_has_the_same_oldest(links: list[tuple[int, int]]) -> None:
    oldest = closure.groups(links)
    assert all(oldest[one] == oldest[other] for one, other in links)
    assert all(oldest[patient] <= patient and oldest[oldest[patient]] == oldest[patient] for patient in oldest)


@given(links=links, later=st.integers(31, 40))
def test_a_patient_who_comes_later_moves_nobody(links: list[tuple[int, int]], later: int) -> None:
    before = closure.groups(links)
    after = closure.groups([*links, *((later, patient) for patient in list(before)[:1])])
    assert all(after[patient] == before[patient] for patient in before)


def test_a_group_is_the_held_out_sites_when_it_reaches_there() -> None:
    members = [("north", "P1"), ("river", "P2")]
    assert assign_group(members) == assign(site="north", patient="P1")
    assert assign_group(members, hold_out="river") == "test"
    assert assign_group(members, hold_out="hill") == assign(site="north", patient="P1", hold_out="hill")


def _elsewhere(site: str, split: str) -> str:
    """A pseudonym that would lie outside `split` by itself."""
    return next(f"R{n}" for n in range(100) if assign(site=site, patient=f"R{n}") != split)


def _copies(cast: Cast) -> tuple[Image, Image, Image]:
    """One photograph at both sites, and one that is river's alone and of the same patient there."""
    split = assign(site="north", patient="P1")
    other = _elsewhere("river", split)
    first = make_image(cast.north, state="settled", patient="P1", data=pictures.encoded(pictures.textured(1), quality=90))
    copy = make_image(cast.river, state="settled", patient=other, data=pictures.encoded(pictures.textured(1), quality=60))
    alone = make_image(cast.river, state="settled", patient=other, data=pictures.encoded(pictures.textured(2), quality=60))
    return first, copy, alone


def _compare() -> None:
    comparing.compare_the_rest()
    while claims := jobs.claim("compare", worker="test"):
        handlers.compare(claims)


@pytest.mark.django_db
def test_patients_with_a_copy_at_another_site_share_the_oldest_ones_split(cast: Cast) -> None:
    first, copy, alone = _copies(cast)
    before = {row.image_id: row.split for row in choose(Query()).rows}
    assert before[first.pk] != before[copy.pk], "without links the copies lie in two splits: what this is about"
    _compare()
    chosen = choose(Query())
    after = {row.image_id: row.split for row in chosen.rows}
    assert after == dict.fromkeys((first.pk, copy.pk, alone.pk), before[first.pk])
    assert (chosen.joined, chosen.moved, chosen.not_compared) == (1, 1, 0)
    assert CrossSiteCopy.objects.count() == 1


@pytest.mark.django_db
def test_a_split_is_the_same_whatever_else_was_asked_for(cast: Cast) -> None:
    first, _, alone = _copies(cast)
    _compare()
    chosen = choose(Query(sites=(cast.river.pk,)))
    assert {row.split for row in chosen.rows} == {assign(site="north", patient="P1")}
    assert (chosen.joined, chosen.moved) == (0, 1)
    assert alone.pk in {row.image_id for row in chosen.rows}
    assert first.pk not in {row.image_id for row in chosen.rows}


@pytest.mark.django_db
def test_the_page_says_how_many_were_joined_and_how_many_were_not_compared(cast: Cast) -> None:
    _copies(cast)
    bare = create_snapshot(name="too early", query=Query(), actor=cast.max)
    _compare()
    closed = create_snapshot(name="closed", query=Query(), actor=cast.max)
    assert (bare.counts["joined"], bare.counts["not_compared"]) == (0, 3)
    assert (closed.counts["joined"], closed.counts["moved"], closed.counts["not_compared"]) == (1, 1, 0)
    browser = cast.client(cast.max)
    assert "3 images had not been compared" in browser.get(f"/snapshots/{bare.pk}/").content.decode()
    assert "group of patients joined by copies of a picture; 1 patient moved" in browser.get(f"/snapshots/{closed.pk}/").content.decode()
