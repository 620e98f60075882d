"""Pages of uploads, what the sender's script talks to, and the pictures themselves."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from django import forms
from django.conf import settings
from django.contrib import messages
from django.http import FileResponse, HttpRequest, HttpResponse, JsonResponse, StreamingHttpResponse, UnreadablePostError
from django.shortcuts import redirect, render
from django.urls import path, reverse
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from portal.accounts import access
from portal.accounts.http import UserRequest
from portal.accounts.models import Site
from portal.core.errors import BadInput, NotVisible
from portal.datasets.exports import escaped
from portal.images import selectors, services, storage
from portal.images.models import FileOutcome, Image, Upload, UploadFile
from portal.images.tables import MAX_BYTES
from portal.web import selectors as joined
from portal.web.templatetags.winnow import ADVICE

_SHOWN = (("", "all"), ("problems", "problems"), *((o.value, o.label) for o in FileOutcome))
_ROW_COLUMNS = (
    "file", "outcome", "message", "state", "reason", "image", "patient", "exam", "device", "stated_kind", "table_row", "table_error",
)  # fmt: skip
_DRAIN = 64 << 20


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
    context = {"form": form, **_limit(), "one_site": form.fields["site"].queryset.count() == 1}  # type: ignore[attr-defined]
    return render(request, "uploads/new.html", context, status=400 if form.is_bound else 200)


@require_safe
def upload(request: UserRequest, upload_id: int) -> HttpResponse:
    return render(request, "uploads/upload.html", _context(request, _visible(request, upload_id)))


@require_safe
def upload_live(request: UserRequest, upload_id: int) -> HttpResponse:
    """The counts and one page of rows. Asked again and again until nothing is in work."""
    return render(request, "uploads/_live.html", _context(request, _visible(request, upload_id)))


def _context(request: UserRequest, found: Upload) -> dict[str, Any]:
    shown = request.GET.get("show", "")
    shown = shown if shown in dict(_SHOWN) else ""
    files = selectors.upload_files(found, only=shown, after=_number(request, "after") or 0)
    counts = selectors.upload_counts(found)
    page = files[: selectors.FILES_PAGE]
    _with_findings(page)
    more = urlencode({"show": shown, "after": page[-1].pk}) if len(files) > selectors.FILES_PAGE else ""
    done = counts["accepted"] - counts["in_work"]
    return {
        "upload": found, "counts": counts, "files": page, "more": more, "shown": shown, "choices": _SHOWN, "done": done,
        "query": urlencode({"show": shown, "after": _number(request, "after") or 0}), "first_page": not _number(request, "after"),
        "open": not found.closed and not found.cancelled, "may_upload": access.can(request.user, "upload", site=found.site_id),
        "live": bool(counts["in_work"]) or not (found.closed or found.cancelled), **_limit(),
        "addresses": _addresses(found),
    }  # fmt: skip


def _with_findings(files: list[UploadFile]) -> None:
    """Give each file what is wrong with its picture, so that it can be taken again while the patient is there."""
    found = joined.findings([file.image_id for file in files if file.image_id], ADVICE)
    near = selectors.near([file.image_id for file in files if file.image_id], earlier_only=True)
    for file in files:
        file.findings = found.get(file.image_id or 0, [])  # type: ignore[attr-defined]
        file.near = near.get(file.image_id or 0, [])  # type: ignore[attr-defined]


@require_safe
def upload_outcomes(request: UserRequest, upload_id: int) -> StreamingHttpResponse:
    """Every file and row of the table with what became of it, as CSV."""
    found = _visible(request, upload_id)
    response = StreamingHttpResponse(_lines(selectors.upload_files(found, size=None)), content_type="text/csv; charset=utf-8")
    response["Content-Disposition"] = f'attachment; filename="upload-{found.pk}.csv"'
    return response


def _lines(files: list[UploadFile]) -> Iterator[bytes]:
    yield _line(_ROW_COLUMNS)
    for file in files:
        image = file.image
        exam = image.exam if image else None
        outcome = (file.name, file.outcome, file.message)
        state = (image.state, image.state_reason, image.pk) if image else ("", "", "")
        patient = (exam.patient.code, exam.code) if exam else (file.patient_code, file.exam_code)
        said = (image.device, image.stated_kind) if image else (file.device, file.stated_kind)
        yield _line((*outcome, *state, *patient, *said, file.table_row or "", file.table_error))


def _line(cells: Any) -> bytes:
    text = io.StringIO()
    csv.writer(text).writerow([escaped(str(cell)) for cell in cells])
    return text.getvalue().encode()


# ---- sending ----------------------------------------------------------------------------------------------------------


@require_POST
def upload_file(request: UserRequest, upload_id: int) -> JsonResponse:
    """One file as the body of the request, so that it goes to the store in one stream. `?name=` is its name."""
    found = _own(request, upload_id)
    size = int(request.META.get("CONTENT_LENGTH") or 0)
    try:
        row = services.receive(upload=found, file=request, name=request.GET.get("name", ""), actor=request.user, size=size)
        _drain(request)
    except UnreadablePostError as error:
        raise BadInput("The connection broke before the whole file had come. Send it again.", code="incomplete") from error
    return JsonResponse({"file": row.pk, "name": row.name, "outcome": row.outcome, "message": row.message, "image": row.image_id})


def _drain(request: HttpRequest) -> None:
    """Read what a refused file still sends: an answer that overtakes its request looks like a broken line."""
    left = _DRAIN
    while left > 0 and (chunk := request.read(1 << 20)):
        left -= len(chunk)


@require_POST
def upload_table(request: UserRequest, upload_id: int) -> HttpResponse:
    """The metadata table, from the script or from the plain form of the upload's page."""
    found = _own(request, upload_id)
    file = request.FILES.get("table")
    if file is None:
        raise BadInput("No table was chosen. Choose a CSV file with the columns file, patient, exam, device, stated_kind.")
    # one byte over the limit is enough for the service to refuse it
    applied = services.apply_table(upload=found, table_bytes=file.read(MAX_BYTES + 1), actor=request.user)
    if _wants_json(request):
        errors = [{"row": row, "message": message} for row, message in sorted(applied.errors.items())]
        return JsonResponse({"rows": applied.rows, "matched": applied.matched, "errors": errors, "notices": applied.notices})
    messages.success(request, f"{applied.rows} rows read: {applied.matched} found their file, {len(applied.errors)} have remarks.")
    for notice in applied.notices:
        messages.warning(request, notice)
    return redirect("upload", found.pk)


