"""Pages of training: what would be trained on, start, live progress, cancel, go on."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from django import forms
from django.db.models import Q
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import path
from django.views.decorators.http import require_GET, require_POST

from portal.accounts import access
from portal.accounts.http import UserRequest
from portal.accounts.models import User
from portal.core.errors import BadInput, WrongState
from portal.core.text import counted, number
from portal.datasets.models import Snapshot, SnapshotState
from portal.learning import services
from portal.learning.models import Evaluation, RunState, TrainingRun
from portal.registry.models import ModelVersion, VersionState
from portal.web import tables

_LIVE = (RunState.QUEUED, RunState.RUNNING)
_PRESETS = [
    ("small", "small: minutes on a CPU"),
    ("default", "default: the full recipe, hours on a CPU, minutes on a GPU"),
    ("paper", "paper: the sizes of the paper, needs a GPU"),
]
_PARTS = [("resnest", "classifier (ResNeSt)"), ("deep_sad", "distance (Deep SAD)"), ("detector", "cervix detector (RetinaNet)")]


class TrainingForm(forms.Form):
    """What a person chooses for a run."""

    snapshot = forms.ModelChoiceField(Snapshot.objects.none(), empty_label="choose one")
    preset = forms.ChoiceField(choices=_PRESETS, initial="small", widget=forms.RadioSelect)
    parts = forms.MultipleChoiceField(
        choices=_PARTS,
        initial=["resnest", "deep_sad"],
        widget=forms.CheckboxSelectMultiple,
        label="Train anew",
        help_text="The rest is kept from the start model; thresholds are always fitted anew.",
    )
    start = forms.ModelChoiceField(ModelVersion.objects.none(), required=False, empty_label="the champion", label="Start from")
    seed = forms.IntegerField(initial=7, min_value=0, max_value=2**31 - 1, help_text="The same seed on the same data gives the same model.")
    name = forms.CharField(max_length=120, required=False, help_text="Left empty: named after the snapshot.")

    def __init__(self, user: User, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        frozen = access.visible(Snapshot, user).filter(state=SnapshotState.FROZEN).order_by("-id")
        self.fields["snapshot"].queryset = frozen  # type: ignore[attr-defined]
        self.fields["snapshot"].label_from_instance = _named  # type: ignore[attr-defined]
        self.fields["start"].queryset = access.visible(ModelVersion, user).order_by("-id")  # type: ignore[attr-defined]

    def choice(self) -> services.Choice:
        data = self.cleaned_data
        return services.Choice(preset=data["preset"], seed=data["seed"], parts=tuple(data["parts"]), start=data["start"])


def _named(snapshot: Snapshot) -> str:
    return (
        f"{snapshot.name} ({counted(snapshot.counts.get('images', 0), 'image')}, {counted(snapshot.counts.get('patients', 0), 'patient')})"
    )


@require_GET
def training_list(request: UserRequest) -> HttpResponse:
    """Runs, and the form for the next one. An htmx request for another snapshot gets what it would be trained on."""
    if request.headers.get("HX-Target") == "material":
        return render(request, "training/_material.html", _material(request.user, request.GET.get("snapshot", "")))
    newest = access.visible(Snapshot, request.user).filter(state=SnapshotState.FROZEN).order_by("-id").first()
    wanted = request.GET.get("snapshot") or (newest.pk if newest else "")
    form = TrainingForm(request.user, initial={"snapshot": wanted, "preset": "small", "parts": ["resnest", "deep_sad"], "seed": 7})
    return _page(request, form, str(wanted))


@require_POST
def training_new(request: UserRequest) -> HttpResponse:
    access.require(request.user, "train")
    form = TrainingForm(request.user, request.POST)
    if form.is_valid():
        try:
            data = form.cleaned_data
            made = services.start_training(snapshot=data["snapshot"], config=form.choice(), name=data["name"], actor=request.user)
            return redirect("run", run_id=made.pk)
        except (BadInput, WrongState) as error:
            form.add_error(None, error.message)
    return _page(request, form, request.POST.get("snapshot", ""), status=400)


def _page(request: UserRequest, form: TrainingForm, wanted: str, *, status: int = 200) -> HttpResponse:
    runs = access.visible(TrainingRun, request.user).select_related("snapshot", "started_by", "candidate").order_by("-id")[:100]
    shown = {"form": form, "runs": runs, "may_train": access.can(request.user, "train"), **_material(request.user, wanted)}
    return render(request, "training/list.html", shown, status=status)


def _material(user: User, wanted: str) -> dict[str, Any]:
    found = access.visible(Snapshot, user).filter(pk=number(wanted) or 0).first()
    if found is None:
        return {"material": None}
    return {"material": found, "tables": tables.composition(found.counts), "chart": tables.composition_chart(found.counts)}


@require_GET
def run(request: UserRequest, run_id: int) -> HttpResponse:
    return render(request, "training/run.html", _run(request.user, run_id))


@require_GET
def run_progress(request: UserRequest, run_id: int) -> HttpResponse:
    """The part of the page that changes; it polls itself while the run is alive."""
    return render(request, "training/_progress.html", _run(request.user, run_id))


def _run(user: User, run_id: int) -> dict[str, Any]:
    found = access.get_visible(TrainingRun, user, run_id)
    left = found.progress.get("seconds_left")
    reports = _reports(found)
    live = found.state in _LIVE
    return {
        "run": found,
        "live": live,
        "polls": live or any(report.state in _LIVE for report in reports),
        "can_go_on": found.state in (RunState.FAILED, RunState.CANCELLED),
        "left": _duration(left) if left is not None and found.state == RunState.RUNNING else "",
        "losses": _curves(found.history, "loss"),
        "scores": _curves(found.history, "score"),
        "may_train": access.can(user, "train"),
        "start": ModelVersion.objects.filter(pk=found.config.get("start")).first(),
        "reports": reports,
    }


def _reports(run: TrainingRun) -> list[Evaluation]:
    """Of the candidate and of the champion on the run's snapshot, without the long reports themselves."""
    if run.candidate_id is None:
        return []
    both = Q(version=run.candidate_id) | Q(version__state=VersionState.CHAMPION)
    return list(run.snapshot.evaluations.filter(both).select_related("version").defer("report").order_by("id"))


