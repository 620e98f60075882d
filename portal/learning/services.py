"""Trainings: start, run, cancel, go on. Evaluations follow a training by themselves (evaluations.py)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models.functions import Now

from portal import ml
from portal.accounts.models import User
from portal.audit.services import record
from portal.core.errors import BadInput, WrongState
from portal.datasets.models import Snapshot, SnapshotState
from portal.jobs import services as jobs
from portal.jobs.models import Job, JobState
from portal.jobs.pulse import Pulse
from portal.jobs.services import Claim, LostClaim
from portal.learning import evaluations, lines
from portal.learning.models import RunState, TrainingRun
from portal.ml import Cancelled, Progress, TrainConfig, TrainingRefused
from portal.registry import selectors as registry_selectors
from portal.registry import services as registry
from portal.registry.models import ModelVersion
from portal.registry.plain import finite

PRESETS = ("small", "default", "paper")
HISTORY_LIMIT = 500


@dataclass(frozen=True, slots=True)
class Choice:
    """What a person chooses for a run.

    start: the version that untrained parts are kept from; None: the champion. weights: the version whose weights start the trained parts;
    None: the one at which the line of `start` began, so that trainings do not pile up on one another (METHODS 8). methods: by name, each
    for its part, which then begins anew.
    """

    preset: str = "small"
    seed: int = 7
    parts: tuple[str, ...] = ("resnest", "deep_sad")
    start: ModelVersion | None = None
    weights: ModelVersion | None = None
    methods: tuple[str, ...] = ()


@transaction.atomic
def start_training(*, snapshot: Snapshot, config: Choice, name: str, actor: User) -> TrainingRun:
    """Queue a training on a frozen snapshot."""
    if snapshot.state != SnapshotState.FROZEN:
        raise WrongState("This snapshot is not frozen yet. Wait until its folder is written.")
    _check(config)
    stored = _stored(config, config.start or registry_selectors.champion())
    for one in ModelVersion.objects.filter(pk__in=lines.taken_from(stored)).order_by("pk"):
        if known := lines.has_seen(one, snapshot):
            raise BadInput(
                f"{one} has learned from {known} of the patients that this snapshot tests on. Start from another model, "
                "or train on a snapshot that does not hold them out."
            )
    run = TrainingRun.objects.create(name=name.strip()[:120] or f"On {snapshot.name}", snapshot=snapshot, config=stored, started_by=actor)
    record(actor_id=actor.pk, action="training.start", subject=run, snapshot=snapshot.hash, config=stored)
    jobs.enqueue(kind="train", subject_id=run.pk, actor_id=actor.pk)
    return run


def _check(config: Choice) -> None:
    if config.preset not in PRESETS:
        raise BadInput(f"Choose one of the presets {', '.join(PRESETS)}.")
    if not config.parts or set(config.parts) - set(ml.PARTS):
        raise BadInput(f"Choose at least one part to train of {', '.join(ml.PARTS)}.")
    if config.start is None and registry_selectors.champion() is None and set(config.parts) != set(ml.PARTS):
        raise BadInput("There is no model to start from, so every part must be trained.")
    try:
        untrained = [title for part, title in map(ml.method_title, config.methods) if part not in config.parts]
        for name in config.methods:
            if name.startswith(ml.TIMM):
                ml.refuse_backbone(name.removeprefix(ml.TIMM))
    except TrainingRefused as error:
        raise BadInput(str(error)) from error
    if untrained:
        raise BadInput(f"{untrained[0]}: the part that this is a method of is not trained. Train it anew, or choose no method for it.")


def _stored(config: Choice, start: ModelVersion | None) -> dict[str, Any]:
    """The run's configuration as its row keeps it; `anew`: the trained parts that begin with a named network and with no start weights."""
    methods = tuple(f"{name}:{config.preset}" for name in config.methods)
    weights = config.weights or (lines.root_of(start) if start else None)
    anew = config.parts if weights is None else _anew(config, methods, weights)
    if config.weights and set(anew) == set(config.parts):
        raise BadInput("Nothing would begin with the start weights: method or preset name a network of its own for every trained part.")
    return {
        "preset": config.preset, "seed": config.seed, "parts": list(config.parts), "start": start.pk if start else None,
        "weights": weights.pk if weights and set(anew) != set(config.parts) else None, "methods": list(methods), "anew": list(anew),
    }  # fmt: skip


