"""Pages of patients: the list, and one patient with exams and images."""

from __future__ import annotations

from urllib.parse import urlencode

from django import forms
from django.db.models import prefetch_related_objects
from django.http import HttpResponse
from django.shortcuts import render
from django.urls import path
from django.views.decorators.http import require_safe

from portal.accounts import access
from portal.accounts.http import UserRequest
from portal.accounts.models import Site
from portal.images import patients as reads
from portal.images import seen
from portal.images.models import Patient
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
    found = access.get_visible(Patient, request.user, patient_id)
    chart = reads.chart(found)
    seen.shown(images=[image for visit in chart.visits for image in visit.images], actor=request.user, where=f"patient {found.pk}")
    may_take_back = access.can(request.user, "withdraw", site=found.site_id)
    prefetch_related_objects([image for visit in chart.visits for image in visit.images], *CURRENT)
    return render(request, "patients/patient.html", {"patient": found, "chart": chart, "may_take_back": may_take_back})


urls = [
    path("patients/", patient_list, name="patient_list"),
    path("patients/<int:patient_id>/", patient, name="patient"),
]
