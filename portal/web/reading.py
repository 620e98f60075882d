"""Pages of the reading room, of adjudication, and of the queue. What a reader gets is made here and in `reading/room.html` alone."""

from __future__ import annotations

import logging
import string
from typing import Any

from django import forms
from django.conf import settings
from django.contrib import messages
from django.http import HttpResponse, JsonResponse
from django.shortcuts import redirect, render
from django.urls import path
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe

from portal.accounts import access
from portal.accounts.http import UserRequest
from portal.audit import services as audit
from portal.core.errors import BadInput, NotVisible, WinnowError, WrongState
from portal.core.text import number
from portal.images import kept, storage
from portal.images.models import Image
from portal.ml import Kind
from portal.reviews import beside, blind, rest, routing, selectors
from portal.reviews.consensus import CANNOT_TELL
from portal.reviews.leases import Role
from portal.reviews.models import Lease, Read, ReviewTask
from portal.reviews.services import UNUSABLE_REASONS, Answer, extend_lease, lease_next, release, reopen, submit_read
from portal.web import agreed

logger = logging.getLogger(__name__)
PAGE = 50

KEYS = (
    (Kind.REGULAR, "Regular", "1", "r"),
    (Kind.GREEN_FILTER, "Green filter", "2", "g"),
    (Kind.LUGOL_IODINE, "Lugol's iodine", "3", "l"),
    (Kind.NOT_CERVIX, "Not a cervix", "4", "x"),
    (Kind.POST_TREATMENT, "After treatment", "5", "p"),
    (Kind.UNUSABLE, "Unusable", "6", "u"),
    (CANNOT_TELL, "Cannot tell", "", "c"),
)
"""Answer, its name, its number key and its letter."""


class AnswerForm(forms.Form):
    """What the reading page sends. Whether the answer can be used is the service's to say."""

    token = forms.CharField(max_length=64)
    kind = forms.CharField(max_length=20, required=False)
    reasons = forms.MultipleChoiceField(choices=[(code, code) for code in UNUSABLE_REASONS], required=False)
    note = forms.CharField(required=False, max_length=4000, strip=True)
    box = forms.CharField(required=False, max_length=120)
    seconds = forms.FloatField(required=False, min_value=0, max_value=86_400)

    def answer(self, role: Role) -> Answer:
        if not self.is_valid():
            raise BadInput("Something in the answer could not be understood. Choose again and submit once more.")
        data = self.cleaned_data
        reasons = tuple(data["reasons"]) if data["kind"] == Kind.UNUSABLE else ()
        return Answer(data["kind"], _box(data["box"]), reasons, data["note"], data["seconds"] or 0.0, role)


def _box(text: str) -> tuple[float, float, float, float] | None:
    if not text:
        return None
    try:
        x0, y0, x1, y1 = (float(part) for part in text.split(","))
    except ValueError:
        raise BadInput("The box could not be understood. Draw it again.") from None
    return (x0, y0, x1, y1)


# ---- reading and adjudication -----------------------------------------------------------------------------------------
@never_cache
@require_safe
def reading(request: UserRequest) -> HttpResponse:
    return _room(request, "reader")


@never_cache
@require_safe
def adjudication(request: UserRequest) -> HttpResponse:
    return _room(request, "adjudicator")


@never_cache
@require_POST
def reading_submit(request: UserRequest) -> HttpResponse:
    return _submit(request, "reader")


@never_cache
@require_POST
def adjudication_submit(request: UserRequest) -> HttpResponse:
    return _submit(request, "adjudicator")


def _room(request: UserRequest, role: Role, *, form: AnswerForm | None = None, error: str = "", status: int = 200) -> HttpResponse:
    lease = lease_next(reader=request.user, role=role)
    rows = selectors.adjudicable_by(request.user) if role == "adjudicator" else selectors.readable_by(request.user)
    siblings = beside.siblings(lease) if lease else []
    if lease and siblings:
        shown = [sibling.image.pk for sibling in siblings]
        audit.record(
            actor_id=request.user.pk, action="view_beside", subject=lease.task.image, site_id=lease.task.image.site_id,
            lease=lease.pk, images=shown,
        )  # fmt: skip
    context = {
        "token": lease.token if lease else "",
        "beside": [sibling.key for sibling in siblings],
        "adjudicating": role == "adjudicator",
        "waiting": routing.roughly(max(rows.count(), 1 if lease else 0)),
        "why": "" if lease else rest.why(request.user, adjudicating=role == "adjudicator"),
        "keys": KEYS[:-1] if role == "adjudicator" else KEYS,
        "unusable_reasons": UNUSABLE_REASONS,
        "earlier": _earlier(lease.task) if lease and role == "adjudicator" else [],
        "own_site_first": settings.READ_OWN_SITE_FIRST,
        "form": form,
        "error": error,
    }
    return render(request, "reading/room.html", context, status=status)