def _anew(config: Choice, methods: tuple[str, ...], weights: ModelVersion) -> tuple[str, ...]:
    return ml.begin_anew(TrainConfig(preset=config.preset, parts=config.parts, methods=methods, weights_from=weights.bundle_path))


@transaction.atomic
def cancel_training(*, run: TrainingRun, actor: User) -> None:
    """A waiting run ends at once; a running one is asked to stop and keeps its checkpoints."""
    job = Job.objects.filter(kind="train", subject_id=run.pk, state__in=jobs.LIVE).first()
    if job is None or run.state not in (RunState.QUEUED, RunState.RUNNING):
        raise WrongState("This run has ended already. Reload the page.")
    record(actor_id=actor.pk, action="training.cancel", subject=run)
    jobs.cancel(job=job, actor_id=actor.pk)
    job.refresh_from_db()
    if job.state == JobState.CANCELLED:
        TrainingRun.objects.filter(pk=run.pk).update(state=RunState.CANCELLED, finished=Now())


@transaction.atomic
def resume_training(*, run: TrainingRun, actor: User) -> None:
    """Go on with a cancelled or failed run from the checkpoints that it left."""
    job = Job.objects.filter(kind="train", subject_id=run.pk, state__in=[JobState.FAILED, JobState.CANCELLED]).order_by("-id").first()
    if job is None or run.state not in (RunState.FAILED, RunState.CANCELLED):
        raise WrongState("Only a cancelled or failed run can go on. Reload the page.")
    TrainingRun.objects.filter(pk=run.pk).update(state=RunState.QUEUED, error="", finished=None)
    record(actor_id=actor.pk, action="training.resume", subject=run)
    jobs.retry(job=job, actor_id=actor.pk)


# ---- in the train worker ----------------------------------------------------------------------------------------------


class _Diary:
    """Keeps the newest progress for the pulse to write down."""

    def __init__(self, run: TrainingRun) -> None:
        self._run, self._history, self._fresh = run.pk, list(run.history), False
        self._progress: dict[str, Any] = dict(run.progress)

    def note(self, progress: Progress) -> None:
        self._progress = finite(asdict(progress))
        if progress.figures and self._worth_a_point(progress):
            point = {"stage": progress.stage, "fraction": progress.fraction, **progress.figures}
            self._history = [*self._history, finite(point)][-HISTORY_LIMIT:]
        self._fresh = True

    def _worth_a_point(self, progress: Progress) -> bool:
        """Steps come by the thousand: of those between epochs only so many as the plot can show."""
        last = self._history[-1] if self._history else None
        return last is None or len(progress.figures) > 1 or abs(progress.fraction - last["fraction"]) >= 1 / HISTORY_LIMIT

    def write(self) -> None:
        if self._fresh:
            self._fresh = False
            TrainingRun.objects.filter(pk=self._run).update(progress=self._progress, history=self._history)


def run_training(claim: Claim) -> None:
    """Train, register the candidate, and ask for the reports. A killed run goes on from the checkpoints in its folder."""
    run = TrainingRun.objects.select_related("snapshot").get(pk=claim.subject_id)
    if not jobs.still_held([claim]):
        return
    TrainingRun.objects.filter(pk=run.pk, finished=None).update(state=RunState.RUNNING, error="")
    diary = _Diary(run)
    # The date as well: a number alone may come again with a fresh database over an old folder
    out = Path(settings.RUNS_DIR) / f"{run.pk}-{run.created:%Y%m%dT%H%M%S%f}"
    out.mkdir(parents=True, exist_ok=True)
    try:
        with Pulse(claim, diary.write) as pulse:
            bundle = ml.train(_config(run), Path(run.snapshot.folder), out, report=diary.note, cancelled=pulse.stopped)
    except Cancelled:
        _stop(claim, run)
        return
    except TrainingRefused as error:
        with transaction.atomic():
            jobs.fail(claim, str(error))
            training_failed(claim, str(error))
        return
    diary.write()
    _succeed(claim, run, bundle)


