"""One is one: no page says `1 images`."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from django.conf import settings

from portal.core.text import counted
from portal.web.templatetags import winnow
from tests.cast import Cast, make_evaluation, make_image, make_run, make_snapshot

_NOUNS = "image|patient|exam|file|row|event|word|read|task|table|site|answer|model|job|token|day"
ONE_OF_MANY = re.compile(rf"(?<![\d.,:-])1(?:</b>)?(?:<span>|\s)+(?:{_NOUNS})s\b")
BARE = re.compile(rf"\}}\}}(?:</b><span>| )(?:{_NOUNS})s\b(?!.*pluralize)")
NEVER_ONE = {"people/audit.html"}
"""Their numbers are constants of ours."""


def test_a_count_agrees_with_its_noun() -> None:
    assert [counted(n, "image") for n in (0, 1, 2, 1200)] == ["0 images", "1 image", "2 images", "1,200 images"]
    assert [winnow.counted(n, "person,people") for n in (None, 1, 2)] == ["0 people", "1 person", "2 people"]


@pytest.mark.django_db
def test_pages_about_one_image_of_one_patient_say_so(cast: Cast) -> None:
    image = make_image(cast.north, state="settled", patient="P1")
    run = make_run(make_snapshot(image))
    evaluation = make_evaluation(snapshot=run.snapshot)
    assert image.exam
    asked = {
        cast.lena: ["/", "/images/", f"/patients/{image.exam.patient_id}/", f"/uploads/{image.upload_id}/", "/uploads/",
                    f"/sites/{cast.north.pk}/"],
        cast.max: ["/", f"/training/{run.pk}/", f"/snapshots/{run.snapshot_id}/", "/training/", f"/models/{evaluation.version_id}/"],
        cast.sys: ["/audit/", "/sites/"],
    }  # fmt: skip
    for person, addresses in asked.items():
        client = cast.client(person)
        for address in addresses:
            answer = client.get(address)
            assert answer.status_code == 200, address
            said = re.sub(r"\s+", " ", answer.content.decode())
            assert not ONE_OF_MANY.findall(said), (address, ONE_OF_MANY.findall(said))


def test_no_template_writes_a_plural_behind_a_number_that_may_be_one() -> None:
    folder = Path(settings.BASE_DIR) / "templates"
    found = [
        f"{path.relative_to(folder)}:{number}"
        for path in sorted(folder.rglob("*.html"))
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if BARE.search(line) and str(path.relative_to(folder)) not in NEVER_ONE
    ]
    assert found == []
