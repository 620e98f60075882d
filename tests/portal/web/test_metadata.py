"""The pages of metadata tables: look, choose, apply; the site's own words; nothing of another site."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile

from portal.images.models import Image, MetadataTable, Wording
from tests.access_matrix import masked
from tests.cast import Cast, make_image
from tests.portal.images.workbooks import workbook

pytestmark = pytest.mark.django_db


def sent(data: bytes | str, name: str = "may.csv") -> dict[str, SimpleUploadedFile]:
    return {"table": SimpleUploadedFile(name, data.encode() if isinstance(data, str) else data)}


def post(client: Any, address: str, said: dict[str, Any]) -> str:
    answer = client.post(address, said, follow=True)
    assert answer.status_code == 200, answer.content
    return re.sub(r"\s+", " ", answer.content.decode())


def apply(client: Any, page: str) -> str:
    address = re.search(r'action="(/tables/\d+/apply/)"', page)
    seen = re.search(r'name="seen" value="(\w+)"', page)
    assert address
    assert seen
    return post(client, address[1], {"seen": seen[1]})


def test_a_table_is_looked_at_its_words_are_chosen_and_it_is_applied_without_a_script(cast: Cast) -> None:
    image = make_image(cast.north, state="settled", patient=None, name="a.jpg")
    alice = cast.client(cast.alice)
    page = alice.get(f"/uploads/{image.upload_id}/").content.decode()
    assert f"/uploads/{image.upload_id}/table/check/" in page
    data = workbook(["Dateiname", "Patient No", "Art"], ["a.jpg", 12, "vili"], ["b.jpg", 13, "vili"])
    page = post(alice, f"/uploads/{image.upload_id}/table/check/", sent(data, "may.xlsx"))
    assert "The column &#x27;file&#x27; is missing" in page
    assert '<option value="patient" selected>' in page
    held = MetadataTable.objects.get()
    chosen = {"column": ["Dateiname", "Patient No", "Art"], "column_as": ["file", "patient", "stated_kind"]}
    page = post(alice, f"/tables/{held.pk}/words/", chosen)
    assert "Remembered for North, and used below: 3 words of yours." in page
    assert "&#x27;vili&#x27; is not known" in page
    page = post(alice, f"/tables/{held.pk}/words/", {"kind": ["vili"], "kind_as": ["lugol_iodine"]})
    assert "<del>vili</del> → lugol_iodine" in page
    assert "<b>1</b><span>new patient" not in page
    assert "<b>2</b><span>new patients" in page
    page = apply(alice, page)
    assert "2 rows read: 1 found its file, 1 waits for one, 0 have remarks." in page
    image.refresh_from_db()
    assert image.exam
    assert (image.exam.patient.code, image.stated_kind) == ("12", "lugol_iodine")
    again = post(alice, f"/uploads/{image.upload_id}/table/", sent(data, "may.xlsx"))
    assert "Nothing changed: the portal knew all of these 2 rows already." in again


def test_a_correction_of_the_sites_images_is_shown_old_and_new_and_stands_in_the_images_story(cast: Cast) -> None:
    image = make_image(cast.north, state="settled", patient="P1", exam="V1", name="a.jpg")
    lena = cast.client(cast.lena)
    page = post(lena, f"/sites/{cast.north.pk}/table/", sent("file,patient\na.jpg,P2\n"))
    assert "<del>P1</del> </td> <td> <ins>P2</ins>" in page
    assert "Nothing is written yet." in page
    page = apply(lena, page)
    assert "1 image was corrected" in page
    assert "may.csv" in page
    story = re.sub(r"\s+", " ", lena.get(f"/images/{image.pk}/").content.decode())
    assert "Lena, by row 2 of the table may.csv" in story
    assert "patient: <del>P1</del> → <ins>P2</ins>" in story


def test_what_changed_since_the_look_is_shown_again_and_not_applied(cast: Cast) -> None:
    image = make_image(cast.north, state="settled", patient="P1", name="a.jpg")
    alice = cast.client(cast.alice)
    page = post(alice, f"/sites/{cast.north.pk}/table/", sent("file,device\na.jpg,New\n"))
    seen = re.search(r'name="seen" value="(\w+)"', page)
    assert seen
    Image.objects.filter(pk=image.pk).update(device="Another")
    answer = alice.post(f"/tables/{MetadataTable.objects.get().pk}/apply/", {"seen": seen[1]})
    assert answer.status_code == 409
    assert "no longer what you saw" in answer.content.decode()
    assert "<del>Another</del>" in answer.content.decode()
    image.refresh_from_db()
    assert image.device == "Another"


def test_another_file_is_chosen_and_the_first_is_forgotten(cast: Cast) -> None:
    alice = cast.client(cast.alice)
    post(alice, f"/sites/{cast.north.pk}/table/", sent("file,patient,name of the patient\na.jpg,P1,Ola Nordmann\n"))
    held = MetadataTable.objects.get()
    assert held.cells
    assert "nothing was changed" in post(alice, f"/tables/{held.pk}/give-up/", {})
    held.refresh_from_db()
    assert not held.cells
    assert alice.get(f"/tables/{held.pk}/").status_code == 409


def test_a_second_sheet_is_read_when_it_is_chosen(cast: Cast) -> None:
    alice = cast.client(cast.alice)
    data = workbook(["file", "patient"], ["a.jpg", "P1"], Second=[["file", "patient"], ["x.jpg", "P7"]])
    page = post(alice, f"/sites/{cast.north.pk}/table/", sent(data))
    assert "x.jpg" not in page
    page = post(alice, f"/tables/{MetadataTable.objects.get().pk}/words/", {"sheet": "Second"})
    assert "x.jpg" in page


def test_words_are_shown_changed_and_forgotten_on_a_page_of_their_own(cast: Cast) -> None:
    alice, own = cast.client(cast.alice), f"/sites/{cast.north.pk}/words/"
    post(alice, own, {"kind": ["VILI"], "kind_as": ["lugol_iodine"], "column": ["Foto"], "column_as": ["file"]})
    page = post(alice, own, {"kind": ["VILI"], "kind_as": ["regular"]})
    assert "1 word changed." in page
    word = Wording.objects.get(of="kind")
    assert word.ours == "regular"
    refused = alice.post(own, {"kind": ["VILI"], "kind_as": ["purple"]})
    assert refused.status_code == 400
    assert "can only mean one of" in refused.content.decode()
    template = alice.get(f"/sites/{cast.north.pk}/template.csv")
    assert template.content.decode("utf-8-sig") == "Foto,patient,exam,device,stated_kind,captured\r\n"
    assert "is forgotten" in post(alice, f"/wordings/{word.pk}/forget/", {})
    assert not Wording.objects.filter(of="kind").exists()


def test_another_sites_tables_and_words_answer_as_ones_that_do_not_exist(cast: Cast) -> None:
    alice, bob = cast.client(cast.alice), cast.client(cast.bob)
    post(alice, f"/sites/{cast.north.pk}/table/", sent("file,patient\na.jpg,P1\n"))
    post(alice, f"/sites/{cast.north.pk}/words/", {"kind": ["VILI"], "kind_as": ["lugol_iodine"]})
    held, word = MetadataTable.objects.get(), Wording.objects.get()
    for address in (
        f"/tables/{held.pk}/",
        f"/sites/{cast.north.pk}/words/",
        f"/sites/{cast.north.pk}/table/",
        f"/sites/{cast.north.pk}/template.csv",
    ):
        hidden, absent = bob.get(address), bob.get(re.sub(r"\d+", "987654", address))
        assert (hidden.status_code, masked(hidden.content)) == (404, masked(absent.content)), address
    assert bob.post(f"/wordings/{word.pk}/forget/").status_code == 404
    assert bob.post(f"/tables/{held.pk}/apply/", {"seen": ""}).status_code == 404
    assert "Ola" not in str(cast.client(cast.max).get(f"/tables/{held.pk}/").content)
    assert cast.client(cast.max).get(f"/tables/{held.pk}/").status_code == 403