def _duration(seconds: float) -> str:
    minutes = round(seconds / 60)
    if seconds < 60:
        return f"{round(seconds)} s"
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60} min"


def _curves(history: Sequence[dict[str, Any]], figure: str) -> dict[str, Any] | None:
    """One curve a stage, over the share of the run that is done."""
    curves: dict[str, list[list[float]]] = defaultdict(list)
    for point in history:
        if point.get(figure) is not None:
            curves[point["stage"]].append([point["fraction"], point[figure]])
    if not curves:
        return None
    return {"type": "lines", "unit": figure, "series": [{"name": stage, "points": points} for stage, points in curves.items()]}


@require_POST
def run_cancel(request: UserRequest, run_id: int) -> HttpResponse:
    access.require(request.user, "train")
    services.cancel_training(run=access.get_visible(TrainingRun, request.user, run_id), actor=request.user)
    return redirect("run", run_id=run_id)


@require_POST
def run_resume(request: UserRequest, run_id: int) -> HttpResponse:
    access.require(request.user, "train")
    services.resume_training(run=access.get_visible(TrainingRun, request.user, run_id), actor=request.user)
    return redirect("run", run_id=run_id)


urls = [
    path("training/", training_list, name="training_list"),
    path("training/new/", training_new, name="training_new"),
    path("training/<int:run_id>/", run, name="run"),
    path("training/<int:run_id>/progress/", run_progress, name="run_progress"),
    path("training/<int:run_id>/cancel/", run_cancel, name="run_cancel"),
    path("training/<int:run_id>/resume/", run_resume, name="run_resume"),
]
