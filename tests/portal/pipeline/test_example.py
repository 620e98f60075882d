"""The example set goes in as everybody's uploads do, is taken up where it was cut short, and is settled by its truth."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from portal.images.models import Image, ImageState, Upload, UploadFile
from portal.images.services import receive
from portal.jobs.models import Job
from portal.labels.models import Label, Provenance
from portal.pipeline import example
from tests.cast import Cast

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def var(tmp_path: Path, settings: Any) -> Path:
    settings.VAR_DIR, settings.ORIGINALS_DIR, settings.CLEAN_DIR = tmp_path, tmp_path / "originals", tmp_path / "clean"
    return tmp_path


def test_it_is_uploaded_with_an_outcome_for_every_file(var: Path, cast: Cast) -> None:
    assert example.wanted()
    count = example.send(patients=3)
    assert count == Image.objects.count() == UploadFile.objects.filter(outcome="accepted").exclude(patient_code="").count()
    assert set(Upload.objects.values_list("site__slug", flat=True)) == {"north-clinic", "river-hospital", "hill-station"}
    assert not Upload.objects.filter(closed=None).exists()
    assert Job.objects.filter(kind="sanitise").count() == count
    assert not example.wanted()
    assert not list((var / "example").rglob("*.jpg")), "the pictures are kept twice"


def test_one_that_was_cut_short_is_finished_without_doubles(var: Path, cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[str] = []

    def dies_at_the_third(**keywords: Any) -> UploadFile:
        if len(sent) == 2:
            raise KeyboardInterrupt
        sent.append(keywords["name"])
        return receive(**keywords)

    monkeypatch.setattr(example, "receive", dies_at_the_third)
    with pytest.raises(KeyboardInterrupt):
        example.send(patients=3)
    monkeypatch.setattr(example, "receive", receive)
    assert example.wanted()
    assert example.send(patients=3) == Image.objects.count()


def test_settling_labels_what_is_through_triage_and_says_what_waits(var: Path, cast: Cast) -> None:
    count = example.send(patients=3)
    first = Image.objects.order_by("pk")[0]
    for state in (ImageState.CLEAN, ImageState.ANALYSED, ImageState.ACCEPTED):
        Image.objects.filter(pk=first.pk).update(state=state, clean_sha256="0" * 64)
    client = cast.client(cast.max)
    answer = client.post("/example/settle/", follow=True)
    assert answer.status_code == 200
    assert f"1 image settled now, 0 were before; {count - 1} are not yet analysed" in answer.content.decode()
    label = Label.objects.get(image=first)
    assert label.provenance == Provenance.EXAMPLE_TRUTH


def test_without_an_example_set_the_page_says_so(var: Path, cast: Cast) -> None:
    assert "No example set was drawn here" in cast.client(cast.sys).get("/example/").content.decode()
    assert cast.client(cast.alice).get("/example/").status_code == 403
