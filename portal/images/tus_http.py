"""The tus protocol over Django's requests: the same for pages and for programs with a token."""

from __future__ import annotations

from contextlib import nullcontext
from uuid import UUID

from django.http import HttpRequest, HttpResponse, JsonResponse

from portal.accounts.models import User
from portal.core.errors import WinnowError
from portal.images import arrivals, seats
from portal.images.models import Arrival, Upload, UploadFile

METHODS = ["OPTIONS", "POST", "HEAD", "PATCH", "DELETE"]
_DRAIN = 8 << 20


def respond(request: HttpRequest, *, upload: Upload, actor: User, base: str, arrival_id: UUID | None) -> HttpResponse:
    """Answer one request about a file of `upload`, which `actor` may add to. An outcome comes as JSON, and as a header for HEAD."""
    arrival: Arrival | None = arrivals.find(upload=upload, arrival_id=arrival_id) if arrival_id else None
    headers = {name.lower(): value for name, value in request.headers.items()}
    said = arrivals.Spoken(str(request.method), base, headers, request)
    with seats.seat() if request.method in ("POST", "PATCH") else nullcontext():
        try:
            answer = arrivals.speak(upload=upload, actor=actor, said=said, arrival=arrival)
        except WinnowError:
            _drain(request)
            raise
        if answer.status >= 400:
            _drain(request)
    response = _response(answer, bodyless=request.method == "HEAD")
    response["Cache-Control"] = "no-store"
    return response


def _response(answer: arrivals.Answer, *, bodyless: bool) -> HttpResponse:
    if bodyless:
        response = HttpResponse(status=answer.status)
    elif answer.file is not None:
        status = 200 if answer.status == 204 else answer.status
        response = JsonResponse(outcome(answer.file), status=status)
    elif answer.status >= 400:
        response = JsonResponse({"code": "tus", "message": f"{answer.body.decode()}."}, status=answer.status)
    else:
        response = HttpResponse(answer.body, status=answer.status)
    if answer.file is not None:
        response["Winnow-Outcome"] = str(answer.file.outcome)
    for name, value in answer.headers.items():
        response[name] = value
    return response


def outcome(file: UploadFile) -> dict[str, object]:
    return {"file": file.pk, "name": file.name, "outcome": file.outcome, "message": file.message, "image": file.image_id}


def _drain(request: HttpRequest) -> None:
    """Read on a little: an answer that overtakes its request looks like a broken line."""
    left = _DRAIN
    try:
        while left > 0 and (sip := request.read(1 << 16)):
            left -= len(sip)
    except OSError:
        return
