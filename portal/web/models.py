"""Pages of models: the list with its champion, the report of one, promotion and the way back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from django import forms
from django.conf import settings
from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import path
from django.views.decorators.http import require_GET, require_POST

from portal import ml
from portal.accounts import access
from portal.accounts.http import UserRequest
from portal.accounts.models import User
from portal.core.errors import BadInput
from portal.core.text import number
from portal.datasets import selectors as datasets
from portal.datasets.models import Snapshot, SnapshotState
from portal.images import seen
from portal.images.models import Image
from portal.learning import evaluations, promotions, selectors
from portal.learning.models import Evaluation
from portal.registry import selectors as registry
from portal.registry.models import ChampionChange, ModelVersion, PromotionRequest
from portal.web import cards, differences, drawings, reports

_WRONG_SHOWN = 36
_EXTREMES = 4


class SnapshotChoice(forms.Form):
    snapshot = forms.ModelChoiceField(Snapshot.objects.none(), empty_label=None, label="Evaluate on")

    def __init__(self, user: User, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        frozen = access.visible(Snapshot, user).filter(state=SnapshotState.FROZEN).order_by("-id")
        self.fields["snapshot"].queryset = frozen  # type: ignore[attr-defined]
        self.fields["snapshot"].label_from_instance = lambda snapshot: snapshot.name  # type: ignore[attr-defined]


@require_GET
def model_list(request: UserRequest) -> HttpResponse:
    versions = list(access.visible(ModelVersion, request.user).select_related("run").order_by("-id"))
    shown = {
        "versions": [(version, headline) for version, headline in selectors.headlines(versions)],
        "champion": registry.champion(),
        "open_requests": access.visible(PromotionRequest, request.user).filter(answer="").select_related("version", "requested_by"),
        "changes": ChampionChange.objects.select_related("version", "previous", "actor").order_by("-id")[:50],
        **_rights(request.user),
    }
    return render(request, "models/list.html", shown)


@require_GET
def model(request: UserRequest, version_id: int) -> HttpResponse:
    version = access.get_visible(ModelVersion, request.user, version_id)
    # The long lists of the reports are read for the chosen one alone
    asked = list(version.evaluations.select_related("snapshot").defer("report").order_by("-id"))
    chosen = _chosen(version, request.GET.get("evaluation", ""))
    shown = {
        "version": version,
        "run": getattr(version, "run", None),
        "devices": _devices(version),
        "has_card": bool(ml.model_card(Path(version.bundle_path))),
        "reads_unknown": settings.REVIEW_UNCALIBRATED,
        "evaluations": asked,
        "chosen": chosen,
        "card": sorted(reports.card(version.metrics), key=lambda row: row[:2]),
        "checks": sorted(reports.checks(version.metrics)),
        "ablation": reports.ablation(version.metrics),
        "open_request": version.promotion_requests.filter(answer="").select_related("requested_by").first(),
        "answered": version.promotion_requests.exclude(answer="").select_related("requested_by", "answered_by").order_by("-id"),
        "earlier": registry.earlier_champion() if version.state == "champion" else None,
        "choice": SnapshotChoice(request.user),
        **_rights(request.user),
        # A bundle brings its siblings' figures along: they are there before anything was measured here
        **(_report(chosen, request.user) if chosen else reports.of_siblings(version.metrics.get("leave_one_source_out", {}))),
    }
    return render(request, "models/model.html", shown)


def _devices(version: ModelVersion) -> list[str]:
    """On which the version was calibrated; none where its bundle cannot be opened any more."""
    try:
        return ml.calibrated_devices(Path(version.bundle_path))
    except ValueError:
        return []


@require_GET
def model_card(request: UserRequest, version_id: int) -> HttpResponse:
    """What the bundle's card says, as a page or as the file."""
    version = access.get_visible(ModelVersion, request.user, version_id)
    text = ml.model_card(Path(version.bundle_path))
    if text and request.GET.get("download"):
        named = f'attachment; filename="MODEL_CARD-{version.bundle_hash[:8]}.md"'
        return HttpResponse(text, content_type="text/markdown; charset=utf-8", headers={"Content-Disposition": named})
    shown = {"version": version, "blocks": cards.blocks(text), "named": version.bundle_hash in text}
    return render(request, "models/card.html", shown)


def _chosen(version: ModelVersion, wanted: str) -> Evaluation | None:
    """The evaluation that the address names, else the newest that has its report."""
    ready = selectors.reported().filter(version=version).order_by("-id")
    return ready.filter(pk=number(wanted) or 0).first() or ready.first()