@require_POST
def upload_close(request: UserRequest, upload_id: int) -> HttpResponse:
    found = services.close_upload(upload=_own(request, upload_id), actor=request.user)
    return JsonResponse({"page": reverse("upload", args=[found.pk])}) if _wants_json(request) else redirect("upload", found.pk)


@require_POST
def upload_cancel(request: UserRequest, upload_id: int) -> HttpResponse:
    found = services.cancel_upload(upload=_own(request, upload_id), actor=request.user)
    return redirect("upload", found.pk)


# ---- pictures ---------------------------------------------------------------------------------------------------------


@require_safe
def image_thumb(request: UserRequest, image_id: int) -> FileResponse:
    image = _with_picture(request, image_id)
    return _file(storage.thumb_path(image.site_id, image.clean_sha256), "image/jpeg")


@require_safe
def image_picture(request: UserRequest, image_id: int) -> FileResponse:
    """The clean picture, in full: every view leaves an event."""
    image = _with_picture(request, image_id)
    services.record_view(image=image, actor=request.user, what="picture")
    kind = "image/png" if image.clean_format == "png" else "image/jpeg"
    return _file(storage.clean_path(image.site_id, image.clean_sha256, image.clean_format), kind)


@require_safe
def image_original(request: UserRequest, image_id: int) -> FileResponse:
    """The file as it was sent, for the site's own staff: always a download, never shown by the browser."""
    image = access.get_visible(Image, request.user, image_id)
    access.require(request.user, "view_original", site=image.site_id)
    services.record_view(image=image, actor=request.user, what="original")
    kept = storage.original_path(image.site_id, image.sha256)
    return _file(kept, "application/octet-stream", download=image.original_name.rpartition("/")[2])


@require_POST
def image_retry(request: UserRequest, image_id: int) -> HttpResponse:
    image = services.retry(image=access.get_visible(Image, request.user, image_id), actor=request.user)
    return redirect("upload", image.upload_id)


def _with_picture(request: UserRequest, image_id: int) -> Image:
    image = access.get_visible(Image, request.user, image_id)
    if not image.clean_sha256:
        raise NotVisible
    return image


def _file(kept: Path, kind: str, *, download: str = "") -> FileResponse:
    if not kept.is_file():
        raise NotVisible
    response = FileResponse(kept.open("rb"), content_type=kind, as_attachment=bool(download), filename=download or kept.name)
    response["X-Content-Type-Options"] = "nosniff"
    return response


# ---- small things -----------------------------------------------------------------------------------------------------


def _visible(request: UserRequest, upload_id: int) -> Upload:
    return access.get_visible(Upload, request.user, upload_id)


def _own(request: UserRequest, upload_id: int) -> Upload:
    """An upload that this person may add to."""
    found = _visible(request, upload_id)
    access.require(request.user, "upload", site=found.site_id)
    return found


def _addresses(upload: Upload) -> dict[str, Any]:
    ways = {"files": "upload_file", "table": "upload_table", "close": "upload_close", "page": "upload"}
    return {"upload": upload.pk, **{name: reverse(route, args=[upload.pk]) for name, route in ways.items()}}


def _limit() -> dict[str, int]:
    return {"max_bytes": settings.MAX_FILE_BYTES, "max_megabytes": settings.MAX_FILE_BYTES // 10**6}


def _wants_json(request: HttpRequest) -> bool:
    return request.headers.get("Accept", "").startswith("application/json")


def _number(request: HttpRequest, name: str) -> int | None:
    text = request.GET.get(name, "")
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 19 else None


urls = [
    path("uploads/", upload_list, name="upload_list"),
    path("uploads/new/", upload_new, name="upload_new"),
    path("uploads/<int:upload_id>/", upload, name="upload"),
    path("uploads/<int:upload_id>/live/", upload_live, name="upload_live"),
    path("uploads/<int:upload_id>/outcomes.csv", upload_outcomes, name="upload_outcomes"),
    path("uploads/<int:upload_id>/files/", upload_file, name="upload_file"),
    path("uploads/<int:upload_id>/table/", upload_table, name="upload_table"),
    path("uploads/<int:upload_id>/close/", upload_close, name="upload_close"),
    path("uploads/<int:upload_id>/cancel/", upload_cancel, name="upload_cancel"),
    path("images/<int:image_id>/thumb/", image_thumb, name="image_thumb"),
    path("images/<int:image_id>/picture/", image_picture, name="image_picture"),
    path("images/<int:image_id>/original/", image_original, name="image_original"),
    path("images/<int:image_id>/retry/", image_retry, name="image_retry"),
]
