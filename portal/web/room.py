"""The reading room and the room of adjudication: a page that works by plain forms, and the same in JSON, by which it goes on without
loading anew. What a reader is told of a picture is made in `turns.py` alone."""

from __future__ import annotations

import json
from typing import Any

from django.conf import settings
from django.contrib import messages
from django.http import HttpResponse, JsonResponse
from django.shortcuts import redirect, render
from django.template.loader import render_to_string
from django.urls import path, reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe

from portal.accounts import access
from portal.accounts.http import UserRequest
from portal.accounts.middleware import wants_json
from portal.core.errors import BadInput, NotVisible, WinnowError, WrongState
from portal.reviews import selectors, skips
from portal.reviews.leases import Role, extend_lease, release, reserve
from portal.reviews.models import Lease, TaskState
from portal.reviews.room import drafts, keys, looking_back
from portal.reviews.room.versions import UNDO, undo
from portal.reviews.services import BOX_KINDS, CANNOT_TELL_REASONS, UNUSABLE_REASONS, submit_read
from portal.web import turns
from portal.web.answers import AnswerForm

UNDO_SECONDS = int(UNDO.total_seconds())


# ---- a turn -----------------------------------------------------------------------------------------------------------
@never_cache
@require_safe
def reading(request: UserRequest) -> HttpResponse:
    return _room(request, "reader")


@never_cache
@require_safe
def adjudication(request: UserRequest) -> HttpResponse:
    return _room(request, "adjudicator")


@never_cache
@require_safe
def reading_next(request: UserRequest) -> HttpResponse:
    return JsonResponse(turns.next_turn(request.user, "reader"))


@never_cache
@require_POST
def reading_ahead(request: UserRequest) -> HttpResponse:
    """What may be fetched ahead: addresses of pictures, and nothing else of them."""
    ahead = reserve(reader=request.user, role="reader")
    return JsonResponse({"ahead": [reverse("reading_picture", args=[lease.token]) for lease in ahead]})


def _room(request: UserRequest, role: Role, *, form: AnswerForm | None = None, error: str = "", status: int = 200) -> HttpResponse:
    turn = turns.next_turn(request.user, role)
    context = {
        **turn,
        "shown": form.data if form else turn.get("draft") or {},
        "marked": request.POST.getlist("reasons") if form else turn.get("draft", {}).get("reasons", []),
        "undoable": _undoable(request, role),
        "error": error,
        **furniture(request, role),
    }
    return render(request, "reading/room.html", context, status=status)


def furniture(request: UserRequest, role: Role) -> dict[str, Any]:
    """What the room looks like whatever is read in it."""
    settings_of = selectors.settings_of(request.user)
    bound = keys.merged(settings_of.keys)
    kinds = [(kind, name, digit, bound[kind]) for kind, (name, digit, _) in keys.KINDS.items()]
    return {
        "kinds": kinds[:-1] if role == "adjudicator" else kinds,
        "confidence": keys.CONFIDENCE,
        "commands": [(name, text, bound[name]) for name, (text, _) in keys.COMMANDS.items()],
        "key": bound,
        "key_json": json.dumps({key: name for name, key in bound.items()}),
        "box_kinds": " ".join(BOX_KINDS),
        "unusable_reasons": UNUSABLE_REASONS,
        "cannot_tell_reasons": CANNOT_TELL_REASONS,
        "skip_reasons": skips.REASONS,
        "low_bandwidth": settings_of.low_bandwidth,
        "own_site_first": settings.READ_OWN_SITE_FIRST,
        "undo_seconds": UNDO_SECONDS,
    }


def _undoable(request: UserRequest, role: Role) -> dict[str, Any] | None:
    """The address of what was answered just now, and how long it can be undone."""
    read = selectors.lately_answered(request.user, UNDO)
    lease = selectors.lease_of(read) if read and read.role == role else None
    if read is None or lease is None or lease.revealed:
        return None
    return {"token": lease.token, "seconds": selectors.seconds_left(read, UNDO)}


# ---- the answer -------------------------------------------------------------------------------------------------------
@never_cache
@require_POST
def reading_submit(request: UserRequest) -> HttpResponse:
    return _submit(request, "reader")


@never_cache
@require_POST
def adjudication_submit(request: UserRequest) -> HttpResponse:
    return _submit(request, "adjudicator")


