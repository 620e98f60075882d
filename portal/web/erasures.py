"""Pages of taking back: a patient, an exam or an image, withdrawn or erased; and the erasures' tombstones."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.http import HttpResponse, StreamingHttpResponse
from django.shortcuts import redirect, render
from django.urls import path, reverse
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from portal.accounts import access
from portal.accounts.http import UserRequest
from portal.accounts.models import Site
from portal.core.errors import BadInput
from portal.core.text import counted
from portal.datasets.exports import csv_row
from portal.erasure import services
from portal.erasure.subjects import Subject, of_exam, of_image, of_patient, used_in
from portal.holdings.models import ErasedFile, Erasure
from portal.images.models import OUT, Exam, Image, ImageState, Patient
from portal.jobs import selectors as jobs

_METHODS = ["GET", "HEAD", "POST"]


@require_http_methods(_METHODS)
def image_take_back(request: UserRequest, image_id: int) -> HttpResponse:
    return _take_back(request, of_image(access.get_visible(Image, request.user, image_id)), reverse("image", args=[image_id]))


@require_http_methods(_METHODS)
def exam_take_back(request: UserRequest, exam_id: int) -> HttpResponse:
    exam = access.get_visible(Exam, request.user, exam_id)
    return _take_back(request, of_exam(exam), reverse("patient", args=[exam.patient_id]))


@require_http_methods(_METHODS)
def patient_take_back(request: UserRequest, patient_id: int) -> HttpResponse:
    return _take_back(request, of_patient(access.get_visible(Patient, request.user, patient_id)), reverse("patient", args=[patient_id]))


def _take_back(request: UserRequest, subject: Subject, back: str) -> HttpResponse:
    access.require(request.user, "withdraw", site=subject.site_id)
    error = ""
    if request.method == "POST":
        try:
            return _do(request, subject, back)
        except BadInput as refused:
            error = refused.message
    ids = list(subject.images.values_list("pk", flat=True))
    shown = {
        "subject": subject, "back": back, "error": error, "images": len(ids), "used": used_in(ids),
        "left": subject.images.exclude(state__in=[*OUT, ImageState.REJECTED]).count(),
        "may_erase": access.can(request.user, "erase", site=subject.site_id), "may_see_hashes": _may_see_hashes(request),
    }  # fmt: skip
    return render(request, "erasure/take_back.html", shown, status=400 if error else 200)


def _do(request: UserRequest, subject: Subject, back: str) -> HttpResponse:
    if request.POST.get("what") == "erase":
        erasure = services.ask(subject=subject, typed=request.POST.get("typed", ""), actor=request.user)
        return redirect("erasure", erasure_id=erasure.pk)
    if request.POST.get("what") == "withdraw":
        count = services.withdraw_all(subject=subject, actor=request.user, reason=request.POST.get("reason", ""))
        messages.success(request, f"Withdrawn: {counted(count, 'image')}. No reader, data set or comparison gets them.")
        return redirect(back)
    raise BadInput("Choose whether to withdraw or to erase.")


@require_safe
def erasure_list(request: UserRequest, site_id: int) -> HttpResponse:
    site = access.get_visible(Site, request.user, site_id)
    rows = access.visible(Erasure, request.user).filter(site=site).select_related("asked_by").order_by("-pk")[:500]
    return render(request, "erasure/list.html", {"site": site, "erasures": rows})


@require_safe
def erasure(request: UserRequest, erasure_id: int) -> HttpResponse:
    found = access.get_visible(Erasure, request.user, erasure_id)
    shown = {
        "erasure": found,
        "used": found.used_in or used_in(found.images),
        "kept_out": ErasedFile.objects.filter(erasure=found).count(),
        "job": jobs.latest(kind="erase", subject_id=found.pk),
        "may_lift": access.can(request.user, "erase", site=found.site_id),
        "may_see_hashes": _may_see_hashes(request),
    }
    return render(request, "erasure/erasure.html", shown)


@require_safe
def erasure_csv(request: UserRequest, erasure_id: int) -> StreamingHttpResponse:
    """The data sets and models that used the images."""
    found = access.get_visible(Erasure, request.user, erasure_id)
    lines = _lines(found.used_in or used_in(found.images), hashes=_may_see_hashes(request))
    response = StreamingHttpResponse(lines, content_type="text/csv; charset=utf-8")
    response["Content-Disposition"] = f'attachment; filename="erasure-{found.pk}-used-in.csv"'
    return response


def _may_see_hashes(request: UserRequest) -> bool:
    """The hash of a data set is of what all sites have in it."""
    return access.has_role(request.user, access.ADMINS)


def _lines(used: dict[str, Any], *, hashes: bool) -> Any:
    yield csv_row(("what", "id", "name", "hash", "images", "how"))
    for one in used["data_sets"]:
        yield csv_row(("data set", str(one["id"]), one["name"], one["hash"] if hashes else "", str(one["images"]), "holds them"))
    for one in used["models"]:
        yield csv_row(("model", str(one["id"]), one["name"], one["hash"] if hashes else "", "", one["how"]))


@require_POST
def erasure_lift(request: UserRequest, erasure_id: int) -> HttpResponse:
    found = access.get_visible(Erasure, request.user, erasure_id)
    count = services.lift(erasure=found, actor=request.user)
    messages.success(request, f"{counted(count, 'file')} may be sent again. They come as new images.")
    return redirect("erasure", erasure_id=found.pk)


urls = [
    path("images/<int:image_id>/take-back/", image_take_back, name="image_take_back"),
    path("exams/<int:exam_id>/take-back/", exam_take_back, name="exam_take_back"),
    path("patients/<int:patient_id>/take-back/", patient_take_back, name="patient_take_back"),
    path("sites/<int:site_id>/erasures/", erasure_list, name="erasure_list"),
    path("erasures/<int:erasure_id>/", erasure, name="erasure"),
    path("erasures/<int:erasure_id>/used-in.csv", erasure_csv, name="erasure_csv"),
    path("erasures/<int:erasure_id>/lift/", erasure_lift, name="erasure_lift"),
]
