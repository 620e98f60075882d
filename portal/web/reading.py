"""Pages of the queue and of its rules. What a reader gets is made in `room.py`."""

from __future__ import annotations

from django import forms
from django.conf import settings
from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import path
from django.views.decorators.http import require_POST

from portal.accounts import access
from portal.accounts.http import UserRequest
from portal.accounts.models import Site
from portal.core.errors import BadInput
from portal.core.text import number
from portal.reviews import selectors
from portal.reviews.models import Read, ReviewTask
from portal.reviews.services import reopen, set_rules
from portal.web import agreed

PAGE = 50


class RulesForm(forms.Form):
    site = forms.ModelChoiceField(Site.objects.none(), required=False, empty_label="every site without a rule of its own")
    reads_needed = forms.TypedChoiceField(choices=[(1, "one read"), (2, "two independent reads")], coerce=int, label="Reads needed")
    t_lo = forms.FloatField(required=False, min_value=0, max_value=1, label="Accept as regular only below")
    t_hi = forms.FloatField(required=False, min_value=0, max_value=1, label="Set aside as non-regular only above")


def rules(request: UserRequest) -> HttpResponse:
    form = RulesForm(request.POST if request.method == "POST" else None)
    form.fields["site"].queryset = access.visible(Site, request.user).order_by("name")  # type: ignore[attr-defined]
    error = ""
    if request.method == "POST" and form.is_valid():
        try:
            set_rules(**form.cleaned_data, actor=request.user)
        except BadInput as refused:
            error = refused.message
        else:
            messages.success(request, "The rule is in force from now on. Open questions keep the one they began with.")
            return redirect("reading_rules")
    context = {
        "form": form,
        "error": error,
        "rules": selectors.rules_in_force(),
        "own_site_first": settings.READ_OWN_SITE_FIRST,
    }
    return render(request, "reading/rules.html", context, status=400 if form.errors or error else 200)


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
    path("reading/rules/", rules, name="reading_rules"),
    path("reviews/", review_list, name="review_list"),
    path("reviews/<int:task_id>/reopen/", review_reopen, name="review_reopen"),
]
