"""What passes unseen at a site is earned by what was read there, and a share is read whatever the model says (METHODS 6)."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from django.db.models.functions import Now
from django.test.utils import CaptureQueriesContext

from inference.context import Context
from portal.datasets import rows as datasets
from portal.datasets.query import Query
from portal.datasets.selectors import choose, items
from portal.datasets.services import create_snapshot
from portal.images.models import Image, Patient
from portal.jobs.models import Job
from portal.learning.models import TrainingRun
from portal.learning.promotions import rescore_queue
from portal.ml import Analysis
from portal.pipeline import tasks
from portal.pipeline.invariants import violations
from portal.registry.models import ModelVersion
from portal.reviews import earning
from portal.reviews.models import Lease, ReviewTask
from portal.reviews.rules import set_rules
from portal.reviews.selectors import rules_for
from portal.reviews.services import Answer, reassess, reopen, submit_read
from portal.web import unseen
from tests.cast import Cast, make_image, make_run, make_snapshot, make_version
from tests.conftest import ROOT
from tests.portal.pipeline.beside import COMPARE, PLAIN, STAINED, arrive, drain, looks, settle_in
from tests.portal.pipeline.conftest import Toy
from training.manifest import read_snapshot

pytestmark = pytest.mark.django_db(transaction=True)
HALF = 5
"""Positives that show a missed share of at most a half, none of them missed: 0.5 ** 5 is below 0.05."""


@pytest.fixture
def version() -> ModelVersion:
    return make_version("champion", fusion={"t_lo": 0.1, "t_hi": 0.9}, calibrated_devices=["colposcope"])


@pytest.fixture(autouse=True)
def _as_shipped(settings: Any, version: ModelVersion) -> None:
    settings.REVIEW_UNCALIBRATED, settings.MISSED_SHARE = True, 0.5


def come(cast: Cast, toy: Toy, *pictures: Analysis, patient: str, device: str = "colposcope", exam: str = "E1") -> list[Image]:
    """Images of one patient, analysed and routed."""
    images = arrive(cast.north, toy, *pictures, patient=patient, exam=exam)
    Image.objects.filter(pk__in=[image.pk for image in images]).update(device=device)
    drain()
    for image in images:
        image.refresh_from_db()
    return images


def read(cast: Cast, image: Image, kind: str) -> None:
    """Ravi answers the open question about this image, whichever comes first in the queue."""
    task = ReviewTask.objects.get(image=image, state="open")
    Lease.objects.create(task=task, reader=cast.ravi, token=f"of-{task.pk}", until=Now() + timedelta(minutes=5))
    submit_read(task=task, reader=cast.ravi, answer=Answer(kind, reasons=("blurred",) if kind == "unusable" else ()))


def earn(cast: Cast, toy: Toy, *scores: float) -> None:
    """A patient for each, whose only image people call a green filter."""
    for number, p in enumerate(scores):
        (image,) = come(cast, toy, looks(p), patient=f"G{number}")
        read(cast, image, "green_filter")


def reasons(image: Image) -> list[str]:
    return list(image.assessments.get(current=True).reasons)


# ---- earned -----------------------------------------------------------------------------------------------------------
def test_until_enough_was_read_everything_is_and_then_what_lies_below_passes(cast: Cast, toy: Toy) -> None:
    plain, stained = come(cast, toy, PLAIN, STAINED, patient="P1")
    assert [plain.state, stained.state] == ["in_review"] * 2
    assert [reasons(plain), reasons(stained)] == [["t_lo_not_earned"]] * 2
    read(cast, plain, "regular")
    read(cast, stained, "lugol_iodine")
    earn(cast, toy, 0.95, 0.92, 0.07)
    (fourth,) = come(cast, toy, PLAIN, patient="P2")
    assert fourth.state == "in_review", "four patients are not five"
    read(cast, fourth, "regular")
    (fifth,) = come(cast, toy, looks(0.99), patient="P3")
    read(cast, fifth, "green_filter")
    below, above, stained = (come(cast, toy, one, patient=f"P{n}")[0] for n, one in enumerate((looks(0.06), looks(0.07), STAINED), start=4))
    assert [below.state, above.state, stained.state] == ["accepted", "in_review", "accepted"]
    assert (reasons(below), reasons(above)) == ([], ["above_earned_t_lo"])
    kept = below.assessments.get(current=True).rule
    assert kept["earned"] == {"t_lo": 0.07, "positives": HALF, "missed": 0, "needed": 0}
    assert (kept["missed_share"], kept["confidence"]) == (0.5, 0.95)
    assert below.labels.get(current=True).basis["rule"] == kept, "the label tells what it rests on"
    (elsewhere,) = arrive(cast.river, toy, PLAIN)
    Image.objects.filter(pk=elsewhere.pk).update(device="colposcope")
    drain()
    elsewhere.refresh_from_db()
    assert (elsewhere.state, reasons(elsewhere)) == ("in_review", ["t_lo_not_earned"]), "another site has earned nothing by it"
    assert not [name for name in violations() if name.startswith(("lost", "stuck", "doubled"))]


def test_of_a_patient_the_least_suspicious_image_counts_and_what_is_always_read_cannot_pass(cast: Cast, toy: Toy, version: Any) -> None:
    several = come(cast, toy, looks(0.95), looks(0.03), looks(0.5), patient="G0")
    for image in several:
        read(cast, image, "green_filter")
    (blurred,) = come(cast, toy, looks(0.04), patient="G1")
    odd = blurred.assessments.get(current=True)
    read(cast, blurred, "green_filter")
    # a later word of the same model, for which people read it at any threshold
    blurred.assessments.filter(current=True).update(current=False)
    blurred.assessments.create(
        analysis=odd.analysis, p_non_regular=0.04, kind=odd.kind, route="review", reasons=["blurred", "t_lo_not_earned"]
    )  # fmt: skip
    (regular,) = come(cast, toy, looks(0.02), patient="G2")
    read(cast, regular, "regular")
    (nobody,) = come(cast, toy, looks(0.01), patient="G3")
    read(cast, nobody, "green_filter")
    Image.objects.filter(pk=nobody.pk).update(exam=None)
    found = earning.positives([cast.north.pk], version.pk)[cast.north.pk]
    assert sorted(found.values()) == [0.03, 1.0]


def test_what_was_read_because_a_model_was_unsure_earns_nothing(cast: Cast, toy: Toy, version: Any, settings: Any) -> None:
    settings.REVIEW_UNCALIBRATED = False
    (image,) = come(cast, toy, looks(0.5), patient="G0")
    assert reasons(image) == ["between_thresholds"]
    read(cast, image, "green_filter")
    (asked,) = come(cast, toy, PLAIN, patient="G1")
    assert asked.state == "accepted", "this installation trusts the model meanwhile"
    reopen(image=asked, actor=cast.max)
    read(cast, asked, "green_filter")
    settings.REVIEW_UNCALIBRATED, settings.MISSED_SHARE = True, None
    (unknown,) = come(cast, toy, looks(0.95), patient="G2", device="phone")
    assert reasons(unknown) == ["no_calibration_for_device"]
    read(cast, unknown, "green_filter")
    assert earning.positives([cast.north.pk], version.pk) == {}


def test_a_device_on_which_the_model_was_not_calibrated_earns_nothing_for_the_others(cast: Cast, toy: Toy, version: Any) -> None:
    for number in range(HALF):
        (image,) = come(cast, toy, looks(0.95), patient=f"G{number}", device="phone")
        assert reasons(image) == ["no_calibration_for_device", "t_lo_not_earned"]
        read(cast, image, "green_filter")
    (known,) = come(cast, toy, PLAIN, patient="P1")
    assert reasons(known) == ["t_lo_not_earned"]
    assert earning.positives([cast.north.pk], version.pk) == {}
    found = earning.standing(cast.north.pk, rules_for(cast.north.pk), version)
    assert ([one.images for one in found.passed], found.uncalibrated) == ([0, 0], HALF)
    page = cast.client(cast.lena).get(f"/sites/{cast.north.pk}/").content.decode()
    assert "5 patients with such images of devices on which this model was not calibrated" in page


def test_pictures_that_are_no_cervix_or_of_no_use_earn_nothing(cast: Cast, toy: Toy, version: Any) -> None:
    """The probability is of a green filter or iodine: of these it says nothing."""
    for number, kind in enumerate(["not_cervix", "unusable", "post_treatment"] * 2):
        (image,) = come(cast, toy, looks(0.99), patient=f"G{number}")
        read(cast, image, kind)
    assert earning.positives([cast.north.pk], version.pk) == {}
    _, other = earning.standing(cast.north.pk, rules_for(cast.north.pk), version).passed
    assert (other.images, other.wrong) == (6, 6), "and they were no green filter either"


def test_a_device_that_is_named_leaves_nothing_that_counts_as_read_whatever_the_model_says(
    cast: Cast, toy: Toy, version: Any, settings: Any
) -> None:
    """The sure ones are taken back then, so that the doubtful ones left are not like all."""
    settings.MISSED_SHARE = None
    sure, unsure = come(cast, toy, PLAIN, looks(0.5), patient="P1", device="")
    Image.objects.filter(pk__in=[sure.pk, unsure.pk]).update(device="colposcope")
    reassess([sure.pk])
    sure.refresh_from_db()
    assert sure.state == "accepted"
    assert ReviewTask.objects.get(image=unsure, state="open").reasons == ["between_thresholds"]
    read(cast, unsure, "green_filter")
    assert {row.image_id: row.read_for for row in choose(Query()).rows} == {unsure.pk: "chosen"}


def test_where_nothing_may_pass_everything_is_read_even_if_the_installation_trusts_the_model(cast: Cast, toy: Toy, settings: Any) -> None:
    settings.REVIEW_UNCALIBRATED = False
    set_rules(site=cast.north, missed_share=0.0, actor=cast.stella)
    plain, stained = come(cast, toy, PLAIN, STAINED, patient="P1")
    assert [reasons(plain), reasons(stained)] == [["t_lo_not_earned"]] * 2
    settings.MISSED_SHARE = None
    (elsewhere,) = settle_in(cast.river, toy, PLAIN)
    assert elsewhere.state == "accepted", "and another is asked for nothing"


def test_what_was_asked_after_the_oldest_open_question_does_not_count_yet(cast: Cast, toy: Toy, version: Any) -> None:
    """What is most in doubt is read first: of those asked since, the sure ones are still to come."""
    (waiting,) = come(cast, toy, looks(0.02), patient="P0")
    later = [come(cast, toy, looks(0.5 + n / 100), patient=f"G{n}")[0] for n in range(3)]
    for image in later:
        read(cast, image, "green_filter")
    assert earning.positives([cast.north.pk], version.pk) == {}
    assert earning.standing(cast.north.pk, rules_for(cast.north.pk), version).waiting == 1
    read(cast, waiting, "green_filter")
    assert sorted(earning.positives([cast.north.pk], version.pk)[cast.north.pk].values()) == [0.02, 0.5, 0.51, 0.52]


def test_drawn_examples_count_whatever_is_open(cast: Cast, toy: Toy, version: Any) -> None:
    drawn = make_image(cast.north, state="settled", kind="green_filter", patient="D1", provenance="example_truth", version=version)
    come(cast, toy, PLAIN, patient="P1")
    assert list(earning.positives([cast.north.pk], version.pk)) == [cast.north.pk], drawn


def test_patients_from_whom_the_model_has_learned_prove_nothing(cast: Cast, toy: Toy, version: Any) -> None:
    earn(cast, toy, *[0.95] * HALF)
    learned, other = (Image.objects.get(exam__patient__code=f"G{n}") for n in (0, 1))
    run = make_run(make_snapshot(learned), state="done")
    TrainingRun.objects.filter(pk=run.pk).update(candidate=version)
    assert len(earning.positives([cast.north.pk], version.pk)[cast.north.pk]) == HALF - 1
    (image,) = come(cast, toy, PLAIN, patient="P1")
    assert image.assessments.get(current=True).rule["earned"] == {"t_lo": None, "positives": 4, "missed": 0, "needed": 1}
    assert other.exam_id != learned.exam_id


def test_a_late_image_takes_no_such_question_back(cast: Cast, toy: Toy) -> None:
    """It was asked whatever the model said, so that the model changing its mind is no reason not to answer it."""
    make_version("champion", context=Context(COMPARE, {}).as_json(), fusion={"t_lo": 0.1, "t_hi": 0.9}, calibrated_devices=["colposcope"])
    earn(cast, toy, *[0.95] * (HALF - 1))
    (last,) = come(cast, toy, looks(0.95), patient="G9")
    (first,) = come(cast, toy, PLAIN, patient="P1")
    read(cast, last, "green_filter")
    (late,) = come(cast, toy, PLAIN, patient="P1")
    first.refresh_from_db()
    assert (late.state, first.state) == ("accepted", "in_review")
    assert first.assessments.get(current=True).siblings == [late.pk]
    assert reasons(first) == [], "by now it would pass"
    assert ReviewTask.objects.get(image=first).state == "open"
    read(cast, first, "regular")


def test_a_new_champion_judges_what_sites_have_earned_by(cast: Cast, toy: Toy, version: Any) -> None:
    earn(cast, toy, *[0.95] * HALF)
    (regular,) = come(cast, toy, PLAIN, patient="P1")
    assert regular.state == "accepted"
    new = make_version("champion", fusion={"t_lo": 0.1, "t_hi": 0.9}, calibrated_devices=["colposcope"])
    (between,) = come(cast, toy, PLAIN, patient="P2")
    assert reasons(between) == ["t_lo_not_earned"]
    Job.objects.filter(kind="analyse").delete()
    rescore_queue(version=new, actor=cast.max)
    asked = set(Job.objects.filter(kind="analyse").values_list("subject_id", flat=True))
    assert asked == set(Image.objects.filter(exam__patient__code__startswith="G").values_list("pk", flat=True))
    drain()
    assert [image.state for image in Image.objects.filter(pk__in=asked)] == ["settled"] * HALF, "people's word stands"
    (after,) = come(cast, toy, PLAIN, patient="P3")
    assert after.state == "accepted"


def test_what_was_accepted_is_not_asked_again_because_a_new_champion_has_earned_nothing(cast: Cast, toy: Toy) -> None:
    """Only images of exams that grow would be, and of these the sure ones: nothing to measure by."""
    about: dict[str, Any] = {
        "context": Context(COMPARE, {}).as_json(),
        "fusion": {"t_lo": 0.1, "t_hi": 0.9},
        "calibrated_devices": ["colposcope"],
    }
    make_version("champion", **about)
    earn(cast, toy, *[0.95] * HALF)
    plain, stained = come(cast, toy, PLAIN, STAINED, patient="P1")
    assert [plain.state, stained.state] == ["accepted"] * 2
    make_version("champion", **about)
    (late,) = come(cast, toy, PLAIN, patient="P1")
    drain()
    for image in (plain, stained):
        image.refresh_from_db()
    assert (late.state, plain.state, stained.state) == ("in_review", "accepted", "accepted")
    assert reasons(plain) == ["t_lo_not_earned"]
    assert "t_lo_not_earned" not in {one for task in ReviewTask.objects.filter(image__in=[plain, stained]) for one in task.reasons}


def test_what_waits_behind_an_open_question_at_a_promotion_counts_for_the_new_champion_too(cast: Cast, toy: Toy) -> None:
    (waiting,) = come(cast, toy, PLAIN, patient="P0")
    earn(cast, toy, *[0.95] * HALF)
    new = make_version("champion", fusion={"t_lo": 0.1, "t_hi": 0.9}, calibrated_devices=["colposcope"])
    rescore_queue(version=new, actor=cast.max)
    drain()
    read(cast, waiting, "regular")
    assert len(earning.positives([cast.north.pk], new.pk)[cast.north.pk]) == HALF


def test_the_beat_has_judged_what_no_promotion_saw(cast: Cast, toy: Toy) -> None:
    (seen,) = come(cast, toy, PLAIN, patient="P0")
    read(cast, seen, "regular")
    new = make_version("champion", fusion={"t_lo": 0.1, "t_hi": 0.9}, calibrated_devices=["colposcope"])
    rescore_queue(version=new, actor=cast.max)
    drain()
    seen.refresh_from_db()
    reopen(image=seen, actor=cast.max)
    read(cast, seen, "green_filter")
    assert earning.positives([cast.north.pk], new.pk) == {}
    tasks.judge_what_earns()
    drain()
    assert earning.positives([cast.north.pk], new.pk) == {cast.north.pk: {Patient.objects.get(code="P0").pk: 0.05}}
    assert earning.to_judge(new) == []


def test_the_statements_do_not_grow_with_what_was_read(cast: Cast, toy: Toy, version: Any) -> None:
    def statements() -> int:
        with CaptureQueriesContext(connection) as made:
            unseen.of_site(cast.north)
            unseen.in_short([cast.north, cast.river])
        return len(made)

    earn(cast, toy, 0.95)
    few = statements()
    earn(cast, toy, *[0.95] * HALF)
    assert statements() == few <= 16


# ---- read whatever the model says -------------------------------------------------------------------------------------
def test_a_share_is_read_by_chance_for_ever_the_same_and_beside_its_own_reasons(cast: Cast, toy: Toy, settings: Any) -> None:
    settings.MISSED_SHARE, settings.AUDIT_SHARE = None, 0.2
    images = [image for n in range(12) for image in come(cast, toy, PLAIN, looks(0.5), patient=f"P{n}")]
    drawn = [earning.draw(image.pk) < 0.2 for image in images]
    assert 0 < sum(drawn) < len(images), "of 24 none or all would be drawn once in 200 times: another seed of the numbers"
    own = [[], ["between_thresholds"]] * 12
    assert [reasons(image) for image in images] == [[*why, "audit"] if one else why for why, one in zip(own, drawn, strict=True)]
    states = ["in_review" if why or one else "accepted" for why, one in zip(own, drawn, strict=True)]
    assert [image.state for image in images] == states
    reassess([image.pk for image in images])
    assert [image.state for image in Image.objects.filter(pk__in=[i.pk for i in images]).order_by("pk")] == states


def test_the_draw_is_uniform_and_nobodys_to_foretell(settings: Any) -> None:
    drawn = [earning.draw(n) for n in range(20_000)]
    assert all(0 <= one < 1 for one in drawn)
    assert abs(sum(one < 0.03 for one in drawn) / 20_000 - 0.03) < 0.006
    settings.SECRET_KEY = "another" * 10
    assert earning.draw(1) != drawn[1]


def test_how_those_fared_that_would_have_passed_is_told_with_intervals(cast: Cast, toy: Toy, version: Any) -> None:
    for number, (p, kind) in enumerate(
        [(0.02, "regular"), (0.03, "green_filter"), (0.05, "regular"), (0.95, "green_filter"), (0.5, "regular")]
    ):
        (image,) = come(cast, toy, looks(p), patient=f"P{number}")
        read(cast, image, kind)
    regular, other = earning.standing(cast.north.pk, rules_for(cast.north.pk), version).passed
    assert (regular.images, regular.patients, regular.wrong, regular.wrong_patients) == (3, 3, 1, 1)
    assert (other.images, other.wrong) == (1, 0), "and what lay between the thresholds would not have passed"
    page = cast.client(cast.lena).get(f"/sites/{cast.north.pk}/").content.decode()
    assert "1: 33.3 % (6.1 % to 79.2 %)" in page
    assert "So far 2 patients with an image that is not regular" in page
    assert "3 more needed before an image may pass unseen" in page


# ---- what is said, and by whom it is set ------------------------------------------------------------------------------
def test_the_study_lead_says_what_is_tolerated_and_bad_shares_are_refused(cast: Cast) -> None:
    client = cast.client(cast.stella)
    asked = {"site": cast.north.pk, "reads_needed": 1, "missed_share": "2", "confidence": "90", "audit_share": "4"}
    assert client.post("/reading/rules/", asked).status_code == 302
    rules = rules_for(cast.north.pk)
    assert (rules.missed_share, rules.confidence, rules.audit_share) == (0.02, 0.9, 0.04)
    page = client.get("/reading/rules/").content.decode()
    assert "2 % may pass unseen; to be 90 % sure of that; 4 % read whatever the model says" in page
    assert "nothing: 114 more patients needed" in page
    for name, value in (("missed_share", "51"), ("missed_share", "-1"), ("confidence", "100"), ("audit_share", "21")):
        refused = client.post("/reading/rules/", {**asked, name: value})
        assert refused.status_code == 400, name
    assert rules_for(cast.north.pk) == rules
    assert client.post("/reading/rules/", {**asked, "confidence": "99.9"}).status_code == 302, "as the page offers"
    assert client.post("/reading/rules/", {"site": cast.north.pk, "reads_needed": 1}).status_code == 302
    assert rules_for(cast.north.pk).missed_share == 0.5, "empty is what the installation says"


def test_the_sites_page_shows_the_line_and_what_waits(cast: Cast, toy: Toy) -> None:
    earn(cast, toy, 0.95, 0.06, 0.97, 0.98, 0.99)
    page = cast.client(cast.lena).get(f"/sites/{cast.north.pk}/").content.decode()
    assert "An image passes as regular below 0.060" in page
    assert "This rests on 5 patients" in page
    assert "Lowest probability of each of 5 patients, from 0.060 to 0.990" in page
    come(cast, toy, looks(0.07), patient="P1")
    come(cast, toy, looks(0.5), patient="P2")
    (image,) = come(cast, toy, PLAIN, patient="P3", device="phone")
    page = cast.client(cast.lena).get(f"/sites/{cast.north.pk}/").content.decode()
    assert "still open" not in page, "two for what the model says, one for its device: none earns anything"
    page = cast.client(cast.stella).get(f"/reading/rules/?site={cast.north.pk}").content.decode()
    assert "An image passes as regular below 0.060" in page, "who leads the study sees it where it is set"
    page = cast.client(cast.alice).get(f"/images/{image.pk}/").content.decode()
    assert "nobody has checked yet how well the model judges this device" in page


# ---- into the data set ------------------------------------------------------------------------------------------------
def test_a_data_set_says_how_each_image_came_to_be_read_and_training_measures_by_it(cast: Cast, toy: Toy, settings: Any) -> None:
    (whatever,) = come(cast, toy, PLAIN, patient="A1")
    read(cast, whatever, "regular")
    settings.MISSED_SHARE = None
    (chosen,) = come(cast, toy, looks(0.5), patient="A2")
    read(cast, chosen, "green_filter")
    (passed,) = come(cast, toy, PLAIN, patient="A3")
    known = make_image(cast.north, state="settled", patient="A4", provenance="example_truth")
    rows = {row.image_id: row for row in choose(Query(provenances="all")).rows}
    told = {image.pk: rows[image.pk].read_for for image in (whatever, chosen, passed, known)}
    assert list(told.values()) == ["whatever", "chosen", "nobody", "nobody"]
    snapshot = create_snapshot(name="told", query=Query(provenances="all"), actor=cast.max)
    drain("freeze")
    snapshot.refresh_from_db()
    assert {row.image_id: row.read_for for row in items(snapshot)} == told
    records = {record.sha256: record for record in read_snapshot(Path(snapshot.folder)).records}
    measured = {pk: records[rows[pk].sha256].measurable for pk in told}
    assert list(measured.values()) == [True, False, False, True]
    assert [records[rows[pk].sha256].by_people for pk in told] == [True, True, False, True]
    measured_on = [replace(row, split="test") for row in rows.values()]
    assert any("1 image that people read because a model was unsure" in line for line in datasets.warnings(measured_on))
    teaches = [replace(row, split="train") for row in rows.values()]
    assert not any("because a model was unsure" in line for line in datasets.warnings(teaches))
    assert any("holds neither green filter nor" in line for line in datasets.warnings(measured_on)), "its only green one was chosen"


@pytest.mark.parametrize(("name", "given"), [("WINNOW_MISSED_SHARE", "5"), ("WINNOW_MISSED_SHARE", "few"), ("WINNOW_AUDIT_SHARE", "3")])
def test_a_share_that_is_none_does_not_start(name: str, given: str) -> None:
    """Percent, as the pages have them, would have everything read, or nothing judged."""
    env = {**os.environ, name: given, "DJANGO_SETTINGS_MODULE": "portal.settings"}
    program = [sys.executable, "-c", "from django.conf import settings; settings.AUDIT_SHARE"]
    done = subprocess.run(program, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert f"{name} is '{given}': it must be a share from 0 to 0." in done.stderr
