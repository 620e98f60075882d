"""Pages of metadata tables: the look before anything is written, the site's own words, a table to start from."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from typing import Any

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import path
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from portal.accounts import access
from portal.accounts.http import UserRequest
from portal.accounts.models import Site
from portal.core.errors import BadInput, WinnowError, WrongState
from portal.core.text import counted
from portal.datasets.exports import escaped
from portal.images import applying, forgetting, tables, wording, wordings
from portal.images.dry_run import dry_run
from portal.images.models import MetadataTable, Upload, Wording, WordingOf
from portal.ml import Kind

_NO_FILE = "No table was chosen. Choose a CSV or XLSX file."
_COLUMNS = [(name, f"{name.replace('_', ' ')}: {meaning}") for name, meaning in wording.MEANING.items()]
_KINDS = [(kind.value, kind.value.replace("_", " ")) for kind in Kind]


# ---- the look ---------------------------------------------------------------------------------------------------------


@require_POST
def table_check(request: UserRequest, upload_id: int) -> HttpResponse:
    """Take in the table of an upload, and go to the look at it."""
    upload = access.get_visible(Upload, request.user, upload_id)
    access.require(request.user, "correct", site=upload.site_id)
    return redirect("table", _held(request, upload.site, upload).pk)


@require_http_methods(["GET", "HEAD", "POST"])
def site_table(request: UserRequest, site_id: int) -> HttpResponse:
    """The same for a table about images that the site has sent already."""
    site = _own_site(request, site_id)
    error = None
    if request.method == "POST":
        try:
            return redirect("table", _held(request, site, None).pk)
        except BadInput as refused:
            error = refused
    context = {"site": site, "error": error, "applied": tables.applied_of_site(site), "forgotten": forgetting.forgotten_of(site)}
    return render(request, "metadata/site_table.html", context, status=error.status if error else 200)


def _held(request: UserRequest, site: Site, upload: Upload | None) -> MetadataTable:
    file = request.FILES.get("table")
    if file is None:
        raise BadInput(_NO_FILE)
    # one byte over the limit is enough for the service to refuse it
    data = file.read(tables.MAX_BYTES + 1)
    return tables.hold_table(site=site, upload=upload, data=data, name=file.name or "", actor=request.user)


@require_safe
def table(request: UserRequest, table_id: int) -> HttpResponse:
    """The look at a table; once somebody asked for it, how far it is and what became of it."""
    held = _own_table(request, table_id)
    work = applying.work_of(held)
    if work.live or held.applied:
        return render(request, "metadata/applying.html", _about(work))
    return _look(request, held, WrongState(held.refused) if held.refused else None, status=200)


@require_safe
def table_live(request: UserRequest, table_id: int) -> HttpResponse:
    """How far it is. Asked again and again until it has ended."""
    return render(request, "metadata/_applying.html", _about(applying.work_of(_own_table(request, table_id))))


def _about(work: applying.Work) -> dict[str, Any]:
    return {"held": work.held, "work": work, "said": said_of(work.held.said) if work.held.said else ""}


def _look(request: UserRequest, held: MetadataTable, error: WinnowError | None = None, *, status: int | None = None) -> HttpResponse:
    context = {
        "run": dry_run(held),
        "held": held,
        "error": error,
        "columns": _COLUMNS,
        "kinds": _KINDS,
        "devices": wordings.known_devices(held.site),
    }
    return render(request, "metadata/table.html", context, status=status or (error.status if error else 200))


@require_POST
def table_words(request: UserRequest, table_id: int) -> HttpResponse:
    """What was chosen for unknown columns and words is kept for the site, and the table is looked at anew."""
    held = _own_table(request, table_id)
    if sheet := request.POST.get("sheet", ""):
        tables.choose_sheet(held=held, sheet=sheet)
    try:
        changed = _remember(request, held.site)
    except BadInput as error:
        return _look(request, held, error)
    if changed:
        messages.success(
            request,
            f"Remembered for {held.site.name}, and used below: {counted(changed, 'word')} of yours.",
        )
    return redirect("table", held.pk)


@require_POST
def table_apply(request: UserRequest, table_id: int) -> HttpResponse:
    held = _own_table(request, table_id)
    try:
        applied = applying.apply_held(held=held, seen=request.POST.get("seen", ""), actor=request.user)
    except WrongState as error:
        if error.code != "changed_since":
            raise
        return _look(request, held, error)
    if applied is None:
        return redirect("table", held.pk)
    messages.success(request, said_of(applied.counts))
    for notice in applied.notices:
        messages.warning(request, notice)
    return redirect("upload", held.upload_id) if held.upload_id else redirect("site_table", held.site_id)


@require_POST
def table_stop(request: UserRequest, table_id: int) -> HttpResponse:
    """Nothing of it is applied; it is held as before."""
    held = _own_table(request, table_id)
    applying.stop(held=held, actor=request.user)
    messages.success(request, "The table is being stopped. Nothing of it will have been applied.")
    return redirect("table", held.pk)


@require_POST
def table_give_up(request: UserRequest, table_id: int) -> HttpResponse:
    held = _own_table(request, table_id)
    tables.give_up_table(held=held)
    messages.success(request, "The table was not applied, and nothing was changed. Choose another file.")
    return redirect("upload", held.upload_id) if held.upload_id else redirect("site_table", held.site_id)


def said_of(counts: Mapping[str, Any]) -> str:
    """What became of a table (`Applied.counts`), in one line."""
    rows, matched, waiting, remarks, versions = (counts[name] for name in ("rows", "matched", "waiting", "errors", "versions"))
    if counts["unchanged"]:
        known = f"all of these {rows:,} rows" if rows != 1 else "this row"
        return f"Nothing changed: the portal knew {known} already."
    said = (
        f"{counted(rows, 'row')} read: {matched:,} found {'its' if matched == 1 else 'their'} file, "
        f"{waiting:,} {'waits' if waiting == 1 else 'wait'} for one, {remarks:,} {'has' if remarks == 1 else 'have'} remarks."
    )
    if not versions:
        return said
    were = "was" if versions == 1 else "were"
    return f"{said} {counted(versions, 'image')} {were} corrected; what was said before stays in the story of each."


# ---- the site's own words ---------------------------------------------------------------------------------------------


@require_http_methods(["GET", "HEAD", "POST"])
def wording_list(request: UserRequest, site_id: int) -> HttpResponse:
    """What the site's columns, kinds and devices are called; shown and changed."""
    site = _own_site(request, site_id)
    error = None
    if request.method == "POST":
        try:
            changed = _remember(request, site)
            messages.success(request, f"{counted(changed, 'word')} changed." if changed else "Nothing was changed.")
            return redirect("wording_list", site.pk)
        except BadInput as refused:
            error = refused
    words = wordings.wordings(site)
    context = {
        "site": site, "error": error, "columns": _COLUMNS, "kinds": _KINDS,
        "groups": [(of, [word for word in words if word.of == of]) for of in WordingOf],
    }  # fmt: skip
    return render(request, "metadata/words.html", context, status=error.status if error else 200)


