"""A run from its start to its candidate; cancelled, failed, killed and resumed. The recipe is a toy with the real interface."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from portal import ml
from portal.audit.models import AuditEvent
from portal.core.errors import BadInput, WrongState
from portal.datasets.models import Snapshot
from portal.jobs import pulse
from portal.jobs import services as jobs
from portal.jobs.models import Job
from portal.jobs.services import Claim, LostClaim
from portal.learning import evaluations
from portal.learning.evaluations import run_evaluation
from portal.learning.models import Evaluation, TrainingRun
from portal.learning.services import Choice, cancel_training, resume_training, run_training, start_training
from portal.ml import Cancelled, Progress, TrainConfig, TrainingRefused
from tests.cast import Cast, make_cast, make_snapshot, make_version
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


@pytest.fixture
def recipe(monkeypatch: pytest.MonkeyPatch) -> Recipe:
    made = Recipe()
    monkeypatch.setattr(ml, "train", made)
    monkeypatch.setattr(ml, "evaluate", lambda bundle, snapshot, *, split: report(split=split))
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
    done = {"training.start", "training.done", "model.register", "evaluation.ask", "evaluation.done"}
    assert done <= set(AuditEvent.objects.values_list("action", flat=True))


def test_it_starts_from_the_champion_unless_another_is_chosen(cast: Cast, recipe: Recipe, snapshot: Snapshot) -> None:
    other = make_version(name="other")
    _start(cast, snapshot, start=other, preset="default", seed=11, parts=("resnest",))
    run_training(_claim())
    config = recipe.configs[0]
    assert (config.start, config.preset, config.seed, config.parts) == (other.bundle_path, "default", 11, ("resnest",))


@pytest.mark.parametrize(
    ("choice", "message"),
    [({"preset": "huge"}, "presets"), ({"parts": ()}, "at least one part"), ({"parts": ("fusion",)}, "at least one part")],
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
