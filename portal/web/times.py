"""When I read: a reader's own absences, limits and reminders, and how their qualification went."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import path
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from portal.accounts.http import UserRequest
from portal.core.errors import BadInput
from portal.reviews import rest, standing
from portal.reviews.models import LANGUAGES
from portal.reviews.quality import qualification
from portal.reviews.room import digests
from portal.web.qualifying import shares

_OFTEN = {0: "never", 1: "every day", 3: "every three days", 7: "every week", 14: "every two weeks"}
_DAY = {"type": "date"}


class TimesForm(forms.Form):
    """What a reader may say of when they read. Whether it can be is the service's to say."""

    away_from = forms.DateField(required=False, label="First day away", widget=forms.DateInput(_DAY, format="%Y-%m-%d"))
    away_until = forms.DateField(required=False, label="Last day away", widget=forms.DateInput(_DAY, format="%Y-%m-%d"))
    at_most_a_day = forms.IntegerField(
        required=False, min_value=1, max_value=10_000, label="Pictures a day, at most", help_text="Empty: as many as there are."
    )
    digest_days = forms.TypedChoiceField(choices=[(days, _OFTEN[days]) for days in rest.DIGESTS], coerce=int, label="Remind me by e-mail")
    languages = forms.MultipleChoiceField(
        choices=LANGUAGES, required=False, widget=forms.CheckboxSelectMultiple, label="I write and read notes in",
        help_text="Adjudicators are first given questions whose notes they can read.",
    )  # fmt: skip

    def times(self) -> rest.Times:
        return rest.Times(**self.cleaned_data)


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def reading_when(request: UserRequest) -> HttpResponse:
    own = rest.of(request.user)
    initial: dict[str, Any] = {name: getattr(own, name) for name in TimesForm.base_fields}
    form = TimesForm(request.POST if request.method == "POST" else None, initial=initial)
    if request.method == "POST" and form.is_valid():
        try:
            rest.set_times(reader=request.user, times=form.times())
        except BadInput as refused:
            form.add_error(None, refused.message)
        else:
            messages.success(request, "Kept.")
            return redirect("reading_when")
    qualified = qualification.result(standing.of(request.user))
    context = {
        "form": form,
        "why": rest.why(request.user),
        "no_mail": not digests.can_send(),
        # not before the last answer: a count that moves with each would tell which was right
        "qualified": shares(qualified) if not qualified.left else None,
    }
    return render(request, "reading/when.html", context, status=400 if form.errors else 200)


urls = [path("reading/when/", reading_when, name="reading_when")]
