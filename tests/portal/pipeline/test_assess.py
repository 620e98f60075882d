"""An exam's images are judged beside one another, in whatever order they come, and nothing a person did is lost by it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from itertools import permutations
from pathlib import Path

import pytest
from django.db import connection, transaction
from django.db.models.functions import Now
from django.test.utils import CaptureQueriesContext

from portal.analyses import beside as besides
from portal.analyses.beside import MOST
from portal.analyses.models import Analysis, Assessment
from portal.audit.models import AuditEvent
from portal.core.errors import WrongState
from portal.images.models import Image, Patient
from portal.images.services import apply_table
from portal.jobs import services
from portal.jobs.models import Job
from portal.labels.models import Label
from portal.ml import Kind
from portal.pipeline import tasks
from portal.pipeline.handlers import HANDLERS
from portal.pipeline.invariants import violations
from portal.reviews import reassess as reassessing
from portal.reviews import services as reviews
from portal.reviews.models import ReviewTask
from portal.reviews.services import Answer, lease_next, reassess, reopen, submit_read, withdraw
from tests.cast import Cast, make_analysis, make_image
from tests.portal.pipeline.beside import FAINT, GREEN, PALE, PLAIN, STAINED, UNSURE, arrive, comparing, drain, kinds_of, looks, settle_in
from tests.portal.pipeline.conftest import Toy

pytestmark = pytest.mark.django_db(transaction=True)
DECISION = ("p_non_regular", "kind", "route", "reasons")


def now(image: Image) -> Assessment:
    return image.assessments.get(current=True)


def healthy() -> bool:
    return not [name for name in violations() if name.startswith(("lost", "stuck", "doubled", "jobs", "analyses.assess"))]


# ---- the same decision, whatever the order ----------------------------------------------------------------------------


def test_in_whatever_order_and_batches_images_come_the_decision_is_the_same(cast: Cast, toy: Toy) -> None:
    comparing()
    pictures = [PLAIN, FAINT, UNSURE, STAINED]
    ends = set()
    for n, order in enumerate(permutations(range(4))):
        images: dict[int, Image] = {}
        # one by one, in pairs, or all at once; judged beside each other after each, or at the end
        step = (1, 2, 4)[n % 3]
        for first in range(0, 4, step):
            part = order[first : first + step]
            images |= zip(part, arrive(cast.north, toy, *(pictures[k] for k in part), exam=f"E{n}"), strict=True)
            drain("analyse")
            if n % 2:
                drain("assess")
        drain("assess")
        for image in images.values():
            image.refresh_from_db()
        current = [now(images[k]) for k in range(4)]
        assert [sorted(one.siblings) for one in current] == [sorted(i.pk for i in images.values() if i != images[k]) for k in range(4)]
        ends.add(repr([[getattr(one, name) for name in DECISION] for one in current] + [images[k].state for k in range(4)]))
    assert len(ends) == 1
    assert kinds_of([images[k] for k in range(4)]) == [Kind.REGULAR, Kind.GREEN_FILTER, Kind.REGULAR, Kind.LUGOL_IODINE]
    assert healthy()


def test_images_of_one_batch_are_judged_beside_each_other_at_once(cast: Cast, toy: Toy) -> None:
    comparing()
    images = arrive(cast.north, toy, PLAIN, FAINT, PALE)
    drain("analyse")
    assert [len(now(image).siblings) for image in images] == [2, 2, 2]
    assert Assessment.objects.count() == 3
    assert not Job.objects.filter(kind="assess").exists()


def test_a_late_image_has_its_siblings_judged_anew_and_keeps_the_earlier_word(cast: Cast, toy: Toy) -> None:
    comparing()
    (faint,) = settle_in(cast.north, toy, FAINT)
    first = now(faint)
    assert (first.kind, first.siblings, faint.state) == ("regular", [], "accepted")
    late = settle_in(cast.north, toy, PLAIN, PALE)
    faint.refresh_from_db()
    again = now(faint)
    assert (again.kind, again.route, again.reasons) == ("green_filter", "review", ["context_overturned"])
    assert again.siblings == [image.pk for image in late]
    assert again.analysis == first.analysis
    assert not Assessment.objects.get(pk=first.pk).current
    assert AuditEvent.objects.filter(action="image.assessed", subject_id=faint.pk).count() == 1
    assert (faint.state, faint.review_tasks.get().reasons) == ("in_review", ["context_overturned"])
    assert healthy()


def test_judging_again_writes_nothing_where_nothing_changed(cast: Cast, toy: Toy) -> None:
    comparing()
    images = settle_in(cast.north, toy, PLAIN, FAINT)
    before = Assessment.objects.count()
    services.enqueue_many(kind="assess", subject_ids=[image.pk for image in images])
    drain("assess")
    assert Assessment.objects.count() == before
    assert {*Job.objects.filter(kind="assess").values_list("state", flat=True)} == {"done"}


# ---- what is not compared ---------------------------------------------------------------------------------------------


def test_another_device_and_another_exam_are_not_compared(cast: Cast, toy: Toy) -> None:
    comparing()
    (faint,) = arrive(cast.north, toy, FAINT)
    (other_device,) = arrive(cast.north, toy, PLAIN)
    Image.objects.filter(pk=other_device.pk).update(device="Another camera")
    (other_exam,) = arrive(cast.north, toy, PLAIN, exam="E2")
    drain()
    assert [now(image).siblings for image in (faint, other_device, other_exam)] == [[], [], []]
    assert now(faint).kind == "regular"
    assert healthy()


def test_after_a_promotion_the_others_of_a_late_images_exam_are_looked_at_and_compared_too(cast: Cast, toy: Toy) -> None:
    comparing()
    (plain,) = settle_in(cast.north, toy, PLAIN)
    (elsewhere,) = settle_in(cast.north, toy, PLAIN, exam="E2")
    new = comparing()
    (faint,) = arrive(cast.north, toy, FAINT)
    HANDLERS["analyse"].work(services.claim("analyse", worker="w"))
    assert (now(faint).siblings, now(faint).kind) == ([], "regular"), "no two versions' words are compared"
    assert not violations().keys() & {"analyses.assessment_behind_its_exam"}
    drain()
    assert now(faint).siblings == [plain.pk]
    assert now(plain).siblings == [faint.pk]
    assert now(faint).kind == "green_filter"
    assert now(plain).analysis.version == now(faint).analysis.version == new
    assert now(elsewhere).analysis.version != new, "an exam to which nothing came stays as it was"
    assert healthy()


def test_a_question_is_not_taken_back_before_the_new_version_has_seen_the_others(cast: Cast, toy: Toy) -> None:
    comparing()
    first, second, unsure = settle_in(cast.north, toy, PLAIN, PLAIN, looks(0.5))
    assert unsure.state == "in_review"
    comparing()
    # the new version has its doubts too, and the first sibling that it sees would take them away
    toy.answers[f"{unsure.clean_sha256}.{unsure.clean_format}"] = UNSURE
    services.enqueue(kind="analyse", subject_id=unsure.pk)
    HANDLERS["analyse"].work(services.claim("analyse", worker="w"))
    queued = Job.objects.filter(kind="analyse", state="queued")
    assert sorted(queued.values_list("subject_id", flat=True)) == [first.pk, second.pk]
    queued.filter(subject_id=second.pk).update(not_before=Now() + timedelta(hours=1))
    drain()
    unsure.refresh_from_db()
    assert (now(unsure).siblings, now(unsure).route) == ([first.pk], "auto_regular")
    assert unsure.state == "in_review"


def test_a_heap_of_another_version_is_not_looked_at_again(cast: Cast, toy: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("portal.analyses.beside.MOST", 2)
    comparing()
    settle_in(cast.north, toy, PLAIN, PALE)
    comparing()
    settle_in(cast.north, toy, FAINT)
    assert Analysis.objects.count() == 3


def test_a_bundle_that_does_not_compare_queues_nothing(cast: Cast, toy: Toy) -> None:
    comparing(weights=None)
    settle_in(cast.north, toy, PLAIN)
    (faint,) = settle_in(cast.north, toy, FAINT)
    assert (now(faint).siblings, now(faint).kind) == ([], "regular")
    assert not Job.objects.filter(kind="assess").exists()
    assert healthy()


def test_a_device_may_be_left_out(cast: Cast, toy: Toy) -> None:
    comparing(devices={"Test camera": None})
    settle_in(cast.north, toy, PLAIN)
    (faint,) = settle_in(cast.north, toy, FAINT)
    assert (now(faint).siblings, now(faint).kind) == ([], "regular")
    assert healthy()


def test_a_heap_of_images_is_no_exam(cast: Cast, toy: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    assert MOST > 50
    monkeypatch.setattr("portal.analyses.beside.MOST", 2)
    monkeypatch.setattr("portal.analyses.invariants.MOST", 2)
    comparing()
    plain, faint = settle_in(cast.north, toy, PLAIN, FAINT)
    assert now(faint).siblings == [plain.pk]
    settle_in(cast.north, toy, PALE)
    assert (now(faint).siblings, now(faint).kind) == ([], "regular")
    assert healthy()


def test_an_analysis_from_before_colours_is_compared_by_what_it_has(cast: Cast, toy: Toy) -> None:
    version = comparing()
    old = make_image(cast.north, state="accepted", version=version)
    assert Analysis.objects.get(image=old).colour == []
    (faint,) = settle_in(cast.north, toy, FAINT)
    assert now(faint).siblings == [old.pk]
    assert len(faint.analyses.get().colour) == 18


# ---- what makes siblings anew -----------------------------------------------------------------------------------------


def test_a_withdrawn_image_leaves_its_exam_and_its_question_is_cancelled(cast: Cast, toy: Toy) -> None:
    comparing()
    plain, pale, faint = settle_in(cast.north, toy, PLAIN, PALE, FAINT)
    withdraw(image=faint, actor=cast.lena, reason="The patient asked for it.")
    drain("assess")
    assert (now(plain).siblings, now(pale).siblings) == ([pale.pk], [plain.pk])
    faint.refresh_from_db()
    assert (faint.state, faint.state_reason, faint.review_tasks.get().state) == ("withdrawn", "The patient asked for it.", "cancelled")
    assert AuditEvent.objects.filter(action="image.withdrawn", actor_id=cast.lena.pk, subject_id=faint.pk).exists()
    assert healthy()


def test_an_exam_that_a_table_gives_late_is_judged_together(cast: Cast, toy: Toy) -> None:
    comparing()
    settle_in(cast.north, toy, PLAIN, PALE)
    (faint,) = settle_in(cast.north, toy, FAINT, patient=None)
    assert now(faint).kind == "regular"
    table = f"file,patient,exam\n{faint.original_name},P1,E1\n".encode()
    assert apply_table(upload=faint.upload, table_bytes=table, actor=cast.alice).matched == 1
    drain("assess")
    assert (now(faint).kind, len(now(faint).siblings)) == ("green_filter", 2)
    assert healthy()


def test_a_device_that_a_table_names_late_parts_the_exam(cast: Cast, toy: Toy) -> None:
    comparing()
    plain, faint = settle_in(cast.north, toy, PLAIN, FAINT)
    table = f"file,patient,exam,device\n{faint.original_name},P1,E1,Another camera\n".encode()
    apply_table(upload=faint.upload, table_bytes=table, actor=cast.alice)
    drain("assess")
    assert (now(plain).siblings, now(faint).siblings, now(faint).kind) == ([], [], "regular")
    assert healthy()


def test_an_exam_named_while_the_bundle_looks_counts(cast: Cast, toy: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    comparing()
    settle_in(cast.north, toy, PLAIN, PALE)
    (faint,) = arrive(cast.north, toy, FAINT, patient=None)
    look = toy.analyse
    exam = Patient.objects.get().exams.get()

    def named_meanwhile(*args: object, **options: object) -> object:
        Image.objects.filter(pk=faint.pk).update(exam=exam)
        return look(*args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr("portal.ml.analyse", named_meanwhile)
    drain()
    assert (now(faint).kind, len(now(faint).siblings)) == ("green_filter", 2)
    assert healthy()


# ---- what follows: questions and labels -------------------------------------------------------------------------------


def test_a_question_that_nobody_touched_is_taken_back_when_the_doubt_is_gone(cast: Cast, toy: Toy) -> None:
    comparing()
    (unsure,) = settle_in(cast.north, toy, UNSURE)
    task = unsure.review_tasks.get()
    assert (unsure.state, task.reasons) == ("in_review", ["between_thresholds"])
    settle_in(cast.north, toy, PLAIN, PALE)
    unsure.refresh_from_db()
    task.refresh_from_db()
    label = Label.objects.get(image=unsure)
    assert (unsure.state, task.state, label.kind, label.provenance) == ("accepted", "cancelled", "regular", "automatic")
    assert label.basis["assessment"] == now(unsure).pk
    assert label.basis["siblings"] == now(unsure).siblings
    assert task.closed
    assert AuditEvent.objects.filter(action="take_back_task", subject_id=task.pk).count() == 1
    assert healthy()


def _held(cast: Cast, image: Image) -> None:
    assert lease_next(reader=cast.ravi)


def _expired(cast: Cast, image: Image) -> None:
    lease = lease_next(reader=cast.ravi)
    assert lease
    type(lease).objects.filter(pk=lease.pk).update(until=Now() - timedelta(hours=1))


def _read(cast: Cast, image: Image) -> None:
    ReviewTask.objects.filter(image=image).update(reads_needed=2)
    lease = lease_next(reader=cast.ravi)
    assert lease
    submit_read(task=lease.task, reader=cast.ravi, answer=Answer("regular"))


def _asked_by_people(cast: Cast, image: Image) -> None:
    ReviewTask.objects.filter(image=image).update(reasons=["reopened"])


@pytest.mark.parametrize("touch", [_held, _expired, _read, _asked_by_people])
def test_a_question_that_people_hold_answered_or_asked_stays(cast: Cast, toy: Toy, touch: Callable[[Cast, Image], None]) -> None:
    comparing()
    (unsure,) = settle_in(cast.north, toy, UNSURE)
    touch(cast, unsure)
    settle_in(cast.north, toy, PLAIN, PALE)
    unsure.refresh_from_db()
    task = unsure.review_tasks.get()
    assert now(unsure).route == "auto_regular"
    assert (unsure.state, task.state) == ("in_review", "open")
    assert not Label.objects.filter(image=unsure).exists()
    assert healthy()


def test_the_reader_who_held_it_settles_it(cast: Cast, toy: Toy) -> None:
    comparing()
    (unsure,) = settle_in(cast.north, toy, UNSURE)
    lease = lease_next(reader=cast.ravi)
    assert lease
    settle_in(cast.north, toy, PLAIN, PALE)
    submit_read(task=lease.task, reader=cast.ravi, answer=Answer("green_filter"))
    unsure.refresh_from_db()
    label = Label.objects.get(image=unsure, current=True)
    assert (unsure.state, label.kind, label.provenance) == ("settled", "green_filter", "consensus")
    assert healthy()


def test_a_settled_image_is_judged_anew_and_keeps_its_label(cast: Cast, toy: Toy) -> None:
    comparing()
    (faint,) = settle_in(cast.north, toy, FAINT)
    reopen(image=faint, actor=cast.max)
    lease = lease_next(reader=cast.ravi)
    assert lease
    submit_read(task=lease.task, reader=cast.ravi, answer=Answer("regular"))
    settle_in(cast.north, toy, PLAIN, PALE)
    faint.refresh_from_db()
    assert now(faint).kind == "green_filter"
    assert (faint.state, Label.objects.get(image=faint, current=True).kind) == ("settled", "regular")
    assert not faint.review_tasks.filter(state="open").exists()
    assert healthy()


def test_an_automatic_label_follows_the_new_word_as_a_new_version(cast: Cast, toy: Toy) -> None:
    comparing()
    (stained,) = settle_in(cast.north, toy, STAINED)
    assert Label.objects.get(image=stained).kind == "green_filter"
    settle_in(cast.north, toy, PLAIN, PALE)
    stained.refresh_from_db()
    labels = Label.objects.filter(image=stained).order_by("id")
    assert [(label.kind, label.provenance, label.current) for label in labels] == [
        ("green_filter", "automatic", False),
        ("lugol_iodine", "automatic", True),
    ]
    assert (stained.state, now(stained).route) == ("accepted", "auto_non_regular")
    assert healthy()


def test_a_doubt_that_comes_and_goes_leaves_the_image_as_it_was(cast: Cast, toy: Toy) -> None:
    comparing()
    (faint,) = settle_in(cast.north, toy, FAINT)
    plain, pale = settle_in(cast.north, toy, PLAIN, PALE)
    for image in (plain, pale):
        withdraw(image=image, actor=cast.lena, reason="Another patient's.")
    drain("assess")
    faint.refresh_from_db()
    assert (faint.state, faint.review_tasks.get().state) == ("accepted", "cancelled")
    assert Label.objects.get(image=faint).current
    assert healthy()


def test_an_exam_of_another_models_label_is_asked_about_and_not_relabelled(cast: Cast, toy: Toy) -> None:
    comparing()
    (unsure,) = settle_in(cast.north, toy, STAINED)
    comparing()
    services.enqueue(kind="analyse", subject_id=unsure.pk)
    toy.answers[f"{unsure.clean_sha256}.jpg"] = looks(0.5)
    drain()
    unsure.refresh_from_db()
    assert unsure.state == "in_review"
    settle_in(cast.north, toy, looks(0.7), looks(0.7))
    unsure.refresh_from_db()
    assert unsure.state == "in_review"
    assert Label.objects.get(image=unsure, current=True).kind == "green_filter"
    assert healthy()


def test_a_new_models_comparison_asks_about_the_old_ones_accepted_label_and_does_not_change_it(cast: Cast, toy: Toy) -> None:
    comparing()
    (stained,) = settle_in(cast.north, toy, STAINED)
    assert (stained.state, Label.objects.get(image=stained, current=True).kind) == ("accepted", "green_filter")
    comparing()
    services.enqueue(kind="analyse", subject_id=stained.pk)
    drain()
    stained.refresh_from_db()
    assert stained.state == "accepted", "the new model says the same of it, alone"
    settle_in(cast.north, toy, PLAIN, PALE)
    stained.refresh_from_db()
    assert (now(stained).kind, now(stained).route) == ("lugol_iodine", "auto_non_regular")
    assert (stained.state, stained.review_tasks.get().reasons) == ("in_review", ["models_disagree"])
    assert Label.objects.get(image=stained, current=True).kind == "green_filter"
    assert healthy()


def test_a_question_that_is_opened_while_an_image_is_withdrawn_is_never_left_open(cast: Cast, toy: Toy) -> None:
    comparing()
    (plain,) = settle_in(cast.north, toy, PLAIN)
    with ThreadPoolExecutor(1) as pool:
        with transaction.atomic():
            Image.objects.select_for_update(no_key=True).get(pk=plain.pk)
            refused = pool.submit(_withdraw, cast, plain)
            wait_for_a_lock()  # it has found no question, and waits for the image
            reopen(image=plain, actor=cast.lena)
        assert "was opened in this very moment" in refused.result(20)
    plain.refresh_from_db()
    assert (plain.state, plain.review_tasks.get().state) == ("in_review", "open")
    assert _withdraw(cast, plain) == ""
    plain.refresh_from_db()
    assert (plain.state, plain.review_tasks.get().state) == ("withdrawn", "cancelled")
    assert healthy()


def _withdraw(cast: Cast, image: Image) -> str:
    """Why it was refused; empty where it was done."""
    try:
        withdraw(image=image, actor=cast.lena, reason="The patient asked for it.")
    except WrongState as refused:
        return str(refused)
    finally:
        if threading.current_thread() is not threading.main_thread():
            connection.close()
    return ""


def wait_for_a_lock() -> None:
    """Until another connection waits for one that this one holds. (`pg_stat_activity` stands still within a transaction.)"""
    end = time.monotonic() + 20
    while time.monotonic() < end:
        with connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM pg_locks WHERE NOT granted AND pg_backend_pid() = ANY (pg_blocking_pids(pid))")
            if cursor.fetchone() != (0,):
                return
        time.sleep(0.02)
    raise AssertionError("nobody waits")


# ---- many at once, and deaths -----------------------------------------------------------------------------------------


def test_two_workers_that_store_two_images_of_one_exam_at_once_end_with_both_seeing_each_other(
    cast: Cast, toy: Toy, monkeypatch: pytest.MonkeyPatch
) -> None:
    comparing()
    images = arrive(cast.north, toy, PLAIN, FAINT)
    claims = services.claim("analyse", worker="w")
    together = threading.Barrier(2)
    triage = reviews.triage

    def and_wait(fresh: object) -> object:
        routed = triage(fresh)  # type: ignore[arg-type]
        together.wait(20)
        return routed

    monkeypatch.setattr(reviews, "triage", and_wait)

    def work(kind: str, claim: services.Claim) -> None:
        try:
            HANDLERS[kind].work([claim])
        finally:
            connection.close()

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda claim: work("analyse", claim), claims))
    assert [now(image).siblings for image in images] == [[], []], "neither could see the other"
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda claim: work("assess", claim), services.claim("assess", worker="w")))
    assert [now(image).siblings for image in images] == [[images[1].pk], [images[0].pk]]
    assert healthy()


def test_a_change_that_comes_while_its_work_is_in_hand_is_not_lost(cast: Cast, toy: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    """The job of the same image is claimed, so no second one can be queued: the change must wait for its end."""
    comparing()
    plain, pale, faint = settle_in(cast.north, toy, PLAIN, PALE, FAINT)
    services.enqueue(kind="assess", subject_id=faint.pk)
    looked, judge = threading.Event(), besides.beside

    def slowly(judged: object) -> object:
        found = judge(judged)  # type: ignore[arg-type]
        looked.set()
        assert not withdrawn.wait(1), "the change waits for the row"
        return found

    withdrawn = threading.Event()

    def leave() -> None:
        looked.wait(20)
        withdraw(image=faint, actor=cast.lena, reason="The patient asked for it.")
        withdrawn.set()
        connection.close()

    monkeypatch.setattr(reassessing, "beside", slowly)
    with ThreadPoolExecutor(1) as pool:
        left = pool.submit(leave)
        HANDLERS["assess"].work(services.claim("assess", worker="w"))
        left.result(20)
    monkeypatch.setattr(reassessing, "beside", judge)
    drain("assess")
    assert (now(plain).siblings, now(pale).siblings) == ([pale.pk], [plain.pk])
    assert healthy()


def test_an_image_that_changes_exam_between_look_and_lock_is_asked_about_again(
    cast: Cast, toy: Toy, monkeypatch: pytest.MonkeyPatch
) -> None:
    comparing()
    settle_in(cast.north, toy, PLAIN, PALE)
    (faint,) = settle_in(cast.north, toy, FAINT, patient=None)
    services.enqueue(kind="assess", subject_id=faint.pk)
    (claim,) = services.claim("assess", worker="w")
    tried: list[int] = []

    def moved(image_ids: list[int]) -> list[Assessment]:
        tried.append(1)
        if len(tried) == 1:
            raise reviews.Moved
        return reassess(image_ids)

    monkeypatch.setattr(reviews, "reassess", moved)
    HANDLERS["assess"].work([claim])
    assert Job.objects.get(kind="assess", subject_id=faint.pk).state == "queued"
    Image.objects.filter(pk=faint.pk).update(exam=Patient.objects.get().exams.get())
    drain("assess")
    assert len(now(faint).siblings) == 2


def test_a_worker_that_dies_with_the_work_in_hand_loses_nothing(cast: Cast, toy: Toy) -> None:
    comparing()
    (faint,) = settle_in(cast.north, toy, FAINT)
    arrive(cast.north, toy, PLAIN, PALE)
    drain("analyse")
    assert [name for name in violations() if name.startswith("analyses.assess")] == [], "it is queued"
    (claim,) = services.claim("assess", worker="dead")
    Job.objects.filter(pk=claim.job_id).update(lease_until=Now() - timedelta(seconds=1))
    tasks.sweep()
    drain("assess")
    assert now(faint).kind == "green_filter"
    HANDLERS["assess"].work([claim])
    assert Assessment.objects.filter(image=faint).count() == 2, "the late writer is refused"
    assert healthy()


def test_work_that_fails_for_good_leaves_the_images_as_they_are(cast: Cast, toy: Toy) -> None:
    comparing()
    (faint,) = settle_in(cast.north, toy, FAINT)
    services.enqueue(kind="assess", subject_id=faint.pk)
    (claim,) = services.claim("assess", worker="w")
    HANDLERS["assess"].give_up(claim, "Its worker died three times.")
    faint.refresh_from_db()
    assert (faint.state, Job.objects.get(kind="assess").state) == ("accepted", "failed")


@pytest.mark.parametrize("kind", ["analyse", "assess"])
def test_as_many_statements_for_a_large_exam_as_for_a_small_one(cast: Cast, toy: Toy, kind: str) -> None:
    comparing()
    counts = []
    for n, size in enumerate((2, 11)):
        settle_in(cast.north, toy, *[FAINT, UNSURE, STAINED] * size, exam=f"E{n}")
        arrive(cast.north, toy, PLAIN, looks(0.3, GREEN), exam=f"E{n}")
        if kind == "assess":
            drain("analyse")
        with CaptureQueriesContext(connection) as queries:
            HANDLERS[kind].work(services.claim(kind, worker="w"))
        counts.append(len(queries))
        drain()
    assert counts[0] == counts[1]


# ---- the invariants see what is wrong ---------------------------------------------------------------------------------


def _unseen(images: list[Image]) -> None:
    """A sibling comes in behind the portal's back."""
    make_analysis(make_image(images[0].site, state="accepted", version=now(images[0]).analysis.version), version=comparing("candidate"))


