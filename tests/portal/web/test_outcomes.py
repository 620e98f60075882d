"""An outcome for every file, and what to take again while the patient may still be there."""

from __future__ import annotations

import csv
import io
from typing import Any

import pytest
from django.urls import reverse

from portal.audit.models import AuditEvent
from portal.images.models import Image, NearDuplicate, TextFound, Upload, UploadFile
from portal.web import outcomes
from tests.cast import Cast, give_reasons, make_image, make_upload

pytestmark = pytest.mark.django_db


@pytest.fixture
def upload(cast: Cast) -> Upload:
    return make_upload(cast.north, by=cast.alice)


def _flawed(cast: Cast, upload: Upload, *codes: str, patient: str | None = "P1") -> Image:
    image = make_image(cast.north, state="in_review", upload=upload, patient=patient, p_non_regular=0.5)
    give_reasons(image, [*codes, "between_thresholds"])
    return image


def _all_sorts(cast: Cast, upload: Upload) -> dict[str, Image]:
    """One image of each finding; what each shall be called is its key."""
    found = {
        code: _flawed(cast, upload, code, patient=f"P-{code}") for code in ("blurred", "too_dark", "too_bright", "glare", "not_a_cervix")
    }
    found["wrong_stain"] = make_image(
        cast.north, state="accepted", upload=upload, patient="P-stain", kind="lugol_iodine", stated_kind="regular"
    )
    found["text"] = make_image(cast.north, state="quarantined", upload=upload, patient="P-text")
    found["no_patient"] = make_image(cast.north, state="accepted", upload=upload, patient=None)
    earlier = make_image(cast.north, state="accepted", patient="P-old")
    for relation, patient in (("same_patient", "P-old"), ("other_patient", "P-new")):
        found[relation] = make_image(cast.north, state="accepted", upload=upload, patient=patient)
        NearDuplicate.objects.create(image=found[relation], other=earlier, distance=2)
    make_image(cast.north, state="accepted", upload=upload, patient="P-fine")
    make_image(cast.north, state="accepted", upload=upload, patient="P-lugol", kind="lugol_iodine", stated_kind="lugol_iodine")
    return found


def test_every_finding_is_named_counted_and_can_be_filtered(cast: Cast, upload: Upload) -> None:
    expected = _all_sorts(cast, upload)
    seen = outcomes.findings(upload)
    assert {code: list(images) for code in outcomes.NAMES if (images := seen.having(code))} == {
        code: [image.pk] for code, image in expected.items()
    }
    assert seen.counts() == dict.fromkeys((code for code in outcomes.NAMES if code in expected), 1)
    browser = cast.client(cast.alice)
    page = browser.get(reverse("upload", args=[upload.pk])).content.decode()
    for code, image in expected.items():
        assert f'href="?show={code}"' in page
        narrowed = browser.get(reverse("upload_live", args=[upload.pk]), {"show": code}).context["files"]
        assert [file.image_id for file in narrowed] == [image.pk]


def test_the_csv_says_the_same(cast: Cast, upload: Upload) -> None:
    expected = _all_sorts(cast, upload)
    answer: Any = cast.client(cast.alice).get(reverse("upload_outcomes", args=[upload.pk]))
    rows = {int(row["image"]): row for row in csv.DictReader(io.StringIO(b"".join(answer.streaming_content).decode()))}
    assert len(rows) == 12
    for code, image in expected.items():
        assert rows[image.pk]["findings"] == outcomes.NAMES[code]
        assert rows[image.pk]["advice"] == outcomes.ADVICE.get(code, "")
    assert rows[expected["other_patient"].pk]["near_duplicate_of"] == str(NearDuplicate.objects.first().other_id)  # type: ignore[union-attr]
    assert sum(not row["findings"] for row in rows.values()) == 2


def test_what_to_take_again_stands_by_patient_the_worst_first(cast: Cast, upload: Upload) -> None:
    shiny = _flawed(cast, upload, "glare", patient="P1")
    blurred = _flawed(cast, upload, "glare", "blurred", patient="P2")
    dark = _flawed(cast, upload, "too_dark", patient="P1")
    groups = outcomes.to_retake(upload, outcomes.findings(upload))
    assert [(group.patient, [(file.image_id, codes) for file, codes in group.items]) for group in groups] == [
        ("P2", [(blurred.pk, ["blurred", "glare"])]),
        ("P1", [(dark.pk, ["too_dark"]), (shiny.pk, ["glare"])]),
    ]
    page = cast.client(cast.alice).get(reverse("upload_live", args=[upload.pk])).content.decode()
    assert page.index("Patient P2") < page.index("Patient P1")
    assert "<b>Out of focus.</b> Hold the camera still" in page


def test_an_item_that_is_done_goes_and_is_noted(cast: Cast, upload: Upload) -> None:
    image = _flawed(cast, upload, "blurred")
    file = UploadFile.objects.get(image=image)
    address = reverse("advice_dismiss", args=[file.pk])
    assert cast.client(cast.bob).post(address).status_code == 404
    page = cast.client(cast.alice).post(address, headers={"HX-Request": "true"}).content.decode()
    assert "Take again now" not in page
    assert 'href="?show=blurred"' in page, "it is still a finding"
    cast.client(cast.alice).post(address)
    assert AuditEvent.objects.filter(action="file.advice_dismissed", subject_id=file.pk, actor_id=cast.alice.pk).count() == 1


def test_the_list_can_be_printed(cast: Cast, upload: Upload) -> None:
    _flawed(cast, upload, "blurred")
    page = cast.client(cast.lena).get(reverse("upload_retake", args=[upload.pk])).content.decode()
    assert "Hold the camera still" in page
    assert "Done with" not in page


@pytest.mark.parametrize(
    ("stated", "kind", "route", "wrong"),
    [
        ("regular", "lugol_iodine", "auto_non_regular", True),
        ("", "green_filter", "auto_non_regular", True),
        ("green_filter", "green_filter", "auto_non_regular", False),
        ("regular", "regular", "auto_regular", False),
        ("regular", "green_filter", "review", False),
    ],
)
def test_a_stain_is_wrong_where_the_model_is_sure_and_the_site_did_not_say_so(stated: str, kind: str, route: str, wrong: bool) -> None:
    assert outcomes.wrong_stain(stated, kind, route) == wrong


def test_a_withdrawn_image_has_nothing_to_be_taken_again(cast: Cast, upload: Upload) -> None:
    image = _flawed(cast, upload, "blurred")
    Image.objects.filter(pk=image.pk).update(state="withdrawn", state_reason="a test")
    assert outcomes.findings(upload).by_image == {}
    assert not TextFound.objects.exists()


@pytest.mark.parametrize("count", [1, 8])
def test_the_page_takes_a_fixed_number_of_queries(cast: Cast, upload: Upload, count: int, django_assert_max_num_queries: Any) -> None:
    for n in range(count):
        _flawed(cast, upload, "blurred", patient=f"P{n}")
    client = cast.client(cast.alice)
    with django_assert_max_num_queries(13):
        assert client.get(reverse("upload_live", args=[upload.pk])).status_code == 200
