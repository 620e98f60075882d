"""The qualification set: which known pictures every reader answers first, and how each did."""

from __future__ import annotations

from dataclasses import dataclass

from django import forms
from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import path
from django.views.decorators.http import require_POST, require_safe

from portal.accounts import access
from portal.accounts.http import UserRequest
from portal.accounts.models import User
from portal.core.errors import BadInput
from portal.ml import Kind
from portal.reviews import rules
from portal.reviews.quality import known_images, qualification
from portal.reviews.quality.qualification import LARGEST_SET, Result
from portal.web.shares import Share, wilson


@dataclass(frozen=True, slots=True)
class Figures:
    """A result with its 95 % intervals."""

    total: int
    patients: int
    right: Share
    found: Share


def shares(result: Result) -> Figures:
    return Figures(result.answered, result.patients, wilson(result.right, result.answered), wilson(result.found, result.not_regular))


class ChooseForm(forms.Form):
    per_kind = forms.IntegerField(min_value=1, max_value=LARGEST_SET // len(Kind), initial=5, label="Pictures of each kind")


@require_safe
def qualification_page(request: UserRequest) -> HttpResponse:
    return _page(request, ChooseForm())


def _page(request: UserRequest, form: ChooseForm, *, status: int = 200) -> HttpResponse:
    chosen, ready = qualification.chosen(), known_images.pool()
    context = {
        "form": form,
        "kinds": [(kind, count, ready[kind]) for kind, count in chosen.items()],
        "chosen": sum(chosen.values()),
        "rows": [(row, shares(row.result)) for row in qualification.rows(request.user)],
        "rule": rules.in_force(None),
        "me": request.user.pk,
    }
    return render(request, "reading/qualification.html", context, status=status)


@require_POST
def qualification_choose(request: UserRequest) -> HttpResponse:
    access.require(request.user, "set_rules")
    form = ChooseForm(request.POST)
    if not form.is_valid():
        return _page(request, form, status=400)
    try:
        added = qualification.choose(per_kind=form.cleaned_data["per_kind"], actor=request.user)
    except BadInput as refused:
        form.add_error("per_kind", refused.message)
        return _page(request, form, status=400)
    messages.success(request, f"{added} picture{'' if added == 1 else 's'} came into the set.")
    return redirect("qualification")


@require_POST
def qualification_empty(request: UserRequest) -> HttpResponse:
    access.require(request.user, "set_rules")
    taken = qualification.empty(actor=request.user)
    messages.success(request, f"{taken} picture{'' if taken == 1 else 's'} left the set, and measure nobody any more.")
    return redirect("qualification")


@require_POST
def qualification_waive(request: UserRequest, user_id: int) -> HttpResponse:
    access.require(request.user, "set_rules")
    reader = access.get_visible(User, request.user, user_id)
    qualification.waive(reader=reader, actor=request.user)
    messages.success(request, f"{reader} may read from now on.")
    return redirect("qualification")


urls = [
    path("reviews/qualification/", qualification_page, name="qualification"),
    path("reviews/qualification/choose/", qualification_choose, name="qualification_choose"),
    path("reviews/qualification/empty/", qualification_empty, name="qualification_empty"),
    path("reviews/qualification/<int:user_id>/waive/", qualification_waive, name="qualification_waive"),
]
