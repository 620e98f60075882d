"""A run from its start to its candidate; cancelled, failed, killed and resumed. The recipe is a toy with the real interface."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings

from portal import ml
from portal.audit.models import AuditEvent
from portal.core.errors import BadInput, WrongState
from portal.datasets.models import Snapshot
from portal.jobs import pulse
from portal.jobs import services as jobs
from portal.jobs.models import Job
from portal.jobs.services import Claim, LostClaim
from portal.learning import evaluations, lines
from portal.learning.evaluations import run_evaluation
from portal.learning.models import Evaluation, TrainingRun
from portal.learning.services import Choice, cancel_training, resume_training, run_training, start_training
from portal.ml import Cancelled, EvaluationReport, Progress, TrainConfig, TrainingRefused
from portal.registry import selectors as registry
from portal.registry.models import ModelVersion
from tests.cast import Cast, make_cast, make_image, make_run, make_snapshot, make_version
from tests.portal.learning.reports import report
from tests.portal.registry.toys import write_bundle

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def cast(transactional_db: None) -> Cast:
    return make_cast()


class Recipe:
    """`ml.train` with a checkpoint after each of three epochs; `during` is called in every epoch."""

    def __init__(self) -> None:
        self.epochs: list[int] = []
        self.configs: list[TrainConfig] = []
        self.served: list[tuple[str, int, bool]] = []
        self.during: Callable[[int], None] = lambda epoch: None

    def __call__(self, config: TrainConfig, snapshot: Path, out: Path, *, report: Any, cancelled: Callable[[], bool]) -> Path:
        self.configs.append(config)
        assert (snapshot / "snapshot.json").is_file()
        checkpoint = out / "checkpoint.json"
        done = json.loads(checkpoint.read_text()) if checkpoint.exists() else 0
        for epoch in range(done + 1, 4):
            report(Progress("resnest", epoch / 3, 10.0, f"epoch {epoch} of 3", {"loss": 1 / epoch, "score": epoch / 4}))
            self.during(epoch)
            if cancelled():
                raise Cancelled
            self.epochs.append(epoch)
            checkpoint.write_text(json.dumps(epoch))
        bundle = out / "bundle"
        return bundle if bundle.is_dir() else write_bundle(bundle, name=config.name, weights=str(out).encode())

    def evaluate(
        self, bundle: Path, snapshot: Path, *, split: str, device: str, threads: int, known_devices_only: bool
    ) -> EvaluationReport:
        self.served.append((device, threads, known_devices_only))
        return report(split=split)


@pytest.fixture
def recipe(monkeypatch: pytest.MonkeyPatch) -> Recipe:
    made = Recipe()
    monkeypatch.setattr(ml, "train", made)
    monkeypatch.setattr(ml, "evaluate", made.evaluate)
    monkeypatch.setattr(pulse, "INTERVAL", 0.05)
    return made


@pytest.fixture
def snapshot(cast: Cast) -> Snapshot:
    make_version("champion", name="champion")
    return make_snapshot()


def _start(cast: Cast, snapshot: Snapshot, **choice: Any) -> TrainingRun:
    return start_training(snapshot=snapshot, config=Choice(**choice), name="night run", actor=cast.max)


def _claim(kind: str = "train") -> Claim:
    return jobs.claim(kind, worker="test")[0]


def test_a_run_ends_with_a_candidate_and_asks_for_both_reports(cast: Cast, recipe: Recipe, snapshot: Snapshot) -> None:
    run = _start(cast, snapshot)
    run_training(_claim())
    run.refresh_from_db()
    assert (run.state, recipe.epochs) == ("done", [1, 2, 3])
    assert run.candidate is not None
    assert run.candidate.state == "candidate"
    assert run.progress["message"] == "epoch 3 of 3"
    assert [point["score"] for point in run.history] == [0.25, 0.5, 0.75]
    asked = Evaluation.objects.filter(snapshot=snapshot)
    assert {evaluation.version.name for evaluation in asked} == {"night run", "champion"}
    while claimed := jobs.claim("evaluate", worker="test"):
        run_evaluation(claimed[0])
    assert {evaluation.state for evaluation in asked.all()} == {"done"}
    assert asked.all()[0].report["figures"]["sensitivity"]["value"] == 0.9
    # As the portal analyses, since the report tells what an image took
    assert recipe.served == [(settings.DEVICE, settings.TORCH_THREADS, settings.REVIEW_UNCALIBRATED)] * 2
    done = {"training.start", "training.done", "model.register", "evaluation.ask", "evaluation.done"}
    assert done <= set(AuditEvent.objects.values_list("action", flat=True))


def test_it_starts_from_the_champion_unless_another_is_chosen(cast: Cast, recipe: Recipe, snapshot: Snapshot) -> None:
    other, champion = make_version(name="other"), registry.champion()
    assert champion is not None
    _start(cast, snapshot)
    run_training(_claim())
    _start(cast, snapshot, start=other, preset="default", seed=11, parts=("resnest",))
    run_training(_claim())
    usual, config = recipe.configs
    assert (usual.start, usual.weights_from, usual.methods, usual.anew) == (champion.bundle_path, champion.bundle_path, (), ())
    assert (config.start, config.preset, config.seed, config.parts) == (other.bundle_path, "default", 11, ("resnest",))
    assert config.weights_from == other.bundle_path


def test_trainings_do_not_pile_up_on_one_another(cast: Cast, recipe: Recipe, snapshot: Snapshot) -> None:
    """Promoted after promoted: what is trained begins where the line began, what is not is the last champion's."""
    root = registry.champion()
    assert root is not None
    for _ in range(2):
        run = _start(cast, snapshot)
        run_training(_claim())
        run.refresh_from_db()
        _make_champion(run.candidate)
    _start(cast, snapshot)
    run_training(_claim())
    assert [config.weights_from for config in recipe.configs] == [root.bundle_path] * 3
    last = recipe.configs[-1]
    assert run.candidate is not None
    assert last.start == run.candidate.bundle_path
    chosen = _start(cast, snapshot, weights=run.candidate)
    assert chosen.config["weights"] == run.candidate_id


