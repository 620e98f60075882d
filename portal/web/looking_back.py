"""Own answers, opened again: to amend one, or to see what the model says once the own answer is in."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.http import HttpResponse, JsonResponse
from django.shortcuts import redirect, render
from django.urls import path, reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe

from portal.accounts.http import UserRequest
from portal.accounts.middleware import wants_json
from portal.core.errors import BadInput
from portal.reviews.leases import Role
from portal.reviews.room import looking_back
from portal.reviews.room.looking_back import Answered, Opinion
from portal.reviews.room.versions import amend, as_draft, was_revealed
from portal.web import room_pictures
from portal.web.answers import AnswerForm
from portal.web.room import furniture


@never_cache
@require_safe
def reading_amend(request: UserRequest, token: str) -> HttpResponse:
    return _page(request, looking_back.to_amend(request.user, token))


@never_cache
@require_safe
def reading_revealed(request: UserRequest, token: str) -> HttpResponse:
    found, opinion = looking_back.reveal(reader=request.user, token=token)
    return _page(request, found, opinion=opinion)


@never_cache
@require_safe
def reading_again(request: UserRequest, address: str) -> HttpResponse:
    """The picture of an answer that is open again."""
    found = looking_back.by_address(request.user, address)
    return room_pictures.full(request, found.lease, found.lease.task.image)


def _page(
    request: UserRequest, found: Answered, *, opinion: Opinion | None = None, form: AnswerForm | None = None, error: str = ""
) -> HttpResponse:
    image, role = found.lease.task.image, _role(found)
    shown: dict[str, Any] = as_draft(found.read)
    context = {
        **furniture(request, role),
        "token": found.lease.token,
        "picture": reverse("reading_again", args=[looking_back.address(found)]),
        "width": image.width,
        "height": image.height,
        "box_asked": found.lease.task.asks.box and role == "reader",
        "shown": form.data if form else shown,
        "marked": request.POST.getlist("reasons") if form else shown["reasons"],
        "adjudicating": role == "adjudicator",
        "read": found.read,
        "model": opinion,
        "error": error,
        "low_bandwidth": False,
    }
    return render(request, "reading/again.html", context, status=400 if error else 200)


def _role(found: Answered) -> Role:
    return "adjudicator" if found.read.role == "adjudicator" else "reader"


@never_cache
@require_POST
def reading_amended(request: UserRequest) -> HttpResponse:
    """A later version of an own answer; the same answer again changes nothing."""
    form, found = AnswerForm(request.POST), looking_back.to_amend(request.user, request.POST.get("token", "")[:64])
    shown = was_revealed(found.lease.task, request.user)
    try:
        amend(task=found.lease.task, reader=request.user, answer=form.answer(_role(found)))
    except BadInput as error:
        if wants_json(request):
            raise
        return _page(request, found, form=form, error=error.message)
    # and not what follows from it: that would tell what others said
    messages.success(request, "Kept.")
    home = "reading" if shown and "reading_on" in request.POST else "own_reading"
    if wants_json(request):
        return JsonResponse({"recorded": True, "to": reverse(home)})
    return redirect(home)


urls = [
    path("reading/amend/", reading_amended, name="reading_amended"),
    path("reading/amend/<str:token>/", reading_amend, name="reading_amend"),
    path("reading/revealed/<str:token>/", reading_revealed, name="reading_revealed"),
    path("reading/again/<str:address>/", reading_again, name="reading_again"),
]
