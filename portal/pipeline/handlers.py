"""Which function does which kind of work, and what becomes of the subject when its job fails for good."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

from django.conf import settings

from portal import ml
from portal.analyses import selectors as analyses_selectors
from portal.analyses import services as analyses
from portal.audit import services as audit
from portal.datasets import closure
from portal.datasets import services as datasets
from portal.erasure import work as erasure
from portal.images import applying, archives, checking, comparing, dropping, kept, quarantine
from portal.images import services as images
from portal.images.models import Image, ImageState
from portal.images.storage import clean_path
from portal.jobs import services as jobs
from portal.jobs.batches import finish_many
from portal.jobs.kinds import KINDS
from portal.jobs.services import Claim
from portal.learning import evaluations
from portal.learning import services as learning
from portal.pipeline.runner import Handler
from portal.registry import selectors as registry
from portal.registry import services as registry_services
from portal.registry.models import ModelVersion
from portal.reviews import services as reviews
from portal.reviews.quality import measuring

log = logging.getLogger(__name__)
_SECONDS_WITHOUT_MODEL = 30
_THREADS = max(1, settings.TORCH_THREADS // KINDS["analyse"].lanes)
"""Of each lane, where one picture is asked about at a time. Batches are judged side by side, one thread each, so there each lane may use
all: a lane that is alone leaves no core idle, and two do not wait for one another."""


def analyse(claims: list[Claim]) -> None:
    """Ask the champion about all these images at once; write its answers, and what triage makes of them."""
    champion = registry.champion()
    if champion is None:
        log.warning("No model is champion: %s images wait. Register and promote one.", len(claims))
        jobs.release(claims, delay=_SECONDS_WITHOUT_MODEL)
        return
    known = analyses_selectors.to_analyse([claim.subject_id for claim in claims])
    for claim in claims:
        if claim.subject_id not in known:
            jobs.finish(claim, lambda: None)
    asked = [(claim, known[claim.subject_id]) for claim in claims if claim.subject_id in known]
    asked = _without_text(asked)
    answers = _ask(champion, [image for _, image in asked])
    if answers is None:
        jobs.release([claim for claim, _ in asked], delay=_SECONDS_WITHOUT_MODEL)
        return
    said: dict[Claim, analyses.Answer] = {}
    for (claim, image), answer in zip(asked, answers, strict=True):
        if isinstance(answer, ml.Unreadable):
            _unreadable(claim, image, answer)
        else:
            said[claim] = analyses.Answer(image, answer, claim.actor_id)
    _finish(said, champion)


def _without_text(asked: Sequence[tuple[Claim, Image]]) -> list[tuple[Claim, Image]]:
    """Those in which nothing is written, or where it may be; the others are set aside for their own site, and their work ends here."""
    fresh = quarantine.unchecked([image for _, image in asked])
    if not fresh:
        return list(asked)
    said = ml.find_text([_picture(image) for image in fresh], device=settings.DEVICE, threads=_THREADS)
    quarantined = quarantine.keep({image.pk: boxes for image, boxes in zip(fresh, said, strict=True) if boxes is not None})
    for claim, image in asked:
        if image.pk in quarantined:
            jobs.finish(claim, lambda: None)
    going_on = [(claim, image) for claim, image in asked if image.pk not in quarantined]
    now = Image.objects.in_bulk([image.pk for _, image in going_on])
    return [(claim, now[image.pk]) for claim, image in going_on]


def _picture(image: Image) -> Path:
    return kept.local(clean_path(image.site_id, image.clean_sha256, image.clean_format))


def _unreadable(claim: Claim, image: Image, answer: ml.Unreadable) -> None:
    """A picture that is not there is the store's trouble and waits; one that cannot be read fails."""
    if answer.code == "missing":
        log.error("The clean picture of image %s cannot be opened: %s", image.pk, answer.message)
        jobs.release([claim], delay=_SECONDS_WITHOUT_MODEL)
    else:
        jobs.finish(claim, partial(image_failed, claim, answer.message), end=partial(jobs.fail, error=answer.message))


def _ask(champion: ModelVersion, images: list[Image]) -> list[ml.Analysis | ml.Unreadable] | None:
    """The champion's answers in order; None where its own files do not hold, which is no image's fault."""
    bundle = Path(champion.bundle_path)
    paths = [_picture(image) for image in images]
    try:
        return ml.analyse(paths, bundle, device=settings.DEVICE, threads=settings.TORCH_THREADS) if paths else []
    except Exception:
        if _holds(bundle):
            raise
        log.exception("The champion %s cannot be opened: images wait. Restore its folder, or roll back.", champion)
        return None