def test_the_root_is_found_through_runs_of_before_there_were_start_weights(cast: Cast, recipe: Recipe, snapshot: Snapshot) -> None:
    root, made = registry.champion(), make_version(name="made")
    assert root is not None
    old = make_run(snapshot, state="done")
    TrainingRun.objects.filter(pk=old.pk).update(candidate=made, config={**old.config, "start": root.pk})
    _make_champion(made)
    assert _start(cast, snapshot).config["weights"] == root.pk
    # A line that began with random weights has no model to begin with
    TrainingRun.objects.filter(pk=old.pk).update(config={**old.config, "start": None})
    stored = _start(cast, snapshot).config
    assert (stored["start"], stored["weights"], stored["anew"]) == (made.pk, None, ["resnest", "deep_sad"])


def _make_champion(version: ModelVersion | None) -> None:
    assert version is not None
    ModelVersion.objects.filter(state="champion").update(state="retired")
    ModelVersion.objects.filter(pk=version.pk).update(state="champion")


def test_the_papers_networks_and_methods_take_no_start_weights(cast: Cast, recipe: Recipe, snapshot: Snapshot) -> None:
    paper = _start(cast, snapshot, preset="paper")
    run_training(_claim())
    some = _start(cast, snapshot, parts=("resnest", "deep_sad"), methods=("deep_svdd",))
    run_training(_claim())
    champion = registry.champion()
    assert champion is not None
    assert (paper.config["weights"], paper.config["anew"]) == (None, ["resnest", "deep_sad"])
    assert (recipe.configs[0].start, recipe.configs[0].weights_from) == (champion.bundle_path, None)
    assert ml.begin_anew(recipe.configs[0]) == ("resnest", "deep_sad")
    assert (some.config["methods"], some.config["anew"], some.config["weights"]) == (["deep_svdd:small"], ["deep_sad"], champion.pk)
    assert recipe.configs[1].methods == ("deep_svdd:small",)
    assert ml.begin_anew(recipe.configs[1]) == ("deep_sad",)
    assert AuditEvent.objects.filter(action="training.start").latest("id").details["config"] == some.config