def _config(run: TrainingRun) -> TrainConfig:
    """Runs of before there was a choice of weights and methods go on as they began: from the start model, with nothing anew."""
    stored = run.config
    start, weights = (ModelVersion.objects.filter(pk=stored.get(name)).first() for name in ("start", "weights"))
    return TrainConfig(
        preset=stored["preset"], seed=stored["seed"], device=settings.DEVICE, threads=settings.TORCH_THREADS,
        start=start.bundle_path if start else None, parts=tuple(stored["parts"]), name=run.name,
        methods=tuple(stored.get("methods", ())), weights_from=weights.bundle_path if weights else None,
        anew=tuple(stored.get("anew", ())),
    )  # fmt: skip


@transaction.atomic
def _succeed(claim: Claim, run: TrainingRun, bundle: Path) -> None:
    actor = run.started_by
    jobs.complete(claim)
    version = registry.register(bundle=bundle, actor=actor, run_id=run.pk)
    # The same seed on the same data may give the very bundle of another run: that run keeps it
    known = TrainingRun.objects.filter(candidate=version).exclude(pk=run.pk).exists()
    values = {"error": f"The bundle is the same as an earlier run's: {version}."} if known else {"candidate": version}
    TrainingRun.objects.filter(pk=run.pk).update(state=RunState.DONE, finished=Now(), **values)
    record(actor_id=claim.actor_id, action="training.done", subject=run, bundle_hash=version.bundle_hash)
    evaluations.ask(versions=_independent(run, version), snapshot=run.snapshot, actor=actor)


def _independent(run: TrainingRun, version: ModelVersion) -> Sequence[ModelVersion]:
    """The candidate and the champion, but for one that has seen a test patient: no report of it may be asked for."""
    champion = registry_selectors.champion()
    both = [version] if champion is None or champion.pk == version.pk else [version, champion]
    return [one for one in both if not lines.has_seen(one, run.snapshot)]


@transaction.atomic
def _stop(claim: Claim, run: TrainingRun) -> None:
    """The work has stopped: on a person's word, or because another attempt holds it now (then LostClaim)."""
    if not Job.objects.filter(pk=claim.job_id, cancel_requested=True).exists():
        raise LostClaim(f"job {claim.job_id}, attempt {claim.attempt}")
    jobs.stop(claim)
    TrainingRun.objects.filter(pk=run.pk).update(state=RunState.CANCELLED, finished=Now())
    record(actor_id=claim.actor_id, action="training.cancelled", subject=run)


@transaction.atomic
def training_failed(claim: Claim, error: str) -> None:
    """Say on the run that its job has failed for good. The caller ends the job in the same transaction."""
    TrainingRun.objects.filter(pk=claim.subject_id).update(state=RunState.FAILED, error=error, finished=Now())
    record(actor_id=claim.actor_id, action="training.failed", subject=TrainingRun.objects.get(pk=claim.subject_id), error=error[:300])


def training_cancelled(claim: Claim) -> None:
    """Say on the run that its job was cancelled while no worker held it."""
    live = TrainingRun.objects.filter(pk=claim.subject_id, state__in=[RunState.QUEUED, RunState.RUNNING])
    if live.update(state=RunState.CANCELLED, finished=Now()):
        record(
            actor_id=claim.actor_id, action="training.cancelled", subject=TrainingRun.objects.get(pk=claim.subject_id), after="cancelled"
        )
