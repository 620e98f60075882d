"""Who becomes champion, on whose word, and what follows."""

from typing import Any

import pytest

from portal.accounts.models import Role
from portal.audit.models import AuditEvent
from portal.core.errors import BadInput, NotAllowed, WrongState
from portal.jobs.models import Job
from portal.learning import evaluations, lines
from portal.learning.models import TrainingRun
from portal.learning.promotions import approve_promotion, refuse_promotion, request_promotion, roll_back
from portal.registry.selectors import champion
from tests.cast import Cast, make_image, make_run, make_snapshot, make_user, make_version
from tests.portal.learning.conftest import Stage
from tests.portal.learning.reports import figure, report, with_figures


@pytest.fixture
def second(cast: Cast) -> Any:
    return make_user("mia", (Role.MODEL_ADMIN, None))


def _reported(stage: Stage, **figures: Any) -> None:
    stage.evaluate(stage.champion)
    stage.evaluate(stage.candidate, with_figures(report(), **figures))


def test_one_asks_a_second_approves_and_the_candidate_is_champion(cast: Cast, stage: Stage, second: Any) -> None:
    _reported(stage)
    request = request_promotion(version=stage.candidate, actor=cast.max)
    assert request.verdict["passed"]
    assert champion() == stage.champion
    approve_promotion(request=request, actor=second)
    assert champion() == stage.candidate
    request.refresh_from_db()
    assert (request.answer, request.answered_by) == ("approved", second)
    actions = AuditEvent.objects.filter(action__in=["promotion.ask", "promotion.approved", "model.promote"]).order_by("id")
    assert [(e.action, e.actor_id) for e in actions] == [
        ("promotion.ask", cast.max.pk), ("promotion.approved", second.pk), ("model.promote", second.pk),
    ]  # fmt: skip


def test_nobody_approves_what_he_asked_for(cast: Cast, stage: Stage) -> None:
    _reported(stage)
    request = request_promotion(version=stage.candidate, actor=cast.max)
    with pytest.raises(NotAllowed, match="second person"):
        approve_promotion(request=request, actor=cast.max)
    assert champion() == stage.champion


def test_a_single_administrator_may_where_the_installation_says_so(cast: Cast, stage: Stage, settings: Any) -> None:
    settings.SINGLE_ADMINISTRATOR = True
    _reported(stage)
    approve_promotion(request=request_promotion(version=stage.candidate, actor=cast.max), actor=cast.max)
    assert champion() == stage.candidate


def test_a_request_is_refused_or_taken_back(cast: Cast, stage: Stage, second: Any) -> None:
    _reported(stage)
    refuse_promotion(request=request_promotion(version=stage.candidate, actor=cast.max), actor=second, note="too few patients")
    refuse_promotion(request=request_promotion(version=stage.candidate, actor=cast.max), actor=cast.max)
    assert champion() == stage.champion
    assert AuditEvent.objects.filter(action="promotion.refused").count() == 2


def test_a_request_is_answered_once(cast: Cast, stage: Stage, second: Any) -> None:
    _reported(stage)
    request = request_promotion(version=stage.candidate, actor=cast.max)
    refuse_promotion(request=request, actor=second)
    with pytest.raises(WrongState, match="answer already"):
        approve_promotion(request=request, actor=second)


def test_a_promotion_is_asked_for_once_at_a_time(cast: Cast, stage: Stage, second: Any) -> None:
    _reported(stage)
    request_promotion(version=stage.candidate, actor=cast.max)
    with pytest.raises(WrongState, match="asked for already"):
        request_promotion(version=stage.candidate, actor=second)


def test_a_yes_to_a_comparison_with_an_earlier_champion_is_refused(cast: Cast, stage: Stage, second: Any) -> None:
    _reported(stage)
    request = request_promotion(version=stage.candidate, actor=cast.max)
    newer = make_version("champion", name="newer")
    with pytest.raises(WrongState, match="champion has changed"):
        approve_promotion(request=request, actor=second)
    assert champion() == newer


def test_without_reports_on_the_same_data_nothing_is_asked(cast: Cast, stage: Stage) -> None:
    with pytest.raises(WrongState, match="Evaluate both first"):
        request_promotion(version=stage.candidate, actor=cast.max)
    stage.evaluate(stage.candidate)
    with pytest.raises(WrongState, match="Evaluate both first"):
        request_promotion(version=stage.candidate, actor=cast.max)


def test_against_the_gate_it_takes_a_reason_in_words(cast: Cast, stage: Stage, second: Any) -> None:
    _reported(stage, sensitivity=figure(0.5))
    with pytest.raises(BadInput, match="gate says no"):
        request_promotion(version=stage.candidate, actor=cast.max)
    request = request_promotion(version=stage.candidate, actor=cast.max, note="a new device that the champion never saw")
    assert not request.verdict["passed"]
    assert AuditEvent.objects.get(action="promotion.ask").details["gate"] is False


def test_after_a_promotion_the_open_queue_is_judged_anew(cast: Cast, stage: Stage, second: Any) -> None:
    waiting = [make_image(cast.north, state="in_review", version=stage.champion) for _ in range(3)]
    judged = make_image(cast.north, state="in_review", version=stage.candidate)
    make_image(cast.north, state="settled", version=stage.champion)
    _reported(stage)
    approve_promotion(request=request_promotion(version=stage.candidate, actor=cast.max), actor=second)
    queued = set(Job.objects.filter(kind="analyse", state="queued").values_list("subject_id", flat=True))
    assert queued == {image.pk for image in waiting}
    assert judged.pk not in queued


def test_a_roll_back_takes_one_person_and_judges_the_queue_anew(cast: Cast, stage: Stage, second: Any) -> None:
    _reported(stage)
    approve_promotion(request=request_promotion(version=stage.candidate, actor=cast.max), actor=second)
    image = make_image(cast.north, state="in_review", version=stage.candidate)
    assert roll_back(actor=cast.max) == stage.champion == champion()
    assert Job.objects.filter(kind="analyse", subject_id=image.pk, state="queued").exists()
    assert AuditEvent.objects.get(action="model.roll_back").actor_id == cast.max.pk


def test_the_champion_is_not_asked_for(cast: Cast, stage: Stage) -> None:
    with pytest.raises(WrongState, match="champion already"):
        request_promotion(version=stage.champion, actor=cast.max)


def test_a_model_is_not_measured_on_patients_it_has_learned_from(cast: Cast) -> None:
    learned, held_out = make_snapshot(by=cast.max), make_snapshot(by=cast.max)
    image = make_image(cast.north, state="settled", patient="P-seen")
    label = image.labels.get(current=True)
    learned.items.create(image=image, label=label, split="validation")
    held_out.items.create(image=image, label=label, split="test")
    run = make_run(learned, state="done")
    parent, child = make_version(), make_version()
    TrainingRun.objects.filter(pk=run.pk).update(candidate=parent)
    grown = make_run(learned, state="done")
    TrainingRun.objects.filter(pk=grown.pk).update(candidate=child, config={"start": parent.pk}, snapshot=make_snapshot(by=cast.max))
    for version in (parent, child):
        assert lines.has_seen(version, held_out) >= 1
        with pytest.raises(WrongState, match="has learned from"):
            evaluations.ask(versions=[version], snapshot=held_out, actor=cast.max)
    assert lines.has_seen(make_version(), held_out) == 0