def test_a_run_of_before_there_was_a_choice_goes_on_as_it_began(cast: Cast, recipe: Recipe, snapshot: Snapshot) -> None:
    run, champion = _start(cast, snapshot, preset="paper"), registry.champion()
    assert champion is not None
    TrainingRun.objects.filter(pk=run.pk).update(config={"preset": "paper", "seed": 7, "parts": ["resnest"], "start": champion.pk})
    run_training(_claim())
    config = recipe.configs[0]
    assert (config.start, config.weights_from, config.methods) == (champion.bundle_path, None, ())
    assert ml.begin_anew(config) == ()


def test_patients_that_either_model_has_learned_from_are_not_tested_on(cast: Cast, recipe: Recipe, snapshot: Snapshot) -> None:
    image = make_image(cast.north, state="settled", patient="P-seen")
    label, learned = image.labels.get(current=True), make_snapshot(by=cast.max)
    learned.items.create(image=image, label=label, split="train")
    knows, run = make_version(name="knows"), make_run(learned, state="done")
    TrainingRun.objects.filter(pk=run.pk).update(candidate=knows)
    snapshot.items.create(image=image, label=label, split="test")
    for choice in ({"start": knows, "weights": registry.champion()}, {"weights": knows}):
        with pytest.raises(BadInput, match=r"knows .* has learned from 1 of the patients"):
            _start(cast, snapshot, **choice)
    # Nothing of it is in a model all of whose parts begin anew, and nothing is kept from it where all are trained
    _start(cast, snapshot, start=knows, preset="paper", parts=ml.PARTS)
    run_training(_claim())
    assert TrainingRun.objects.latest("id").state == "done"
    child, later = make_version(name="child"), make_run(make_snapshot(by=cast.max), state="done")
    config = {"start": registry.champion().pk, "weights": knows.pk, "parts": ["resnest"], "anew": []}  # type: ignore[union-attr]
    TrainingRun.objects.filter(pk=later.pk).update(candidate=child, config=config)
    assert lines.has_seen(child, snapshot) == 1
    TrainingRun.objects.filter(pk=later.pk).update(config={**config, "anew": ["resnest"]})
    assert lines.has_seen(child, snapshot) == 0


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ({"preset": "huge"}, "presets"),
        ({"parts": ()}, "at least one part"),
        ({"parts": ("fusion",)}, "at least one part"),
        ({"methods": ("deep_sadd",)}, "There is no method 'deep_sadd'"),
        ({"methods": ("timm:resnest99x",)}, "timm knows no backbone 'resnest99x'"),
        ({"parts": ("resnest",), "methods": ("deep_svdd",)}, "is not trained"),
        ({"methods": ("deep_sad_224",)}, "is not trained"),
    ],
)
def test_what_cannot_be_trained_is_refused_before_it_is_queued(cast: Cast, snapshot: Snapshot, choice: Any, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        _start(cast, snapshot, **choice)
    assert not Job.objects.exists()


def test_an_unfinished_snapshot_is_not_trained_on(cast: Cast, snapshot: Snapshot) -> None:
    Snapshot.objects.update(state="writing")
    snapshot.refresh_from_db()
    with pytest.raises(WrongState, match="not frozen yet"):
        _start(cast, snapshot)


def test_a_waiting_run_is_cancelled_at_once(cast: Cast, recipe: Recipe, snapshot: Snapshot) -> None:
    run = _start(cast, snapshot)
    cancel_training(run=run, actor=cast.max)
    run.refresh_from_db()
    assert run.state == "cancelled"
    assert jobs.claim("train", worker="test") == []


def test_a_running_one_stops_and_goes_on_later_from_its_checkpoint(cast: Cast, recipe: Recipe, snapshot: Snapshot) -> None:
    run = _start(cast, snapshot)

    def cancel_in_the_second(epoch: int) -> None:
        if epoch == 2:
            run.refresh_from_db()
            cancel_training(run=run, actor=cast.max)
            _wait_for_a_beat()

    recipe.during = cancel_in_the_second
    run_training(_claim())
    run.refresh_from_db()
    assert (run.state, recipe.epochs) == ("cancelled", [1])
    assert Job.objects.get(kind="train").state == "cancelled"
    recipe.during = lambda epoch: None
    resume_training(run=run, actor=cast.max)
    run_training(_claim())
    run.refresh_from_db()
    assert (run.state, recipe.epochs) == ("done", [1, 2, 3])


def _wait_for_a_beat() -> None:
    time.sleep(0.5)


def test_a_run_that_ended_is_neither_cancelled_nor_resumed(cast: Cast, recipe: Recipe, snapshot: Snapshot) -> None:
    run = _start(cast, snapshot)
    run_training(_claim())
    run.refresh_from_db()
    with pytest.raises(WrongState, match="ended already"):
        cancel_training(run=run, actor=cast.max)
    with pytest.raises(WrongState, match="Only a cancelled or failed"):
        resume_training(run=run, actor=cast.max)


def test_refused_data_fails_the_run_with_the_reason(cast: Cast, recipe: Recipe, snapshot: Snapshot) -> None:
    run = _start(cast, snapshot)

    def refuse(epoch: int) -> None:
        raise TrainingRefused("The train split holds no green filter. Settle some first.")

    recipe.during = refuse
    run_training(_claim())
    run.refresh_from_db()
    assert (run.state, run.error) == ("failed", "The train split holds no green filter. Settle some first.")
    assert Job.objects.get(kind="train").state == "failed"
    recipe.during = lambda epoch: None
    resume_training(run=run, actor=cast.max)
    run_training(_claim())
    run.refresh_from_db()
    assert (run.state, run.error) == ("done", "")


class _Killed(BaseException):
    """As a kill -9: nothing catches it."""


def test_a_killed_run_goes_on_where_it_stopped(cast: Cast, recipe: Recipe, snapshot: Snapshot) -> None:
    run = _start(cast, snapshot)

    def die_in_the_third(epoch: int) -> None:
        if epoch == 3:
            _wait_for_a_beat()
            raise _Killed

    recipe.during = die_in_the_third
    with pytest.raises(_Killed):
        run_training(_claim())
    _let_another_worker_claim()
    recipe.during = lambda epoch: None
    run_training(_claim())
    run.refresh_from_db()
    assert (run.state, recipe.epochs) == ("done", [1, 2, 3])
    assert [point["score"] for point in run.history] == [0.25, 0.5, 0.75, 0.75]


def test_killed_between_bundle_and_commit_it_registers_once(
    cast: Cast, recipe: Recipe, snapshot: Snapshot, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = _start(cast, snapshot)

    def die(**_: Any) -> None:
        raise _Killed

    with monkeypatch.context() as patched:
        patched.setattr(evaluations, "ask", die)
        with pytest.raises(_Killed):
            run_training(_claim())
    run.refresh_from_db()
    assert (run.state, run.candidate) == ("running", None)
    _let_another_worker_claim()
    run_training(_claim())
    run.refresh_from_db()
    assert run.candidate is not None
    assert AuditEvent.objects.filter(action="model.register").count() == 1


def test_a_late_worker_is_refused(cast: Cast, recipe: Recipe, snapshot: Snapshot) -> None:
    run = _start(cast, snapshot)
    late = _claim()

    def lose(epoch: int) -> None:
        if epoch == 1:
            _let_another_worker_claim()
            _claim()
            _wait_for_a_beat()

    recipe.during = lose
    with pytest.raises(LostClaim):
        run_training(late)
    run.refresh_from_db()
    assert run.candidate is None


def _let_another_worker_claim() -> None:
    """As the sweep does after a lease has run out."""
    Job.objects.filter(kind="train", state="claimed").update(state="queued", lease_until=None)
