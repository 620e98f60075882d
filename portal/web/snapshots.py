"""Pages of data sets: snapshots, and the cleaned collection of each site."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django import forms
from django.http import HttpResponse, StreamingHttpResponse
from django.shortcuts import redirect, render
from django.urls import path
from django.utils.text import slugify
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from portal.accounts import access
from portal.accounts.http import UserRequest
from portal.accounts.models import Site, User
from portal.core.errors import BadInput, WrongState
from portal.datasets import collection as collections
from portal.datasets import exports, selectors, services
from portal.datasets.models import Snapshot, SnapshotState
from portal.datasets.query import HUMAN_ONLY, WITH_AUTOMATIC, Query
from portal.ml import Kind
from portal.web import tables


class QueryForm(forms.Form):
    """What a snapshot would hold."""

    sites = forms.ModelMultipleChoiceField(
        Site.objects.none(), required=False, widget=forms.CheckboxSelectMultiple, help_text="None ticked: every site."
    )
    kinds = forms.MultipleChoiceField(
        choices=[(kind.value, kind.value.replace("_", " ")) for kind in Kind],
        required=False,
        widget=forms.CheckboxSelectMultiple,
        help_text="None ticked: every kind.",
    )
    provenances = forms.ChoiceField(
        choices=[(HUMAN_ONLY, "settled by people only"), (WITH_AUTOMATIC, "with automatic labels")],
        initial=HUMAN_ONLY,
        widget=forms.RadioSelect,
        label="Labels",
        help_text="Automatic labels may train; no figure is reported on them.",
    )
    hold_out = forms.ModelChoiceField(
        Site.objects.none(),
        required=False,
        empty_label="none",
        label="Hold out a site",
        help_text="Its patients become the test split.",
    )

    def __init__(self, user: User, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name in ("sites", "hold_out"):
            self.fields[name].queryset = access.visible(Site, user).order_by("name")  # type: ignore[attr-defined]

    def query(self) -> Query:
        data = self.cleaned_data
        hold_out = data["hold_out"]
        return Query(
            sites=tuple(sorted(site.pk for site in data["sites"])),
            kinds=tuple(data["kinds"]),
            provenances=data["provenances"],
            hold_out=hold_out.pk if hold_out else None,
        )


class SnapshotForm(QueryForm):
    name = forms.CharField(max_length=120, help_text="How people will speak of it, e.g. “spring 2027, all sites”.")
    field_order = ("name", "sites", "kinds", "provenances", "hold_out")


@require_GET
def snapshot_list(request: UserRequest) -> HttpResponse:
    rows = access.visible(Snapshot, request.user).select_related("created_by").order_by("-id")
    return render(request, "snapshots/list.html", {"snapshots": rows, "may_freeze": access.can(request.user, "freeze")})


@require_http_methods(["GET", "POST"])
def snapshot_new(request: UserRequest) -> HttpResponse:
    access.require(request.user, "freeze")
    form = SnapshotForm(request.user, request.POST or None, initial={"provenances": HUMAN_ONLY})
    if request.method == "POST" and form.is_valid():
        try:
            made = services.create_snapshot(name=form.cleaned_data["name"], query=form.query(), actor=request.user)
            return redirect("snapshot", snapshot_id=made.pk)
        except (BadInput, WrongState) as error:
            form.add_error(None, error.message)
    return render(request, "snapshots/new.html", {"form": form}, status=400 if form.errors else 200)


@require_GET
def snapshot_preview(request: UserRequest) -> HttpResponse:
    """What the form, as it stands, would choose."""
    access.require(request.user, "freeze")
    form = QueryForm(request.user, request.GET)
    if not form.is_valid():
        return render(request, "snapshots/_preview.html", {"form": form})
    found = services.preview(form.query())
    return render(request, "snapshots/_preview.html", _composition(found) | {"found": found})


def _composition(counts: dict[str, Any]) -> dict[str, Any]:
    return {"tables": tables.composition(counts), "chart": tables.composition_chart(counts)}


@require_GET
def snapshot(request: UserRequest, snapshot_id: int) -> HttpResponse:
    found = access.get_visible(Snapshot, request.user, snapshot_id)
    asked, taken_back = selectors.said(Query.from_json(found.query)), selectors.taken_back(found)
    shown = {"snapshot": found, "asked": asked, "runs": found.runs.order_by("-id"), "taken_back": taken_back}
    shown["known_since"] = selectors.known_since(found)
    return render(request, "snapshots/snapshot.html", {**shown, **_rights(request.user), **_composition(found.counts)})


@require_GET
def snapshot_state(request: UserRequest, snapshot_id: int) -> HttpResponse:
    """The part of the page that changes while the folder is written; it polls itself until then."""
    found = access.get_visible(Snapshot, request.user, snapshot_id)
    return render(request, "snapshots/_state.html", {"snapshot": found, **_rights(request.user)})


def _rights(user: User) -> dict[str, bool]:
    return {"may_freeze": access.can(user, "freeze"), "may_train": access.can(user, "train")}


@require_POST
def snapshot_retry(request: UserRequest, snapshot_id: int) -> HttpResponse:
    access.require(request.user, "freeze")
    services.retry_snapshot(snapshot=access.get_visible(Snapshot, request.user, snapshot_id), actor=request.user)
    return redirect("snapshot", snapshot_id=snapshot_id)


@require_GET
def snapshot_csv(request: UserRequest, snapshot_id: int) -> StreamingHttpResponse:
    found = _exported(request, snapshot_id, "snapshot_csv")
    return _download(exports.csv_lines(collections.of_snapshot(found)), f"snapshot-{slugify(found.name)}.csv", "text/csv; charset=utf-8")


@require_GET
def snapshot_zip(request: UserRequest, snapshot_id: int) -> StreamingHttpResponse:
    found = _exported(request, snapshot_id, "snapshot_zip")
    title = f"Snapshot {found.name} ({found.hash})"
    pieces = exports.zip_of_regular(collections.of_snapshot(found), title=title, taken_back=selectors.taken_back(found)[0])
    return _download(pieces, f"snapshot-{slugify(found.name)}-regular.zip", "application/zip")


def _exported(request: UserRequest, snapshot_id: int, what: str) -> Snapshot:
    found = access.get_visible(Snapshot, request.user, snapshot_id)
    if found.state != SnapshotState.FROZEN:
        raise WrongState("This snapshot is not frozen yet. Wait until its folder is written.")
    services.record_export(subject=found, what=what, actor=request.user)
    return found


@require_GET
def collection(request: UserRequest) -> HttpResponse:
    """The cleaned collection of every site whose collection this person may take out."""
    sites = [site for site in access.visible(Site, request.user).order_by("name") if access.can(request.user, "export_site", site=site.pk)]
    counts = selectors.site_counts([site.pk for site in sites])
    return render(request, "snapshots/collection.html", {"sites": [(site, counts[site.pk]) for site in sites]})


@require_GET
def collection_csv(request: UserRequest, site_id: int) -> StreamingHttpResponse:
    site = _exported_site(request, site_id, "site_csv")
    return _download(exports.csv_lines(collections.of_site(site)), f"collection-{site.slug}.csv", "text/csv; charset=utf-8")


@require_GET
def collection_zip(request: UserRequest, site_id: int) -> StreamingHttpResponse:
    site = _exported_site(request, site_id, "site_zip")
    pieces = exports.zip_of_regular(collections.of_site(site), title=f"The cleaned collection of {site.name}")
    return _download(pieces, f"collection-{site.slug}-regular.zip", "application/zip")


def _exported_site(request: UserRequest, site_id: int, what: str) -> Site:
    site = access.get_visible(Site, request.user, site_id)
    access.require(request.user, "export_site", site=site.pk)
    services.record_export(subject=site, what=what, actor=request.user)
    return site


def _download(pieces: Iterator[bytes], name: str, content_type: str) -> StreamingHttpResponse:
    headers = {"Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": "no-store"}
    return StreamingHttpResponse((piece for piece in pieces if piece), content_type=content_type, headers=headers)


urls = [
    path("snapshots/", snapshot_list, name="snapshot_list"),
    path("snapshots/new/", snapshot_new, name="snapshot_new"),
    path("snapshots/preview/", snapshot_preview, name="snapshot_preview"),
    path("snapshots/<int:snapshot_id>/", snapshot, name="snapshot"),
    path("snapshots/<int:snapshot_id>/state/", snapshot_state, name="snapshot_state"),
    path("snapshots/<int:snapshot_id>/retry/", snapshot_retry, name="snapshot_retry"),
    path("snapshots/<int:snapshot_id>/images.csv", snapshot_csv, name="snapshot_csv"),
    path("snapshots/<int:snapshot_id>/regular.zip", snapshot_zip, name="snapshot_zip"),
    path("collection/", collection, name="collection"),
    path("collection/<int:site_id>/images.csv", collection_csv, name="collection_csv"),
    path("collection/<int:site_id>/regular.zip", collection_zip, name="collection_zip"),
]
