"""Pages of patients: the list, one patient with exams and images, and what is put right there."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import urlencode

from django import forms
from django.contrib import messages
from django.db.models import prefetch_related_objects
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import path
from django.views.decorators.http import require_POST, require_safe

from portal.accounts import access
from portal.accounts.http import UserRequest
from portal.accounts.models import Site
from portal.core.errors import BadInput, WinnowError, WrongState
from portal.core.text import counted, number
from portal.images import patients as reads
from portal.images import regrouping as writes
from portal.images import seen
from portal.images.models import Patient, Regrouping
from portal.web.selectors import CURRENT


class PatientFilterForm(forms.Form):
    """The list's filters. The choices of sites are the visible ones, so that nothing else is ever named."""

    code = forms.CharField(required=False, max_length=80, label="Patient")
    site = forms.ModelChoiceField(Site.objects.none(), required=False, empty_label="any")
    before = forms.IntegerField(required=False, min_value=1, widget=forms.HiddenInput)

    def wanted(self) -> reads.PatientFilter:
        data = self.cleaned_data
        return reads.PatientFilter(site=data["site"].pk if data["site"] else None, code=data["code"].strip(), before=data["before"])


@require_safe
def patient_list(request: UserRequest) -> HttpResponse:
    form = PatientFilterForm(request.GET)
    form.fields["site"].queryset = access.visible(Site, request.user).order_by("name")  # type: ignore[attr-defined]
    page = reads.patients(request.user, form.wanted() if form.is_valid() else reads.PatientFilter())
    kept = {name: value for name, value in request.GET.items() if name != "before" and value}
    following = urlencode({**kept, "before": page.next_before}) if page.next_before else ""
    return render(request, "patients/list.html", {"form": form, "page": page, "following": following, "filtered": bool(kept)})


@require_safe
def patient(request: UserRequest, patient_id: int) -> HttpResponse:
    return _page(request, access.get_visible(Patient, request.user, patient_id))


def _page(request: UserRequest, found: Patient, error: WinnowError | None = None) -> HttpResponse:
    """The patient's page; with an error, what was typed and marked stays."""
    chart = reads.chart(found)
    seen.shown(images=[image for visit in chart.visits for image in visit.images], actor=request.user, where=f"patient {found.pk}")
    may_take_back = access.can(request.user, "withdraw", site=found.site_id)
    prefetch_related_objects([image for visit in chart.visits for image in visit.images], *CURRENT)
    context = {
        "patient": found, "chart": chart, "error": error, "marked": _numbers(request, "image"), "typed": request.POST,
        "regroupings": reads.regroupings(found), "may_correct": access.can(request.user, "correct", site=found.site_id),
        "may_take_back": may_take_back,
    }  # fmt: skip
    return render(request, "patients/patient.html", context, status=error.status if error else 200)


# ---- wrong patient ----------------------------------------------------------------------------------------------------


@require_POST
def patient_move(request: UserRequest, patient_id: int) -> HttpResponse:
    def move(found: Patient, images: list[int]) -> writes.Done:
        return writes.move_images(source=found, images=images, to_code=request.POST.get("to", ""), actor=request.user)

    return _regrouped(request, patient_id, move, "{n} now {belong} to patient {code}.")


@require_POST
def patient_split(request: UserRequest, patient_id: int) -> HttpResponse:
    def split(found: Patient, images: list[int]) -> writes.Done:
        return writes.split_patient(source=found, images=images, new_code=request.POST.get("new", ""), actor=request.user)

    return _regrouped(request, patient_id, split, "{n} now {belong} to the new patient {code}.")


@require_POST
def patient_merge(request: UserRequest, patient_id: int) -> HttpResponse:
    def merge(found: Patient, _: list[int]) -> writes.Done:
        return writes.merge_patients(source=found, into_code=request.POST.get("into", ""), actor=request.user)

    return _regrouped(request, patient_id, merge, "Merged: {n} went to patient {code}, and so will whatever later tables say of this code.")


@require_POST
def regrouping_undo(request: UserRequest, regrouping_id: int) -> HttpResponse:
    found = access.get_visible(Regrouping, request.user, regrouping_id)
    access.require(request.user, "correct", site=found.site_id)
    done = writes.undo(regrouping=found, actor=request.user)
    messages.success(request, f"Undone: {counted(done.images, 'image')} went back to patient {done.target.code}.")
    return redirect("patient", found.source_id)


def _regrouped(request: UserRequest, patient_id: int, work: Callable[[Patient, list[int]], writes.Done], says: str) -> HttpResponse:
    """Do it and go to where the images are now; what was wrong is said on the patient's own page."""
    found = access.get_visible(Patient, request.user, patient_id)
    access.require(request.user, "correct", site=found.site_id)
    marked = [*_numbers(request, "image"), *reads.images_of_exams(found, _numbers(request, "exam"))]
    try:
        done = work(found, marked)
    except (BadInput, WrongState) as error:
        return _page(request, found, error)
    messages.success(
        request, says.format(n=counted(done.images, "image"), belong="belongs" if done.images == 1 else "belong", code=done.target.code)
    )
    return redirect("patient", done.target.pk)


def _numbers(request: UserRequest, name: str) -> list[int]:
    return [found for text in request.POST.getlist(name) if (found := number(text)) is not None]


urls = [
    path("patients/", patient_list, name="patient_list"),
    path("patients/<int:patient_id>/", patient, name="patient"),
    path("patients/<int:patient_id>/move/", patient_move, name="patient_move"),
    path("patients/<int:patient_id>/split/", patient_split, name="patient_split"),
    path("patients/<int:patient_id>/merge/", patient_merge, name="patient_merge"),
    path("regroupings/<int:regrouping_id>/undo/", regrouping_undo, name="regrouping_undo"),
]
