"""An analysis becomes an automatic label or a question; what people said is never touched by a new model."""

from __future__ import annotations

import pytest

from portal.analyses.models import Analysis, Assessment
from portal.audit.models import AuditEvent
from portal.core.errors import BadInput, WrongState
from portal.images.models import Image
from portal.labels.models import Label, Provenance
from portal.reviews.models import ReviewTask
from portal.reviews.services import reopen, set_rules, triage
from tests.cast import Cast, make_analysis, make_image, make_version

pytestmark = pytest.mark.django_db


def analysed(cast: Cast, p: float, kind: str = "regular") -> tuple[Image, Analysis]:
    image = make_image(cast.north, state="analysed", p_non_regular=p, kind=kind)
    return image, Analysis.objects.get(image=image)


def again(image: Image, p: float, kind: str = "regular") -> Analysis:
    """A new bundle's word on the same image."""
    image.refresh_from_db()
    return make_analysis(image, version=make_version(), kind=kind, p_non_regular=p)


@pytest.mark.parametrize(("p", "kind"), [(0.02, "regular"), (0.97, "green_filter"), (0.97, "lugol_iodine")])
def test_a_clear_image_gets_an_automatic_label(cast: Cast, p: float, kind: str) -> None:
    image, analysis = analysed(cast, p, kind)
    triage([(image, analysis)])
    image.refresh_from_db()
    label = Label.objects.get(image=image)
    assert (image.state, label.kind, label.provenance) == ("accepted", kind, Provenance.AUTOMATIC)
    assert not ReviewTask.objects.exists()
    assert AuditEvent.objects.filter(action="label", actor_id=None, site_id=cast.north.pk).exists()


def test_an_unclear_image_becomes_a_question(cast: Cast) -> None:
    image, analysis = analysed(cast, 0.5)
    triage([(image, analysis)])
    image.refresh_from_db()
    task = ReviewTask.objects.get(image=image)
    assert (image.state, task.state, task.priority, task.reads_needed) == ("in_review", "open", 1.0, 1)
    assert task.reasons == ["between_thresholds"]
    assert not Label.objects.exists()


def test_a_sites_rule_makes_it_stricter_and_the_assessment_keeps_the_rule(cast: Cast) -> None:
    set_rules(site=None, reads_needed=1, t_lo=None, t_hi=None, actor=cast.max)
    row = set_rules(site=cast.north, reads_needed=2, t_lo=0.01, t_hi=None, actor=cast.max)
    image, analysis = analysed(cast, 0.02)
    triage([(image, analysis)])
    task = ReviewTask.objects.get(image=image)
    assert (task.reads_needed, task.reasons, task.rules_id) == (2, ["above_site_t_lo"], row.pk)
    kept = Assessment.objects.get(image=image, current=True).rule
    assert kept.items() >= {"reads_needed": 2, "t_lo": 0.01, "t_hi": None, "version": row.pk}.items()


def test_a_new_model_never_changes_what_people_settled(cast: Cast) -> None:
    image = make_image(cast.north, state="settled", kind="regular")
    triage([(image, again(image, 0.97, "green_filter"))])
    image.refresh_from_db()
    assert image.state == "settled"
    assert Label.objects.get(image=image, current=True).kind == "regular"
    assert not ReviewTask.objects.filter(image=image, state="open").exists()


@pytest.mark.parametrize(("p", "kind", "asks"), [(0.03, "regular", False), (0.5, "regular", True), (0.97, "green_filter", True)])
def test_a_new_model_may_question_what_was_accepted(cast: Cast, p: float, kind: str, asks: bool) -> None:
    image = make_image(cast.north, state="accepted", kind="regular")
    triage([(image, again(image, p, kind))])
    image.refresh_from_db()
    assert image.state == ("in_review" if asks else "accepted")
    assert ReviewTask.objects.filter(image=image, state="open").exists() is asks
    assert Label.objects.get(image=image, current=True).kind == "regular"


def test_a_new_model_moves_an_open_question_in_the_queue(cast: Cast) -> None:
    image = make_image(cast.north, state="in_review", p_non_regular=0.5)
    triage([(image, again(image, 0.3))])
    task = ReviewTask.objects.get(image=image)
    assert task.state == "open"
    assert task.priority == pytest.approx(0.6)


def test_a_settled_image_can_be_asked_about_again(cast: Cast) -> None:
    image = make_image(cast.north, state="settled", kind="regular")
    task = reopen(image=image, actor=cast.max, note="a doubt")
    image.refresh_from_db()
    assert (image.state, task.reasons) == ("in_review", ["reopened"])
    assert Label.objects.filter(image=image, current=True).exists()
    with pytest.raises(WrongState):
        reopen(image=image, actor=cast.max)


@pytest.mark.parametrize(("reads", "lo", "hi"), [(4, None, None), (0, None, None), (1, -0.1, None), (1, 0.9, 0.1)])
def test_a_rule_that_makes_no_sense_is_refused(cast: Cast, reads: int, lo: float | None, hi: float | None) -> None:
    with pytest.raises(BadInput):
        set_rules(site=None, reads_needed=reads, t_lo=lo, t_hi=hi, actor=cast.max)
