"""Pages of the queue. What a reader gets is made in `room.py`."""

from __future__ import annotations

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import path
from django.views.decorators.http import require_POST

from portal.accounts import access
from portal.accounts.http import UserRequest
from portal.core.text import number
from portal.reviews import selectors
from portal.reviews.models import Read, ReviewTask
from portal.reviews.quality.pairs import MOST_QUESTIONS, first_pairs
from portal.reviews.services import reopen
from portal.web import agreed

PAGE = 50


def review_list(request: UserRequest) -> HttpResponse:
    state = request.GET.get("state", "")
    before = request.GET.get("before", "")
    rows = selectors.queue(access.visible(ReviewTask, request.user), state=state, before=number(before))
    tasks = list(rows[: PAGE + 1])
    pairs = first_pairs(access.visible(Read, request.user))
    context = {
        "tasks": tasks[:PAGE],
        "next_before": tasks[PAGE - 1].pk if len(tasks) > PAGE else None,
        "state": state,
        "may_open": access.reaches(request.user, "image"),
        "reads": access.can(request.user, "read"),
        "figures": selectors.queue_figures(access.visible(ReviewTask, request.user)),
        "measured": agreed.named(pairs),
        "pairs": len(pairs),
        "most": MOST_QUESTIONS,
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
    path("reviews/", review_list, name="review_list"),
    path("reviews/<int:task_id>/reopen/", review_reopen, name="review_reopen"),
]