def _holds(bundle: Path) -> bool:
    try:
        ml.describe_bundle(bundle)
    except (ValueError, OSError, KeyError):
        return False
    return True


class _Dethroned(Exception):
    """Another model became champion while this one worked: its word is not written, the image is asked about again."""


def _finish(said: Mapping[Claim, analyses.Answer], champion: ModelVersion) -> None:
    """All answers of the batch in one transaction, each guarded by its own claim."""

    def write(held: Sequence[Claim]) -> None:
        if not registry_services.is_still_champion(champion):
            raise _Dethroned
        answers = [said[claim] for claim in held]
        recorded = analyses.record(version=champion, answers=answers)
        pairs = [(answer.image, analysis) for answer, analysis in zip(answers, recorded, strict=True)]
        reviews.triage([pair for pair in pairs if pair[0].state in analyses_selectors.ANALYSABLE])

    try:
        finish_many(list(said), write)
    except _Dethroned:
        jobs.release(said)


def assess(claims: list[Claim]) -> None:
    """Judge anew what stands beside these images in their exams; written in one transaction, each job guarded by its own claim."""
    try:
        finish_many(claims, lambda held: reviews.reassess([claim.subject_id for claim in held]))
    except reviews.Moved:
        jobs.release(claims)


def compare(claims: list[Claim]) -> None:
    """Find what shows the same photograph as these images: at their own site for its people, and elsewhere for the splits alone."""
    comparing.look_again([claim.subject_id for claim in claims])

    def write(held: Sequence[Claim]) -> None:
        ids = [claim.subject_id for claim in held]
        comparing.compare(ids)
        closure.link(ids)

    finish_many(claims, write)


def walk_chain(claim: Claim) -> None:
    """Is the audit trail what was sealed? What the walk finds is written with the job's end."""
    jobs.finish(claim, audit.check)


def measure_readers(claim: Claim) -> None:
    """How well does everybody read by now? Takes seconds, for which the beat's own worker must not stand still."""
    jobs.finish(claim, measuring.measure_when_due)


def image_failed(claim: Claim, reason: str) -> None:
    """An image that has no analysis yet fails with its job; one that has keeps its state. The caller ends the job."""
    failed = Image.objects.filter(pk=claim.subject_id, state=ImageState.CLEAN).update(state=ImageState.FAILED, state_reason=reason[:300])
    if failed:
        image = Image.objects.get(pk=claim.subject_id)
        audit.record(actor_id=claim.actor_id, action="image.failed", subject=image, site_id=image.site_id, reason=reason[:300])


def _each(work: Callable[[Claim], None]) -> Callable[[list[Claim]], None]:
    def do(claims: list[Claim]) -> None:
        for claim in claims:
            work(claim)

    return do


def _and_fail(write: Callable[[Claim, str], None]) -> Callable[[Claim, str], None]:
    def give_up(claim: Claim, reason: str) -> None:
        write(claim, reason)
        jobs.fail(claim, reason)

    return give_up


HANDLERS = {
    "apply_table": Handler(_each(applying.apply_claimed), applying.give_up),
    "unpack": Handler(archives.unpack_claimed, archives.give_up),
    "sanitise": Handler(images.sanitise_claimed, images.give_up),
    "analyse": Handler(analyse, _and_fail(image_failed)),
    "assess": Handler(assess, jobs.fail),
    "compare": Handler(compare, jobs.fail),
    "drop": Handler(_each(dropping.drop), jobs.fail),
    "erase": Handler(_each(erasure.erase), erasure.give_up),
    "verify": Handler(_each(checking.go_on), checking.give_up),
    "walk_chain": Handler(_each(walk_chain), jobs.fail),
    "measure_readers": Handler(_each(measure_readers), jobs.fail),
    "freeze": Handler(_each(datasets.write_snapshot), _and_fail(datasets.snapshot_failed)),
    "train": Handler(_each(learning.run_training), _and_fail(learning.training_failed), learning.training_cancelled),
    "evaluate": Handler(_each(evaluations.run_evaluation), _and_fail(evaluations.evaluation_failed)),
}