def _submit(request: UserRequest, role: Role) -> HttpResponse:
    form, lease = AnswerForm(request.POST), _lease(request)
    try:
        submit_read(task=lease.task, reader=request.user, answer=form.answer(role))
    except (BadInput, WrongState) as error:
        if wants_json(request):
            raise
        return _not_taken(request, role, form, error)
    if role == "reader" and looking_back.will_reveal(lease):
        return _revealing(request, lease)
    if wants_json(request):
        return JsonResponse({"recorded": True, "undo": UNDO_SECONDS, "next": _drawn(turns.after(lease, reader=request.user, role=role))})
    drafts.forget(lease)
    messages.success(request, "Recorded.")
    return redirect(_home(role))


def _drawn(turn: dict[str, Any]) -> dict[str, Any]:
    """A turn for the page's script. What an adjudicator is shown of others comes drawn, by the templates of the page itself."""
    if not turn.get("earlier"):
        return turn
    answers, boxes = (render_to_string(f"reading/_earlier{part}.html", turn) for part in ("", "_boxes"))
    return {**turn, "earlier": {"answers": answers, "boxes": boxes}}


def _revealing(request: UserRequest, lease: Lease) -> HttpResponse:
    """The study shows the model's opinion now that the answer is in, on a page of its own."""
    drafts.forget(lease)
    address = reverse("reading_revealed", args=[lease.token])
    return JsonResponse({"recorded": True, "to": address}) if wants_json(request) else redirect(address)


def _not_taken(request: UserRequest, role: Role, form: AnswerForm, error: WinnowError) -> HttpResponse:
    """What was answered is shown back, so that nothing that was written is lost."""
    if isinstance(error, BadInput):
        return _room(request, role, form=form, error=error.message, status=error.status)
    context = {"error": error, "form": form, "adjudicating": role == "adjudicator"}
    return render(request, "reading/refused.html", context, status=error.status)


def _room_of(request: UserRequest, lease: Lease) -> Role:
    """A question may have gone to the adjudicators while a reader held it: what others said is for adjudicators alone."""
    settles = lease.task.state == TaskState.ADJUDICATION and access.can(request.user, "adjudicate")
    return "adjudicator" if settles else "reader"


def _home(role: str) -> str:
    return "adjudication" if role == "adjudicator" else "reading"


def _lease(request: UserRequest, *, live: bool = False) -> Lease:
    lease = selectors.lease_by_token(request.user, request.POST.get("token", "")[:64], live=live)
    if lease is None:
        raise NotVisible
    return lease


@never_cache
@require_POST
def reading_draft(request: UserRequest) -> HttpResponse:
    drafts.keep(lease=_lease(request), content=AnswerForm(request.POST).draft())
    return JsonResponse({"kept": True})


@never_cache
@require_POST
def reading_undo(request: UserRequest) -> HttpResponse:
    """Open again what was answered within the last minute, in whichever room that was."""
    lease = undo(task=_lease(request).task, reader=request.user)
    role = _room_of(request, lease)
    if wants_json(request):
        return JsonResponse({"undone": True, "next": _drawn(turns.of(lease, reader=request.user, role=role))})
    messages.info(request, "Undone. Here is the picture again, with what you had answered.")
    return redirect(_home(role))


# ---- holding and giving back ------------------------------------------------------------------------------------------
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


@never_cache
@require_POST
def reading_skip(request: UserRequest) -> HttpResponse:
    lease = _lease(request)
    skips.skip(lease=lease, reader=request.user, reason=request.POST.get("why", ""))
    # in the room where they are: the question may have gone to the adjudicators, or back, while they held it
    role: Role = "adjudicator" if "adjudicating" in request.POST and access.can(request.user, "adjudicate") else "reader"
    if wants_json(request):
        return JsonResponse({"skipped": True, "next": _drawn(turns.next_turn(request.user, role))})
    messages.info(request, "Skipped. The picture goes to another reader, and does not come to you again today.")
    return redirect(_home(role))


urls = [
    path("reading/", reading, name="reading"),
    path("reading/next/", reading_next, name="reading_next"),
    path("reading/ahead/", reading_ahead, name="reading_ahead"),
    path("reading/answer/", reading_submit, name="reading_submit"),
    path("reading/draft/", reading_draft, name="reading_draft"),
    path("reading/undo/", reading_undo, name="reading_undo"),
    path("reading/skip/", reading_skip, name="reading_skip"),
    path("reading/extend/", extend, name="reading_extend"),
    path("reading/release/", give_back, name="reading_release"),
    path("adjudication/", adjudication, name="adjudication"),
    path("adjudication/answer/", adjudication_submit, name="adjudication_submit"),
]
