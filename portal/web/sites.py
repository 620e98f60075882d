"""The page of one site: what it sent, what became of it, what is awaited, how much it may hold, who works there."""

from __future__ import annotations

from django import forms
from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import path
from django.views.decorators.http import require_POST, require_safe

from portal.accounts import access
from portal.accounts import selectors as accounts
from portal.accounts.http import UserRequest
from portal.accounts.models import Site
from portal.holdings import selectors as holdings
from portal.holdings import services
from portal.holdings.models import SiteHolding
from portal.web import unseen
from portal.web.site_selectors import site_page

_GB = 10**9


class LimitsForm(forms.Form):
    """A site's own limits; empty for the installation's."""

    gigabytes = forms.FloatField(required=False, min_value=0, max_value=10**9, label="GB stored")
    max_files = forms.IntegerField(required=False, min_value=0, max_value=10**12, label="Files stored")
    max_in_work = forms.IntegerField(required=False, min_value=0, max_value=10**9, label="Images in work at once")

    def limits(self) -> dict[str, int | None]:
        data = self.cleaned_data
        whole = None if data["gigabytes"] is None else round(data["gigabytes"] * _GB)
        return {"max_bytes": whole, "max_files": data["max_files"], "max_in_work": data["max_in_work"]}

    @classmethod
    def of(cls, held: SiteHolding) -> LimitsForm:
        shown = None if held.max_bytes is None else held.max_bytes / _GB
        return cls(initial={"gigabytes": shown, "max_files": held.max_files, "max_in_work": held.max_in_work})


@require_safe
def site(request: UserRequest, site_id: int) -> HttpResponse:
    found = access.get_visible(Site, request.user, site_id)
    return _page(request, found, LimitsForm.of(holdings.holding(found.pk)))


@require_POST
def site_limits(request: UserRequest, site_id: int) -> HttpResponse:
    access.require(request.user, "manage_sites")
    found = access.get_visible(Site, request.user, site_id)
    form = LimitsForm(request.POST)
    if not form.is_valid():
        return _page(request, found, form, status=400)
    services.set_limits(site=found, actor=request.user, **form.limits())
    messages.success(request, "The limits hold from now on. What is stored already stays.")
    return redirect("site", site_id=site_id)


def _page(request: UserRequest, found: Site, form: LimitsForm, *, status: int = 200) -> HttpResponse:
    context = {
        "site": found, "shown": site_page(found), "unseen": unseen.of_site(found), "held": accounts.people_of(found), "form": form,
        "may_manage": access.can(request.user, "invite"), "may_limit": access.can(request.user, "manage_sites"),
        "may_correct": access.can(request.user, "correct", site=found.pk),
        "may_see_models": access.has_role(request.user, access.ADMINS),
    }  # fmt: skip
    return render(request, "people/site.html", context, status=status)


urls = [
    path("sites/<int:site_id>/", site, name="site"),
    path("sites/<int:site_id>/limits/", site_limits, name="site_limits"),
]