def _forgotten(images: list[Image]) -> None:
    Job.objects.filter(kind="assess").delete()
    Image.objects.filter(pk=images[0].pk).update(state="withdrawn")


def _beside(siblings: list[int], image: Image) -> None:
    before = now(image)
    Assessment.objects.filter(pk=before.pk).update(current=False)
    Assessment.objects.create(
        image=image, analysis=before.analysis, p_non_regular=0.1, kind="regular", route="auto_regular", siblings=siblings
    )


def _itself(images: list[Image]) -> None:
    _beside([images[0].pk, images[1].pk], images[0])


def _stranger(images: list[Image]) -> None:
    _beside([make_image(images[0].site, state="accepted", exam="E9").pk], images[0])


@pytest.mark.parametrize(
    ("fault", "name"),
    [
        (_unseen, "analyses.assessment_behind_its_exam"),
        (_forgotten, "analyses.assessment_behind_its_exam"),
        (_itself, "analyses.assessment_beside_itself"),
        (_stranger, "analyses.assessment_beside_another_exam"),
    ],
)
def test_a_planted_fault_is_found(cast: Cast, toy: Toy, fault: Callable[[list[Image]], None], name: str) -> None:
    comparing()
    images = settle_in(cast.north, toy, PLAIN, PALE)
    assert healthy()
    fault(images)
    assert name in violations()
    services.enqueue(kind="assess", subject_id=images[1].pk)
    assert name not in violations() or name == "analyses.assessment_beside_itself", "work is queued"
    drain("assess")
    assert name not in violations() or name == "analyses.assessment_beside_itself", "and heals it"


def test_a_bundle_that_is_gone_stops_neither_the_check_nor_the_rest_of_the_exam(cast: Cast, toy: Toy) -> None:
    version = comparing()
    plain, _ = settle_in(cast.north, toy, PLAIN, PALE)
    (Path(version.bundle_path) / "bundle.json").unlink()
    assert healthy()
    comparing()
    late, later = arrive(cast.north, toy, FAINT, PALE)
    HANDLERS["analyse"].work(services.claim("analyse", worker="w"))
    Job.objects.filter(kind="analyse", state="queued").update(not_before=Now() + timedelta(hours=1))
    drain("assess")
    assert set(Job.objects.filter(kind="assess").values_list("state", flat=True)) == {"done"}
    assert (now(plain).analysis.version, len(now(plain).siblings)) == (version, 1), "what nobody can say anew stands"
    assert (now(late).siblings, now(late).kind) == ([later.pk], "green_filter"), "and keeps nobody from saying what can be said"
