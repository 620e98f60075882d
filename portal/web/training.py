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

from portal import ml
from portal.accounts import access
from portal.accounts.http import UserRequest
from portal.accounts.models import User
from portal.core.errors import BadInput, WrongState
from portal.core.text import counted, number
from portal.datasets.models import Snapshot, SnapshotState
from portal.learning import lines, services
from portal.learning.models import Evaluation, RunState, TrainingRun
from portal.ml import TrainingRefused
from portal.registry import selectors as registry
from portal.registry.models import ModelVersion, VersionState
from portal.web import tables

_LIVE = (RunState.QUEUED, RunState.RUNNING)
_PRESETS = [
    ("small", "small: minutes on a CPU"),
    ("default", "default: the full recipe, hours on a CPU, minutes on a GPU"),
    ("paper", "paper: the networks of the paper, from random weights, needs a GPU"),
]
_AS_PRESET = "as the preset has it"
_PARTS = [("resnest", "classifier (ResNeSt)"), ("deep_sad", "distance (Deep SAD)"), ("detector", "cervix detector (RetinaNet)")]
_METHOD_FIELDS = [("resnest", "resnest"), ("resnest", "timm"), ("deep_sad", "deep_sad"), ("detector", "detector")]
"""(part, field that names a method of it)."""


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
    weights = forms.ModelChoiceField(
        ModelVersion.objects.none(),
        required=False,
        empty_label="the first of its line",
        label="Start weights",
        help_text="What is trained anew begins with the weights and the network of this model. The first of the line was made by no "
        "training here: so trainings do not pile up on one another. A network that was chosen by a method has to be chosen again.",
    )
    resnest = forms.ChoiceField(required=False, label="Method of the classifier")
    timm = forms.CharField(
        max_length=80,
        required=False,
        label="Or a timm backbone",
        help_text="Any that timm knows, such as resnet18; then leave the method of the classifier as it is.",
    )
    deep_sad = forms.ChoiceField(required=False, label="Method of the distance")
    detector = forms.ChoiceField(
        required=False,
        label="Method of the detector",
        help_text="A method trains a network of its own and takes no start weights. With preset small it is smaller than its title says.",
    )
    seed = forms.IntegerField(initial=7, min_value=0, max_value=2**31 - 1, help_text="The same seed on the same data gives the same model.")
    name = forms.CharField(max_length=120, required=False, help_text="Left empty: named after the snapshot.")

    def __init__(self, user: User, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        frozen = access.visible(Snapshot, user).filter(state=SnapshotState.FROZEN).order_by("-id")
        self.fields["snapshot"].queryset = frozen  # type: ignore[attr-defined]
        self.fields["snapshot"].label_from_instance = _named  # type: ignore[attr-defined]
        for name in ("start", "weights"):
            self.fields[name].queryset = access.visible(ModelVersion, user).order_by("-id")  # type: ignore[attr-defined]
        champion = registry.champion()
        if champion is not None:
            root = lines.root_of(champion) or "random weights"
            self.fields["weights"].empty_label = f"the first of its line (the champion's: {root})"  # type: ignore[attr-defined]
        for part in ml.PARTS:
            self.fields[part].choices = [("", _AS_PRESET), *ml.methods_of(part)]  # type: ignore[attr-defined]

    def clean_timm(self) -> str:
        given = str(self.cleaned_data["timm"]).strip().removeprefix(ml.TIMM)
        if given:
            try:
                ml.refuse_backbone(given)
            except TrainingRefused as error:
                raise forms.ValidationError(str(error)) from error
            if self.cleaned_data.get("resnest"):
                raise forms.ValidationError("Choose a method of the classifier or a backbone, not both.")
        return given

    def clean(self) -> dict[str, Any]:
        data = super().clean() or {}
        for part, field in _METHOD_FIELDS:
            if data.get(field) and part not in data.get("parts", ()) and "parts" in data:
                self.add_error(field, "This part is not trained. Choose it under Train anew, or leave this as it is.")
        return data

    def choice(self) -> services.Choice:
        data = self.cleaned_data
        named = {**{part: data[part] for part in ml.PARTS}, **({"resnest": ml.TIMM + data["timm"]} if data["timm"] else {})}
        return services.Choice(
            preset=data["preset"], seed=data["seed"], parts=tuple(data["parts"]), start=data["start"], weights=data["weights"],
            methods=tuple(name for name in named.values() if name),
        )  # fmt: skip


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
        "reports": reports,
        **_beginnings(found),
    }


def _beginnings(run: TrainingRun) -> dict[str, Any]:
    """What the run's parts begin with. Runs of before there was a choice of weights and methods have one start model for all."""
    config = run.config
    wanted = {config.get("start"), config.get("weights")}
    versions = {one.pk: one for one in ModelVersion.objects.filter(pk__in=wanted - {None})}
    return {
        "start": versions.get(config.get("start")),
        "told": "weights" in config,
        "weights": versions.get(config.get("weights")),
        "methods": [ml.method_title(named)[1] for named in config.get("methods", ())],
        "anew": config.get("anew", ()),
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