def _rights(user: User) -> dict[str, Any]:
    return {"may_promote": access.can(user, "promote"), "single": settings.SINGLE_ADMINISTRATOR}


def _report(chosen: Evaluation, user: User) -> dict[str, Any]:
    beside = selectors.beside_champion(chosen)
    mine, compared = beside.mine, beside.differences.rows if beside.differences else ()
    wrong, extremes = reports.misclassified(mine), reports.extremes(mine, _EXTREMES)
    pictures = _pictures(chosen.snapshot, [*wrong[:_WRONG_SHOWN], *(row for _, _, rows in extremes for row in rows)], user)
    return {
        "report": mine,
        "rival": beside.rival,
        "verdict": beside.verdict,
        "beside": beside.differences,
        "differences": differences.rows(compared),
        "difference_drawing": drawings.differences("This model minus the champion", compared),
        "wrong": reports.pictured(wrong[:_WRONG_SHOWN], pictures),
        "wrong_total": len(wrong),
        "extremes": [(kind, end, reports.pictured(rows, pictures)) for kind, end, rows in extremes],
        **reports.drawn(mine, beside.champion, chosen.version),
    }


def _pictures(snapshot: Snapshot, rows: Sequence[Mapping[str, Any]], user: User) -> dict[str, int]:
    """The images of the rows that this person may see, by sha256."""
    found = datasets.images_of(snapshot, [row["sha256"] for row in rows])
    visible = access.visible(Image, user).in_bulk(list(found.values()))
    seen.shown(images=visible.values(), actor=user, where="model")
    return {sha256: image for sha256, image in found.items() if image in visible}


@require_POST
def model_evaluate(request: UserRequest, version_id: int) -> HttpResponse:
    """Ask for the report of this model and of the champion on a snapshot."""
    access.require(request.user, "train")
    version = access.get_visible(ModelVersion, request.user, version_id)
    form = SnapshotChoice(request.user, request.POST)
    if not form.is_valid():
        raise BadInput("Choose a frozen snapshot to evaluate on.")
    champion = registry.champion()
    both = [version] if champion is None or champion == version else [version, champion]
    evaluations.ask(versions=both, snapshot=form.cleaned_data["snapshot"], actor=request.user)
    return redirect("model", version_id=version_id)


@require_POST
def model_request(request: UserRequest, version_id: int) -> HttpResponse:
    access.require(request.user, "promote")
    version = access.get_visible(ModelVersion, request.user, version_id)
    promotions.request_promotion(version=version, actor=request.user, note=request.POST.get("note", ""))
    messages.success(request, "The promotion is asked for.")
    return redirect("model", version_id=version_id)


@require_POST
def promotion_approve(request: UserRequest, request_id: int) -> HttpResponse:
    access.require(request.user, "promote")
    asked = access.get_visible(PromotionRequest, request.user, request_id)
    version = promotions.approve_promotion(request=asked, actor=request.user, note=request.POST.get("note", ""))
    messages.success(request, f"{version} is the champion now. Images that wait for readers are being judged anew.")
    return redirect("model", version_id=asked.version_id)


@require_POST
def promotion_refuse(request: UserRequest, request_id: int) -> HttpResponse:
    access.require(request.user, "promote")
    asked = access.get_visible(PromotionRequest, request.user, request_id)
    promotions.refuse_promotion(request=asked, actor=request.user, note=request.POST.get("note", ""))
    return redirect("model", version_id=asked.version_id)


@require_POST
def model_roll_back(request: UserRequest) -> HttpResponse:
    access.require(request.user, "promote")
    version = promotions.roll_back(actor=request.user)
    messages.success(request, f"Rolled back: {version} is the champion again.")
    return redirect("model", version_id=version.pk)


urls = [
    path("models/", model_list, name="model_list"),
    path("models/roll-back/", model_roll_back, name="model_roll_back"),
    path("models/<int:version_id>/", model, name="model"),
    path("models/<int:version_id>/card/", model_card, name="model_card"),
    path("models/<int:version_id>/evaluate/", model_evaluate, name="model_evaluate"),
    path("models/<int:version_id>/promotion/", model_request, name="model_request"),
    path("promotions/<int:request_id>/approve/", promotion_approve, name="promotion_approve"),
    path("promotions/<int:request_id>/refuse/", promotion_refuse, name="promotion_refuse"),
]