def _earlier(task: ReviewTask) -> list[dict[str, Any]]:
    """Earlier answers for an adjudicator: by letter, without names."""
    return [
        {"letter": letter, "kind": read.kind, "reasons": read.reasons, "note": read.note, "box": read.box}
        for letter, read in zip(string.ascii_uppercase, selectors.answers(task), strict=False)
    ]


def _submit(request: UserRequest, role: Role) -> HttpResponse:
    form = AnswerForm(request.POST)
    lease = _lease(request)
    try:
        submit_read(task=lease.task, reader=request.user, answer=form.answer(role))
    except BadInput as error:
        return _room(request, role, form=form, error=error.message, status=error.status)
    except WrongState as error:
        return _refused(request, role, form, error)
    messages.success(request, "Recorded.")
    return redirect("adjudication" if role == "adjudicator" else "reading")


def _refused(request: UserRequest, role: Role, form: AnswerForm, error: WinnowError) -> HttpResponse:
    """What was answered is shown back, so that nothing that was written is lost."""
    context = {"error": error, "form": form, "adjudicating": role == "adjudicator"}
    return render(request, "reading/refused.html", context, status=error.status)


def _lease(request: UserRequest, *, live: bool = False) -> Lease:
    lease = selectors.lease_by_token(request.user, request.POST.get("token", "")[:64], live=live)
    if lease is None:
        raise NotVisible
    return lease


@never_cache
@require_safe
def picture(request: UserRequest, token: str) -> HttpResponse:
    """The clean picture, stripped, for as long as the lease lives."""
    lease = selectors.lease_by_token(request.user, token, live=True)
    if lease is None:
        raise NotVisible
    return _picture(request, lease, lease.task.image)


@never_cache
@require_safe
def picture_beside(request: UserRequest, token: str, key: str, size: str) -> HttpResponse:
    """Another picture of the same exam, `small` or `full`, for as long as the lease lives."""
    lease = selectors.lease_by_token(request.user, token, live=True)
    image = beside.sibling(lease, key) if lease else None
    if lease is None or image is None or size not in ("small", "full"):
        raise NotVisible
    if size == "full":
        return _picture(request, lease, image)
    # that it was shown small is in the event of the page
    return HttpResponse(
        blind.strip(kept.local(storage.thumb_path(image.site_id, image.clean_sha256)).read_bytes()), content_type="image/jpeg"
    )


def _picture(request: UserRequest, lease: Lease, image: Image) -> HttpResponse:
    data = blind.strip(kept.local(storage.clean_path(image.site_id, image.clean_sha256, image.clean_format)).read_bytes())
    audit.record(actor_id=request.user.pk, action="view_picture", subject=image, site_id=image.site_id, lease=lease.pk)
    return HttpResponse(data, content_type="image/png" if image.clean_format == "png" else "image/jpeg")


@never_cache
@require_POST
def extend(request: UserRequest) -> HttpResponse:
    return JsonResponse({"held": extend_lease(lease=_lease(request), reader=request.user)})


@never_cache
@require_POST
def give_back(request: UserRequest) -> HttpResponse:
    release(lease=_lease(request), reader=request.user)
    messages.info(request, "You have given the picture back; it waits for the next reader.")
    return redirect("home")


# ---- the queue ----------------------------------------------------------------------------------------------------
def review_list(request: UserRequest) -> HttpResponse:
    state = request.GET.get("state", "")
    before = request.GET.get("before", "")
    rows = selectors.queue(access.visible(ReviewTask, request.user), state=state, before=number(before))
    tasks = list(rows[: PAGE + 1])
    pairs = selectors.first_pairs(access.visible(Read, request.user))
    context = {
        "tasks": tasks[:PAGE],
        "next_before": tasks[PAGE - 1].pk if len(tasks) > PAGE else None,
        "state": state,
        "may_open": access.reaches(request.user, "image"),
        "figures": selectors.queue_figures(access.visible(ReviewTask, request.user)),
        "measured": agreed.named(pairs),
        "pairs": len(pairs),
        "patients": len({pair.patient for pair in pairs}),
    }
    return render(request, "reading/queue.html", context)


@require_POST
def review_reopen(request: UserRequest, task_id: int) -> HttpResponse:
    task = access.get_visible(ReviewTask, request.user, task_id)
    reopen(image=task.image, actor=request.user, note=request.POST.get("note", "")[:500])
    messages.success(request, "Readers are asked again. The label stands until they have answered.")
    return redirect("review_list")


urls = [
    path("reading/", reading, name="reading"),
    path("reading/answer/", reading_submit, name="reading_submit"),
    path("reading/picture/<str:token>/", picture, name="reading_picture"),
    path("reading/beside/<str:token>/<str:key>/<str:size>/", picture_beside, name="reading_beside"),
    path("reading/extend/", extend, name="reading_extend"),
    path("reading/release/", give_back, name="reading_release"),
    path("adjudication/", adjudication, name="adjudication"),
    path("adjudication/answer/", adjudication_submit, name="adjudication_submit"),
    path("reviews/", review_list, name="review_list"),
    path("reviews/<int:task_id>/reopen/", review_reopen, name="review_reopen"),
]
