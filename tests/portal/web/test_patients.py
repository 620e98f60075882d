"""The list of patients and the page of one: what is shown, to whom, and with how many queries."""

import re
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from portal.images.models import Patient, Regrouping
from portal.images.patients import PatientFilter, patients
from tests.access_matrix import masked
from tests.cast import Cast, make_image

pytestmark = pytest.mark.django_db


def _queries(client: Any, url: str) -> int:
    client.get(url)
    with CaptureQueriesContext(connection) as captured:
        assert client.get(url).status_code == 200
    return len(captured)


def _of(cast: Cast, code: str) -> Patient:
    return Patient.objects.get(site=cast.north, code=code)


def test_the_list_shows_a_sites_own_patients_with_their_counts(cast: Cast) -> None:
    make_image(cast.north, state="settled", patient="OWN-1", exam="V1")
    make_image(cast.north, state="in_review", patient="OWN-1", exam="V2", p_non_regular=0.5)
    make_image(cast.north, state="withdrawn", patient="OWN-1", exam="V3")
    make_image(cast.river, state="settled", patient="FOREIGN-1")
    page = cast.client(cast.alice).get("/patients/").content.decode()
    assert "FOREIGN-1" not in page
    row = re.sub(r"<[^>]+>|\s+", " ", page[page.index("OWN-1") :]).split()
    assert row[1:7] == ["North", "2", "2", "0", "1", "1"]


def test_the_list_is_searched_by_code_and_by_site(cast: Cast) -> None:
    make_image(cast.north, patient="ABC-7")
    make_image(cast.river, patient="XYZ-7")
    browser = cast.client(cast.max)
    assert "XYZ-7" not in browser.get("/patients/?code=abc").content.decode()
    assert "ABC-7" not in browser.get(f"/patients/?site={cast.river.pk}").content.decode()
    assert "No patient matches" in browser.get("/patients/?code=nobody").content.decode()


def test_pages_of_the_list_follow_one_another_without_a_gap(cast: Cast) -> None:
    made = [Patient.objects.create(site=cast.north, code=f"P{n}").pk for n in range(5)]
    first = patients(cast.alice, PatientFilter(), size=3)
    second = patients(cast.alice, PatientFilter(before=first.next_before), size=3)
    assert [one.pk for one in (*first.patients, *second.patients)] == made[::-1]
    assert (first.total, second.next_before) == (5, None)


def test_a_patients_page_shows_exams_images_devices_and_states(cast: Cast) -> None:
    one = make_image(cast.north, state="settled", patient="P1", exam="V1", kind="green_filter", name="first.jpg")
    make_image(cast.north, state="in_review", patient="P1", exam="V2", name="second.jpg", p_non_regular=0.5)
    make_image(cast.north, patient="P2", name="of-another.jpg")
    page = cast.client(cast.alice).get(f"/patients/{_of(cast, 'P1').pk}/").content.decode()
    for shown in ("Exam V1", "Exam V2", f"/images/{one.pk}/thumb/", "first.jpg", "second.jpg", "Test camera", "green_filter", "in review"):
        assert shown in page
    assert "of-another.jpg" not in page


def test_another_sites_patient_answers_as_one_that_does_not_exist(cast: Cast) -> None:
    make_image(cast.north, patient="P1")
    bob = cast.client(cast.bob)
    hidden, absent = bob.get(f"/patients/{_of(cast, 'P1').pk}/"), bob.get("/patients/987654/")
    assert (hidden.status_code, masked(hidden.content)) == (404, masked(absent.content))
    assert cast.client(cast.ravi).get("/patients/").status_code == 403


def test_both_pages_take_a_fixed_number_of_queries(cast: Cast) -> None:
    make_image(cast.north, state="settled", patient="P1")
    alice = cast.client(cast.alice)
    address = f"/patients/{_of(cast, 'P1').pk}/"
    few = _queries(alice, "/patients/"), _queries(alice, address)
    for n in range(4):
        make_image(cast.north, state="settled", patient="P1", exam=f"V{n}")
        make_image(cast.north, state="settled", patient=f"P{n + 2}")
    assert (_queries(alice, "/patients/"), _queries(alice, address)) == few


def _post(client: Any, address: str, **said: object) -> str:
    answer = client.post(address, said, follow=True)
    assert answer.status_code == 200, answer.content
    return str(answer.content.decode())


def test_marked_images_are_moved_split_off_and_given_back_from_the_page(cast: Cast) -> None:
    one = make_image(cast.north, state="settled", patient="P1", exam="V1")
    make_image(cast.north, state="settled", patient="P2", exam="V1")
    alice, own = cast.client(cast.alice), f"/patients/{_of(cast, 'P1').pk}/"
    page = _post(alice, f"{own}move/", image=one.pk, to="P2")
    assert "1 image now belongs to patient P2." in page
    assert "moved: 1 image from" in page
    story = alice.get(f"/images/{one.pk}/").content.decode()
    assert "patient: <del>P1</del> → <ins>P2</ins>" in story
    back = _post(alice, f"/regroupings/{Regrouping.objects.get().pk}/undo/")
    assert "Undone: 1 image went back to patient P1." in back
    page = _post(alice, f"{own}split/", exam=_of(cast, "P1").exams.get(code="V1").pk, new="P3")
    assert "1 image now belongs to the new patient P3." in page


def test_two_patients_are_merged_and_the_tombstone_says_where_he_went(cast: Cast) -> None:
    make_image(cast.north, state="settled", patient="P1")
    make_image(cast.north, state="settled", patient="P2")
    alice, gone = cast.client(cast.alice), _of(cast, "P1").pk
    assert "Merged: 1 image went to patient P2" in _post(alice, f"/patients/{gone}/merge/", into="P2")
    tombstone = alice.get(f"/patients/{gone}/").content.decode()
    assert "was merged" in tombstone
    assert "Wrong patient?" not in tombstone
    listed = alice.get("/patients/").content.decode()
    assert ">P1<" not in listed
    assert "merged into P2" in alice.get("/patients/?code=P1").content.decode()


def test_what_was_wrong_is_said_on_the_page_and_what_was_typed_stays(cast: Cast) -> None:
    one = make_image(cast.north, state="settled", patient="P1")
    own = f"/patients/{_of(cast, 'P1').pk}/"
    answer = cast.client(cast.alice).post(f"{own}move/", {"image": one.pk, "to": "NOBODY"})
    page = answer.content.decode()
    assert answer.status_code == 400
    assert "There is no patient NOBODY at this site." in page
    assert 'value="NOBODY"' in page
    assert f'value="{one.pk}" form="regroup" checked' in re.sub(r"\s+", " ", page)


def test_administrators_see_patients_and_put_nothing_right(cast: Cast) -> None:
    one = make_image(cast.north, state="settled", patient="P1")
    own = f"/patients/{_of(cast, 'P1').pk}/"
    assert "Wrong patient?" not in cast.client(cast.max).get(own).content.decode()
    assert cast.client(cast.max).post(f"{own}move/", {"image": one.pk, "to": "P1"}).status_code == 403
