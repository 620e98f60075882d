"""Pages of uploads, what the sender's script talks to, and the pictures themselves."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

from django import forms
from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponse, JsonResponse, StreamingHttpResponse
from django.shortcuts import redirect, render
from django.urls import path, reverse
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from portal.accounts import access
from portal.accounts.http import UserRequest
from portal.accounts.models import Site
from portal.core.errors import BadInput
from portal.core.text import counted, number
from portal.datasets.exports import escaped
from portal.images import advice, applying, forgetting, room, seen, selectors, services
from portal.images.models import FileOutcome, Image, MetadataTable, Upload, UploadFile
from portal.images.tables import MAX_BYTES
from portal.web import outcomes
from portal.web.metadata import said_of

_SHOWN = (("", "all"), ("problems", "problems"), *((o.value, o.label) for o in FileOutcome))
_ROW_COLUMNS = (
    "file", "outcome", "message", "state", "reason", "image", "patient", "exam", "device", "stated_kind", "table_row", "table_error",
    "findings", "near_duplicate_of", "advice",
)  # fmt: skip


class UploadForm(forms.Form):
    """Where the images go. The choices are the sender's own sites."""

    site = forms.ModelChoiceField(Site.objects.none(), empty_label=None)
    note = forms.CharField(required=False, max_length=200, help_text="For yourself, for instance: clinic of May, new camera.")
    expected = forms.IntegerField(required=False, min_value=0, widget=forms.HiddenInput)

    def __init__(self, request: UserRequest, data: Any = None) -> None:
        super().__init__(data)
        self.fields["site"].queryset = selectors.upload_sites(request.user)  # type: ignore[attr-defined]


# ---- pages ------------------------------------------------------------------------------------------------------------


