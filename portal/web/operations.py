"""Pages of the system administrator: failed work, and the stores."""

from __future__ import annotations

from django.core.paginator import Paginator
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import path
from django.views.decorators.http import require_POST, require_safe

from portal.accounts import access
from portal.accounts.http import UserRequest
from portal.holdings.models import StoreCheck
from portal.images import checking, objects
from portal.jobs import services as jobs
from portal.jobs.models import Job, JobState

_PAGE = 50
_CHECKS = 10


@require_safe
def job_list(request: UserRequest) -> HttpResponse:
    failed = access.visible(Job, request.user).filter(state=JobState.FAILED).order_by("-finished", "-pk")
    page = Paginator(failed, _PAGE).get_page(request.GET.get("page"))
    return render(request, "people/jobs.html", {"page": page})


@require_POST
def job_retry(request: UserRequest, job_id: int) -> HttpResponse:
    access.require(request.user, "retry_job")
    jobs.retry(job=access.get_visible(Job, request.user, job_id), actor_id=request.user.pk)
    return redirect("job_list")


@require_safe
def store_list(request: UserRequest) -> HttpResponse:
    """The newest checks of the stores, and what the last one found."""
    checks = access.visible(StoreCheck, request.user).order_by("-pk")[:_CHECKS]
    context = {"checks": checks, "last": checks.first(), "kept": checking.KEPT, "objects": objects.in_use()}
    return render(request, "people/store.html", {**context, "trouble": objects.trouble() if context["objects"] else ""})


@require_POST
def store_check(request: UserRequest) -> HttpResponse:
    access.require(request.user, "retry_job")
    checking.begin(actor_id=request.user.pk)
    return redirect("store_list")


urls = [
    path("jobs/", job_list, name="job_list"),
    path("jobs/<int:job_id>/retry/", job_retry, name="job_retry"),
    path("store/", store_list, name="store_list"),
    path("store/check/", store_check, name="store_check"),
]
