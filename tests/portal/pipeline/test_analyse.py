"""Analysing: batches across uploads, one transaction an image, and nobody blamed for the model's own trouble."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from portal.analyses.models import Analysis, Assessment
from portal.audit.models import AuditEvent
from portal.images.models import Image
from portal.jobs import services
from portal.jobs.models import Job
from portal.labels.models import Label
from portal.ml import Kind, Route, Unreadable
from portal.pipeline import handlers, runner
from portal.pipeline.handlers import HANDLERS
from portal.pipeline.invariants import violations
from portal.registry.models import ModelVersion
from tests.cast import Cast, champion, make_image, make_version
from tests.portal.pipeline.conftest import Toy, said

pytestmark = pytest.mark.django_db(transaction=True)


def _clean(cast: Cast, count: int = 1) -> list[Image]:
    images = [make_image(cast.north if n % 2 else cast.river, state="clean") for n in range(count)]
    services.enqueue_many(kind="analyse", subject_ids=[image.pk for image in images], actor_id=cast.alice.pk)
    return images


def _drain() -> int:
    return runner.drain("analyse", HANDLERS["analyse"])


def _name(image: Image) -> str:
    return f"{image.clean_sha256}.{image.clean_format}"


def test_images_of_many_uploads_are_analysed_in_one_batch(cast: Cast, toy: Toy) -> None:
    version = champion()
    images = _clean(cast, 5)
    assert _drain() == 5
    assert toy.batches == [5]
    for image in images:
        image.refresh_from_db()
        assert image.state == "accepted"
        analysis = Analysis.objects.get(image=image)
        assert (analysis.version, analysis.box, analysis.detector_score) == (version, [20, 10, 76, 62], 0.97)
        assert analysis.other_boxes == [[0, 0, 5, 5, 0.1]]
        assert Assessment.objects.get(image=image, current=True).analysis == analysis
        assert Label.objects.get(image=image, current=True).provenance == "automatic"
        assert AuditEvent.objects.filter(action="image.analysed", subject_id=image.pk, actor_id=cast.alice.pk).count() == 1
    assert not [name for name in violations() if name.startswith(("lost", "stuck", "doubled", "jobs", "analyses", "blobs"))]


@pytest.mark.parametrize(("kind", "code"), [(Kind.NOT_CERVIX, "not_a_cervix"), (Kind.UNUSABLE, "blurred")])
def test_a_flawed_picture_is_kept_with_its_kind_and_goes_to_readers_with_its_reason(cast: Cast, toy: Toy, kind: Kind, code: str) -> None:
    champion()
    image = _clean(cast)[0]
    toy.answers[_name(image)] = replace(said(), kind=kind, route=Route.REVIEW, reasons=(code,))
    _drain()
    image.refresh_from_db()
    assert (image.state, image.review_tasks.get().reasons) == ("in_review", [code])
    current = Assessment.objects.get(image=image, current=True)
    assert (current.kind, current.route, current.reasons) == (kind, "review", [code])
    assert not Label.objects.filter(image=image).exists()


def test_what_the_model_is_unsure_of_goes_to_readers(cast: Cast, toy: Toy) -> None:
    champion()
    (image,) = _clean(cast)
    toy.answers[_name(image)] = said(0.4, route=Route.REVIEW)
    _drain()
    image.refresh_from_db()
    assert image.state == "in_review"
    assert image.review_tasks.get().reasons == ["between_thresholds"]


def test_an_unreadable_picture_fails_alone_with_its_reason(cast: Cast, toy: Toy) -> None:
    champion()
    good, bad = _clean(cast, 2)
    toy.answers[_name(bad)] = Unreadable("damaged", "The file ends early. Send it again.")
    _drain()
    for image in (good, bad):
        image.refresh_from_db()
    assert good.state == "accepted"
    assert (bad.state, bad.state_reason) == ("failed", "The file ends early. Send it again.")
    assert Job.objects.get(subject_id=bad.pk).state == "failed"


def test_an_image_withdrawn_meanwhile_is_left_alone(cast: Cast, toy: Toy) -> None:
    champion()
    (image,) = _clean(cast)
    Image.objects.filter(pk=image.pk).update(state="withdrawn")
    _drain()
    assert toy.batches == []
    assert not Analysis.objects.exists()
    assert Job.objects.get().state == "done"


def test_without_a_champion_images_wait(cast: Cast, toy: Toy) -> None:
    (image,) = _clean(cast)
    ModelVersion.objects.filter(state="champion").update(state="retired")
    _drain()
    image.refresh_from_db()
    assert (image.state, Job.objects.get().state, toy.batches) == ("clean", "queued", [])


def test_a_broken_champion_fails_no_image(cast: Cast, toy: Toy) -> None:
    version = champion()
    (Path(version.bundle_path) / "bundle.json").unlink()
    toy.error = ValueError("bundle.json is missing")
    (image,) = _clean(cast)
    _drain()
    image.refresh_from_db()
    job = Job.objects.get()
    assert (image.state, job.state, job.errors, job.alone) == ("clean", "queued", 0, False)


def test_a_new_champion_judges_what_waits_for_readers_and_keeps_the_earlier_word(cast: Cast, toy: Toy) -> None:
    image = make_image(cast.north, state="in_review", p_non_regular=0.5)
    newer = make_version("champion")
    services.enqueue(kind="analyse", subject_id=image.pk)
    toy.answers[_name(image)] = said(0.45, route=Route.REVIEW)
    _drain()
    image.refresh_from_db()
    assert image.state == "in_review"
    assert Analysis.objects.filter(image=image).count() == 2
    assert Assessment.objects.get(image=image, current=True).analysis.version == newer
    assert Assessment.objects.filter(image=image).count() == 2


def test_the_same_bundle_asked_twice_says_it_once(cast: Cast, toy: Toy) -> None:
    champion()
    (image,) = _clean(cast)
    _drain()
    services.enqueue(kind="analyse", subject_id=image.pk)
    _drain()
    assert Analysis.objects.filter(image=image).count() == 1
    assert AuditEvent.objects.filter(action="image.analysed").count() == 1


def test_a_job_that_failed_for_good_says_so_on_the_image(cast: Cast) -> None:
    (image,) = _clean(cast)
    (claim,) = services.claim("analyse", worker="w")
    HANDLERS["analyse"].give_up(claim, "Its worker died three times.")
    image.refresh_from_db()
    assert (image.state, image.state_reason) == ("failed", "Its worker died three times.")
    assert Job.objects.get().state == "failed"


def test_a_failed_analysis_that_is_retried_is_analysed(cast: Cast, toy: Toy) -> None:
    champion()
    (image,) = _clean(cast)
    toy.answers[_name(image)] = Unreadable("damaged", "The file ends early. Send it again.")
    _drain()
    del toy.answers[_name(image)]
    services.retry(job=Job.objects.get(subject_id=image.pk), actor_id=cast.sys.pk)
    _drain()
    image.refresh_from_db()
    assert (image.state, image.state_reason) == ("accepted", "")


def test_a_store_that_is_away_fails_no_image(cast: Cast, toy: Toy) -> None:
    champion()
    (image,) = _clean(cast)
    toy.answers[_name(image)] = Unreadable("missing", "The file cannot be opened: No such file or directory.")
    _drain()
    image.refresh_from_db()
    job = Job.objects.get(subject_id=image.pk)
    assert (image.state, job.state, job.errors, job.deaths) == ("clean", "queued", 0, 0)


def test_a_model_dethroned_while_it_worked_writes_nothing(cast: Cast, toy: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    old = champion()
    (image,) = _clean(cast)
    asked = handlers._ask

    def promoted_meanwhile(version: ModelVersion, images: list[Image]) -> object:
        answers = asked(version, images)
        if version == old:
            make_version("champion")
        return answers

    monkeypatch.setattr(handlers, "_ask", promoted_meanwhile)
    _drain()
    assert not Analysis.objects.filter(version=old).exists()
    _drain()
    assert Analysis.objects.get(image=image).version == champion()


def test_a_batch_is_written_in_as_many_statements_as_two_images(cast: Cast, toy: Toy) -> None:
    champion()
    counts = []
    for count in (4, 14):
        for image in _clean(cast, count)[::2]:
            toy.answers[_name(image)] = said(0.4, route=Route.REVIEW)
        claims = services.claim("analyse", worker="w")
        with CaptureQueriesContext(connection) as queries:
            handlers.analyse(claims)
        counts.append(len(queries))
    assert counts[0] == counts[1]
    assert {*Image.objects.values_list("state", flat=True)} == {"accepted", "in_review"}


def test_one_lost_claim_of_a_batch_leaves_its_image_to_who_holds_it(cast: Cast, toy: Toy) -> None:
    champion()
    images = _clean(cast, 3)
    claims = services.claim("analyse", worker="w")
    Job.objects.filter(pk=claims[1].job_id).update(attempt=9)
    handlers.analyse(claims)
    for image in images:
        image.refresh_from_db()
    assert [image.state for image in images] == ["accepted", "clean", "accepted"]
    assert Analysis.objects.count() == 2


def test_a_second_lane_opens_for_a_second_batch_and_both_end(cast: Cast, toy: Toy) -> None:
    champion()
    images = _clean(cast, 40)
    assert _drain() == 40
    assert sum(toy.batches) == 40
    assert Image.objects.filter(pk__in=[image.pk for image in images], state="accepted").count() == 40


def test_an_embedding_is_stored_as_it_was_said(cast: Cast, toy: Toy) -> None:
    champion()
    (image,) = _clean(cast)
    _drain()
    assert Analysis.objects.get(image=image).embedding == [0.1, 0.2]
