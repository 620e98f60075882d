"""The page of the audit trail: searched, page by page, as CSV; and whether its chain is whole. A site's lead sees the own site's events."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

from django import forms
from django.http import HttpResponse, StreamingHttpResponse
from django.shortcuts import render
from django.urls import NoReverseMatch, path, reverse
from django.views.decorators.http import require_safe

from portal.accounts import access
from portal.accounts import selectors as accounts
from portal.accounts.http import UserRequest
from portal.accounts.models import Role, Site
from portal.audit import search
from portal.audit.models import AuditEvent
from portal.audit.selectors import chain_state
from portal.audit.services import record
from portal.core.errors import BadInput
from portal.datasets.exports import csv_row
from portal.web.trail import in_words

_PAGE = 50
_CSV_MOST = 100_000
_COLUMNS = ("event", "when", "who", "action", "subject", "number", "site", "details")
_PAGES = {
    "images.Image": "image", "images.Upload": "upload", "images.Patient": "patient", "accounts.Site": "site", "accounts.User": "person",
    "datasets.Snapshot": "snapshot", "learning.TrainingRun": "run", "registry.ModelVersion": "model", "holdings.Erasure": "erasure",
}  # fmt: skip
"""The page of each sort of subject that has one."""


class AuditForm(forms.Form):
    """What is looked for. The choices of sites are the visible ones."""

    who = forms.CharField(required=False, max_length=80, label="Who", help_text="A name, or: system")
    action = forms.CharField(required=False, max_length=80, label="What was done")
    subject = forms.CharField(required=False, max_length=80, widget=forms.TextInput({"placeholder": "images.Image:12"}))
    site = forms.ModelChoiceField(Site.objects.none(), required=False, empty_label="any")
    since = forms.DateField(required=False, widget=forms.DateInput({"type": "date"}), label="From")
    until = forms.DateField(required=False, widget=forms.DateInput({"type": "date"}), label="To")
    words = forms.CharField(required=False, max_length=80, label="In the details")
    before = forms.IntegerField(required=False, min_value=1, max_value=2**62, widget=forms.HiddenInput)

    def __init__(self, request: UserRequest) -> None:
        super().__init__(request.GET if request.GET.get("before", "").isdecimal() else {**request.GET.dict(), "before": ""})
        self.is_admin = access.has_role(request.user, frozenset({Role.SYSTEM_ADMIN}))
        self.fields["site"].queryset = access.visible(Site, request.user).order_by("name")  # type: ignore[attr-defined]

    def wanted(self) -> search.Wanted:
        if not self.is_valid():
            raise BadInput("This search could not be understood: look at the days and numbers in it.")
        data = self.cleaned_data
        site = data["site"].pk if data["site"] else None
        words = {name: data[name] for name in ("action", "subject", "since", "until", "words", "before")}
        who = data["who"].strip()
        by_system = who.lower() in ("system", "the system")
        actors = accounts.called(who, by_email=self.is_admin) if who and not by_system else None
        return search.Wanted(actors=actors, by_system=by_system, site=site, **words)


@require_safe
def audit_list(request: UserRequest) -> HttpResponse:
    access.require(request.user, "see_audit")
    form = AuditForm(request)
    events = search.find(access.visible(AuditEvent, request.user), form.wanted(), limit=_PAGE + 1)
    kept = {name: value for name, value in request.GET.items() if name != "before" and value}
    following = urlencode({**kept, "before": events[_PAGE - 1].pk}) if len(events) > _PAGE else ""
    shown = {
        "lines": list(_lines(events[:_PAGE], request)), "form": form, "following": following, "query": urlencode(kept),
        "chain": chain_state(), "counts_all": form.is_admin, "most": _CSV_MOST, "deep": search.DEEP,
    }  # fmt: skip
    return render(request, "people/audit.html", shown)


def _lines(events: Sequence[AuditEvent], request: UserRequest) -> Iterator[Mapping[str, Any]]:
    names = accounts.names({event.actor_id for event in events if event.actor_id})
    sites = dict(
        access.visible(Site, request.user).filter(pk__in={event.site_id for event in events if event.site_id}).values_list("pk", "name")
    )
    for event in events:
        yield {
            "event": event, "who": names.get(event.actor_id or 0, "the system" if event.actor_id is None else f"person {event.actor_id}"),
            "site": sites.get(event.site_id or 0, ""), "page": _page_of(event, request),
            "details": in_words(event.details),
        }  # fmt: skip


def _page_of(event: AuditEvent, request: UserRequest) -> str:
    """Where the subject is shown, if this person reaches that page."""
    route = _PAGES.get(event.subject_type, "")
    if not route or event.subject_id is None or not access.reaches(request.user, route):
        return ""
    try:
        return reverse(route, args=[event.subject_id])
    except NoReverseMatch:
        return ""


@require_safe
def audit_csv(request: UserRequest) -> StreamingHttpResponse:
    """The same search as CSV, the newest first. Who takes the trail away is in it."""
    access.require(request.user, "see_audit")
    found = search.matching(access.visible(AuditEvent, request.user), AuditForm(request).wanted())
    own = sorted(access.sites(request.user, access.LEADS))
    taken = record(actor_id=request.user.pk, action="export.audit", subject=request.user, site_id=own[0] if len(own) == 1 else None)
    # what is asked for is the trail as it was before this was asked
    rows = found.exclude(pk=taken.pk)[:_CSV_MOST]
    response = StreamingHttpResponse(_csv(rows.iterator(chunk_size=2_000)), content_type="text/csv; charset=utf-8")
    response["Content-Disposition"] = 'attachment; filename="audit.csv"'
    response["Cache-Control"] = "no-store"
    return response


def _csv(events: Iterator[AuditEvent]) -> Iterator[bytes]:
    yield csv_row(_COLUMNS)
    names: dict[int, str] = {}
    for event in events:
        if event.actor_id and event.actor_id not in names:
            names |= accounts.names({event.actor_id})
        who = names.get(event.actor_id or 0, "the system" if event.actor_id is None else f"person {event.actor_id}")
        subject = (event.subject_type, str(event.subject_id or ""), str(event.site_id or ""))
        yield csv_row((str(event.pk), event.created.isoformat(), who, event.action, *subject, json.dumps(event.details, sort_keys=True)))


urls = [path("audit/", audit_list, name="audit_list"), path("audit/events.csv", audit_csv, name="audit_csv")]