@require_safe
def upload_list(request: UserRequest) -> HttpResponse:
    uploads = selectors.uploads(request.user, before=_number(request, "before"), size=selectors.UPLOADS_PAGE + 1)
    page, more = uploads[: selectors.UPLOADS_PAGE], len(uploads) > selectors.UPLOADS_PAGE
    context = {"uploads": page, "next_before": page[-1].pk if more else None, "may_upload": access.can(request.user, "upload")}
    return render(request, "uploads/list.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
def upload_new(request: UserRequest) -> HttpResponse:
    """The form; sent by the script it answers with the addresses to send to, sent without it with the upload's page."""
    form = UploadForm(request, request.POST if request.method == "POST" else None)
    if not form.is_valid():
        return _form_again(request, form)
    said = form.cleaned_data
    upload = services.open_upload(site=said["site"], actor=request.user, note=said["note"], expected=said["expected"] or 0)
    return JsonResponse(_addresses(upload), status=201) if _wants_json(request) else redirect("upload", upload.pk)


def _form_again(request: UserRequest, form: UploadForm) -> HttpResponse:
    if form.is_bound and _wants_json(request):
        raise BadInput(" ".join(str(error) for errors in form.errors.values() for error in errors))
    begun = [
        {**_addresses(upload), "site": upload.site_id, "opened": f"{upload.created:%-d %b %Y}"}
        for upload in selectors.open_uploads(request.user)
    ]
    sites = list(form.fields["site"].queryset)  # type: ignore[attr-defined]
    rooms = [(site, room.lines(site.pk)) for site in sites]
    context = {"form": form, **_limit(), "one_site": len(sites) == 1, "rooms": rooms, "open_uploads": begun}
    return render(request, "uploads/new.html", context, status=400 if form.is_bound else 200)


@require_safe
def upload(request: UserRequest, upload_id: int) -> HttpResponse:
    context = _context(request, _visible(request, upload_id))
    seen.shown(images=_pictured(context), actor=request.user, where=f"upload {upload_id}")
    return render(request, "uploads/upload.html", context)


def _pictured(context: dict[str, Any]) -> list[Image]:
    return [file.image for file in context["files"] if file.image]


@require_safe
def upload_live(request: UserRequest, upload_id: int) -> HttpResponse:
    """The counts and one page of rows. Asked again and again until nothing is in work."""
    context = _context(request, _visible(request, upload_id))
    seen.shown(images=_pictured(context), actor=request.user, where=f"upload {upload_id}", again=False)
    return render(request, "uploads/_live.html", context)


def _context(request: UserRequest, found: Upload) -> dict[str, Any]:
    shown = request.GET.get("show", "")
    shown = shown if shown in dict(_SHOWN) or shown in outcomes.NAMES else ""
    seen = outcomes.findings(found)
    only_images = seen.having(shown) if shown in outcomes.NAMES else None
    files = selectors.upload_files(
        found, only="" if only_images is not None else shown, images=only_images, after=_number(request, "after") or 0
    )
    counts = selectors.upload_counts(found)
    page = files[: selectors.FILES_PAGE]
    _with_findings(page, seen)
    more = urlencode({"show": shown, "after": page[-1].pk}) if len(files) > selectors.FILES_PAGE else ""
    archives = selectors.unpacking(found) if counts["unpacking"] else []
    table = applying.newest_of(found)
    done = counts["accepted"] - counts["in_work"]
    return {
        "upload": found, "counts": counts, "files": page, "more": more, "shown": shown, "choices": _SHOWN, "done": done,
        "query": urlencode({"show": shown, "after": _number(request, "after") or 0}), "first_page": not _number(request, "after"),
        "open": not found.closed and not found.cancelled, "may_upload": access.can(request.user, "upload", site=found.site_id),
        "rows_since": forgetting.rows_waiting_since(found) if counts["missing"] or counts["expected"] else None,
        "silence": selectors.silence_in(found) if counts["in_work"] else None,
        "archives": archives, "table": table, "table_said": said_of(table.held.said) if table and table.held.said else "",
        "busy": bool(counts["in_work"] or archives or (table and table.live)), "ended": bool(found.closed or found.cancelled), **_limit(),
        "addresses": _addresses(found),
        "finding_counts": seen.counts().items(), "retake": outcomes.to_retake(found, seen),
    }  # fmt: skip


def _with_findings(files: list[UploadFile], seen: outcomes.Findings) -> None:
    """Give each file what is wrong with its picture, so that it can be taken again while the patient is there."""
    for file in files:
        own = file.image_id if file.image_id and file.outcome == FileOutcome.ACCEPTED else 0
        codes = seen.by_image.get(own, ())
        file.findings = [code for code in codes if code in outcomes.ADVICE and code != "other_patient"]  # type: ignore[attr-defined]
        file.near = seen.near.get(own, ())  # type: ignore[attr-defined]


@require_safe
def upload_retake(request: UserRequest, upload_id: int) -> HttpResponse:
    """What to take again, as a list to print."""
    found = _visible(request, upload_id)
    retake = outcomes.to_retake(found, outcomes.findings(found))
    return render(request, "uploads/retake.html", {"upload": found, "retake": retake, "printed": True})


@require_POST
def advice_dismiss(request: UserRequest, file_id: int) -> HttpResponse:
    """One item of the list is done. The script gets the list anew."""
    file = access.get_visible(UploadFile, request.user, file_id)
    advice.dismiss_advice(file=file, actor=request.user)
    if request.headers.get("HX-Request") != "true":
        return redirect("upload", file.upload_id)
    return render(request, "uploads/_live.html", _context(request, file.upload))


@require_safe
def upload_outcomes(request: UserRequest, upload_id: int) -> StreamingHttpResponse:
    """Every file and row of the table with what became of it, as CSV."""
    found = _visible(request, upload_id)
    lines = _lines(selectors.upload_files(found, size=None), outcomes.findings(found))
    response = StreamingHttpResponse(lines, content_type="text/csv; charset=utf-8")
    response["Content-Disposition"] = f'attachment; filename="upload-{found.pk}.csv"'
    return response


def _lines(files: list[UploadFile], seen: outcomes.Findings) -> Iterator[bytes]:
    yield _line(_ROW_COLUMNS)
    for file in files:
        image = file.image
        exam = image.exam if image else None
        outcome = (file.name, file.outcome, file.message)
        state = (image.state, image.state_reason, image.pk) if image else ("", "", "")
        patient = (exam.patient.code, exam.code) if exam else (file.patient_code, file.exam_code)
        said = (image.device, image.stated_kind) if image else (file.device, file.stated_kind)
        yield _line((*outcome, *state, *patient, *said, file.table_row or "", file.table_error, *_seen(file, seen)))


def _seen(file: UploadFile, seen: outcomes.Findings) -> tuple[str, str, str]:
    """Findings by their names, the near-duplicates' images, and what to do at the camera."""
    own = file.image_id if file.image_id and file.outcome == FileOutcome.ACCEPTED else 0
    codes = seen.by_image.get(own, ())
    near = "; ".join(str(one.other.pk) for one in seen.near.get(own, ()))
    return (
        "; ".join(outcomes.NAMES[code] for code in codes),
        near,
        " ".join(outcomes.ADVICE[code] for code in codes if code in outcomes.ADVICE),
    )


def _line(cells: Any) -> bytes:
    text = io.StringIO()
    csv.writer(text).writerow([escaped(str(cell)) for cell in cells])
    return text.getvalue().encode()


# ---- sending ----------------------------------------------------------------------------------------------------------


@require_POST
def upload_table(request: UserRequest, upload_id: int) -> HttpResponse:
    """The metadata table, from the script or from the plain form of the upload's page."""
    found = _own(request, upload_id)
    file = request.FILES.get("table")
    if file is None:
        raise BadInput("No table was chosen. Choose a CSV or XLSX file with the columns file, patient, exam, device, stated_kind.")
    # one byte over the limit is enough for the service to refuse it
    applied = applying.take_table(upload=found, data=file.read(MAX_BYTES + 1), actor=request.user, name=file.name or "")
    if _wants_json(request):
        said, status = applying.for_programs(applied)
        return JsonResponse(said, status=status)
    if isinstance(applied, MetadataTable):
        messages.success(request, applying.later(applied))
        return redirect("upload", found.pk)
    messages.success(request, said_of(applied.counts))
    for notice in applied.notices:
        messages.warning(request, notice)
    return redirect("upload", found.pk)


@require_POST
def upload_rows_forget(request: UserRequest, upload_id: int) -> HttpResponse:
    gone = forgetting.forget_rows(upload=_own(request, upload_id), actor=request.user)
    messages.success(request, f"Removed: {counted(gone, 'row')} of the table without a file.")
    return redirect("upload", upload_id)


@require_POST
def upload_close(request: UserRequest, upload_id: int) -> HttpResponse:
    found = services.close_upload(upload=_own(request, upload_id), actor=request.user)
    return JsonResponse({"page": reverse("upload", args=[found.pk])}) if _wants_json(request) else redirect("upload", found.pk)


@require_POST
def upload_cancel(request: UserRequest, upload_id: int) -> HttpResponse:
    found = services.cancel_upload(upload=_own(request, upload_id), actor=request.user)
    return redirect("upload", found.pk)


# ---- small things -----------------------------------------------------------------------------------------------------


def _visible(request: UserRequest, upload_id: int) -> Upload:
    return access.get_visible(Upload, request.user, upload_id)


def _own(request: UserRequest, upload_id: int) -> Upload:
    """An upload that this person may add to."""
    found = _visible(request, upload_id)
    access.require(request.user, "upload", site=found.site_id)
    return found


def _addresses(upload: Upload) -> dict[str, Any]:
    ways = {
        "files": "upload_file",
        "held": "upload_held",
        "tus": "upload_tus",
        "table": "upload_table",
        "close": "upload_close",
        "page": "upload",
    }
    return {"upload": upload.pk, **{name: reverse(route, args=[upload.pk]) for name, route in ways.items()}}


def _limit() -> dict[str, float]:
    return {"max_megabytes": settings.MAX_FILE_BYTES // 10**6, "max_archive_gigabytes": settings.MAX_ARCHIVE_BYTES / 10**9}


def _wants_json(request: HttpRequest) -> bool:
    return request.headers.get("Accept", "").startswith("application/json")


def _number(request: HttpRequest, name: str) -> int | None:
    return number(request.GET.get(name, ""))


urls = [
    path("uploads/", upload_list, name="upload_list"),
    path("uploads/new/", upload_new, name="upload_new"),
    path("uploads/<int:upload_id>/", upload, name="upload"),
    path("uploads/<int:upload_id>/live/", upload_live, name="upload_live"),
    path("uploads/<int:upload_id>/retake/", upload_retake, name="upload_retake"),
    path("uploads/advice/<int:file_id>/dismiss/", advice_dismiss, name="advice_dismiss"),
    path("uploads/<int:upload_id>/outcomes.csv", upload_outcomes, name="upload_outcomes"),
    path("uploads/<int:upload_id>/table/", upload_table, name="upload_table"),
    path("uploads/<int:upload_id>/rows/forget/", upload_rows_forget, name="upload_rows_forget"),
    path("uploads/<int:upload_id>/close/", upload_close, name="upload_close"),
    path("uploads/<int:upload_id>/cancel/", upload_cancel, name="upload_cancel"),
]