@require_POST
def wording_forget(request: UserRequest, wording_id: int) -> HttpResponse:
    word = access.get_visible(Wording, request.user, wording_id)
    wordings.forget(word=word, actor=request.user)
    messages.success(request, f"'{word.theirs}' is forgotten: the next table asks about it again.")
    return redirect("wording_list", word.site_id)


def _remember(request: UserRequest, site: Site) -> int:
    """The pairs of a form: each word of theirs, and beside it what was chosen. A kind or device without a choice is left alone."""
    changed = 0
    for of in WordingOf:
        theirs, ours = request.POST.getlist(of.value), request.POST.getlist(f"{of.value}_as")
        chosen = {word: mine.strip() for word, mine in zip(theirs, ours, strict=False) if word and (mine.strip() or of == WordingOf.COLUMN)}
        changed += wordings.remember(site=site, of=of, chosen=chosen, actor=request.user) if chosen else 0
    return changed


@require_safe
def table_template(request: UserRequest, site_id: int) -> HttpResponse:
    """A table to start from, under the site's own names of the columns."""
    site = _own_site(request, site_id)
    text = io.StringIO()
    csv.writer(text).writerow([escaped(name) for name in wordings.template(site)])
    response = HttpResponse("\ufeff" + text.getvalue(), content_type="text/csv; charset=utf-8")
    response["Content-Disposition"] = f'attachment; filename="{site.slug}-table.csv"'
    return response


def _own_site(request: UserRequest, site_id: int) -> Site:
    site = access.get_visible(Site, request.user, site_id)
    access.require(request.user, "correct", site=site.pk)
    return site


def _own_table(request: UserRequest, table_id: int) -> MetadataTable:
    """A table of the person's own site: its columns may hold more than pseudonyms, so that no administrator reads it."""
    held = access.get_visible(MetadataTable, request.user, table_id)
    access.require(request.user, "correct", site=held.site_id)
    return held


urls = [
    path("uploads/<int:upload_id>/table/check/", table_check, name="table_check"),
    path("sites/<int:site_id>/table/", site_table, name="site_table"),
    path("sites/<int:site_id>/template.csv", table_template, name="table_template"),
    path("sites/<int:site_id>/words/", wording_list, name="wording_list"),
    path("wordings/<int:wording_id>/forget/", wording_forget, name="wording_forget"),
    path("tables/<int:table_id>/", table, name="table"),
    path("tables/<int:table_id>/words/", table_words, name="table_words"),
    path("tables/<int:table_id>/apply/", table_apply, name="table_apply"),
    path("tables/<int:table_id>/live/", table_live, name="table_live"),
    path("tables/<int:table_id>/stop/", table_stop, name="table_stop"),
    path("tables/<int:table_id>/give-up/", table_give_up, name="table_give_up"),
]
