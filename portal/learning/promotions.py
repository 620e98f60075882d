"""Who becomes champion: one person asks, a second answers; and the way back. Afterwards the open queue is judged anew."""

from __future__ import annotations

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import Exists, OuterRef
from django.db.models.functions import Now

from portal.accounts.models import User
from portal.analyses.models import Assessment
from portal.audit.services import record
from portal.core.errors import BadInput, NotAllowed, WrongState
from portal.images.models import Image, ImageState
from portal.jobs import services as jobs
from portal.learning import selectors
from portal.learning.gate import Verdict
from portal.registry import selectors as registry_selectors
from portal.registry import services as registry
from portal.registry.models import ModelVersion, PromotionRequest, VersionState
from portal.reviews import earning

APPROVED, REFUSED = "approved", "refused"


@transaction.atomic
def request_promotion(*, version: ModelVersion, actor: User, note: str = "") -> PromotionRequest:
    """Ask that a version become champion. Needs the gate's verdict; against a 'no' it needs a reason in words."""
    if version.state == VersionState.CHAMPION:
        raise WrongState(f"{version} is the champion already.")
    verdict = _verdict(version)
    if not verdict.passed and len(note.strip()) < 10:
        raise BadInput("The gate says no. Say in a sentence why you ask for this promotion all the same.")
    try:
        with transaction.atomic():
            request = PromotionRequest.objects.create(
                version=version, requested_by=actor, verdict={**verdict.as_json(), "champion": _champion_hash()}, note=note.strip()
            )
    except IntegrityError:
        raise WrongState("This promotion is asked for already and waits for its answer.") from None
    record(
        actor_id=actor.pk, action="promotion.ask", subject=request, bundle_hash=version.bundle_hash, gate=verdict.passed, note=note[:300]
    )
    return request


def _verdict(version: ModelVersion) -> Verdict:
    newest_first = selectors.reported().filter(version=version).order_by("-id")
    verdict = next((found for evaluation in newest_first if (found := selectors.beside_champion(evaluation).verdict)), None)
    if verdict is None:
        raise WrongState("There is no report of this model and of the champion on the same snapshot yet. Evaluate both first.")
    return verdict


def _champion_hash() -> str:
    champion = registry_selectors.champion()
    return champion.bundle_hash if champion else ""


@transaction.atomic
def approve_promotion(*, request: PromotionRequest, actor: User, note: str = "") -> ModelVersion:
    """A second person says yes: the version is champion from the next upload on."""
    # before the comparison: two approvals at once would both find the champion they were judged against
    registry.hold_champion()
    open_request = _answer(request, actor, APPROVED, note)
    version = registry.promote(version=open_request.version, actor=actor)
    rescore_queue(version=version, actor=actor)
    return version


@transaction.atomic
def refuse_promotion(*, request: PromotionRequest, actor: User, note: str = "") -> PromotionRequest:
    """Says no, or, from who asked, takes the question back."""
    return _answer(request, actor, REFUSED, note)


def _answer(request: PromotionRequest, actor: User, answer: str, note: str) -> PromotionRequest:
    held = PromotionRequest.objects.select_for_update().select_related("version").get(pk=request.pk)
    if held.answer:
        raise WrongState("This request has its answer already. Reload the page.")
    if answer == APPROVED and held.requested_by_id == actor.pk and not settings.SINGLE_ADMINISTRATOR:
        raise NotAllowed("A second person must approve: ask another model administrator.")
    if answer == APPROVED and held.verdict.get("champion", "") != _champion_hash():
        raise WrongState("The champion has changed since this was asked for. Refuse it, compare again, and ask anew.")
    PromotionRequest.objects.filter(pk=held.pk).update(answered_by=actor, answer=answer, answered=Now(), answer_note=note.strip())
    record(actor_id=actor.pk, action=f"promotion.{answer}", subject=held, bundle_hash=held.version.bundle_hash, note=note[:300])
    return held


@transaction.atomic
def roll_back(*, actor: User) -> ModelVersion:
    """Return to the champion before this one, at once and by one person: the way back must be short."""
    version = registry.roll_back(actor=actor)
    rescore_queue(version=version, actor=actor)
    return version


def rescore_queue(*, version: ModelVersion, actor: User) -> int:
    """Have every image that waits for readers judged by this version, unless it was; and those by which sites earn what may pass."""
    by_it = Assessment.objects.filter(image=OuterRef("pk"), current=True, analysis__version=version)
    waiting = Image.objects.filter(state=ImageState.IN_REVIEW).exclude(Exists(by_it)).order_by("id").values_list("pk", flat=True)
    ids = sorted({*waiting, *earning.to_judge(version)})
    if ids:
        jobs.enqueue_many(kind="analyse", subject_ids=ids, actor_id=actor.pk)
    return len(ids)
