"""The one table of routes is enforced here; WinnowErrors become answers."""

import logging
from collections.abc import Callable
from http import HTTPStatus
from typing import Any
from urllib.parse import urlencode

from django.conf import settings
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect, render
from django.urls import reverse

from portal.accounts import access, routes, tokens
from portal.core.errors import BadInput, NotAllowed, NotVisible, WinnowError

log = logging.getLogger(__name__)
GetResponse = Callable[[HttpRequest], HttpResponse]


class RouteRules:
    """Asks `access.ROUTES` before any view. Its start fails where a route has no rule."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response
        routes.refuse_start_without_rules()

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self.get_response(request)

    def process_view(self, request: HttpRequest, view: Any, args: Any, kwargs: Any) -> HttpResponse | None:  # noqa: ARG002
        assert request.resolver_match is not None
        key = routes.key_of(request.resolver_match)
        if access.is_open(key):
            return _refuse_nul(request)
        if key in access.BY_TOKEN:
            return _by_token(request, access.BY_TOKEN[key]) or _refuse_nul(request, form=False)
        if not request.user.is_authenticated:
            return _log_in_first(request)
        if not access.reaches(request.user, key):
            return answer(request, NotAllowed("Your roles do not include this page. Ask your administrator."))
        return _refuse_nul(request)


_FORMS = ("application/x-www-form-urlencoded", "multipart/form-data")


def _refuse_nul(request: HttpRequest, *, form: bool = True) -> HttpResponse | None:
    """No text of people holds the character NUL, and Postgres takes none: refused here once, before any view. (The check of the CSRF
    token has read the form already; a body that is a file, or goes to a route that takes no `form`, is not touched.)"""
    sent = [request.GET, *([request.POST] if form and request.content_type in _FORMS else [])]
    if "\0" in request.path or any("\0" in text for query in sent for _, texts in query.lists() for text in texts):
        return answer(request, BadInput("What was sent holds a character that no text has (NUL). Type it again."))
    return None


def _by_token(request: HttpRequest, action: str) -> HttpResponse | None:
    """Let an upload token in, as its person at its site; a session is told that it is at the wrong door."""
    token = tokens.find(request.headers.get("Authorization", ""))
    if token is None:
        if request.user.is_authenticated:
            return answer(request, NotAllowed("This address is for programs with an upload token. Use the pages instead."))
        return _token_first()
    request.user = token.user
    if not access.can(request.user, action, site=token.site_id):
        return answer(request, NotAllowed("The right to send to this site has ended. Ask your administrator."))
    request.token = token  # type: ignore[attr-defined]
    return None


def _token_first() -> HttpResponse:
    message = "Send a valid upload token: `Authorization: Token ...`. It may have expired or been revoked; make a new one."
    response = JsonResponse({"code": "token", "message": message}, status=401)
    response["WWW-Authenticate"] = "Token"
    return response


class Errors:
    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self.get_response(request)

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponse | None:
        if isinstance(error, RecursionError):
            log.error("Something sent was nested without end, or code of ours is.", exc_info=error)
            return answer(request, BadInput("What was sent is nested too deeply to be read."))
        return answer(request, error) if isinstance(error, WinnowError) else None


def answer(request: HttpRequest, error: WinnowError) -> HttpResponse:
    """A page for people, JSON for programs. Nothing of the request is repeated in it: absent and hidden give the same bytes."""
    if wants_json(request):
        response: HttpResponse = JsonResponse({"code": error.code, "message": error.message}, status=error.status)
    else:
        response = render(request, "errors/error.html", {"error": error}, status=error.status)
    if error.seconds is not None:
        response["Retry-After"] = str(error.seconds)
    return response


def not_found(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:  # noqa: ARG001
    """For addresses that do not exist and Http404: the same answer as NotVisible."""
    return answer(request, NotVisible())


def forbidden(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:  # noqa: ARG001
    return answer(request, NotAllowed("You may not do this. Ask your administrator."))


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:  # noqa: ARG001
    return answer(request, NotAllowed("This page was open for too long. Go back, load it again, and repeat what you did."))


def server_error(request: HttpRequest) -> HttpResponse:
    """No template that may itself fail: plain words."""
    message = "Something broke on our side. Nothing was changed. Try again; if it stays, tell your administrator the time."
    if wants_json(request):
        return JsonResponse({"code": "broken", "message": message}, status=500)
    return HttpResponse(f"<!doctype html><title>Winnow</title><h1>That did not work</h1><p>{message}</p>", status=500)


def wants_json(request: HttpRequest) -> bool:
    return request.path.startswith("/api/") or request.headers.get("Accept", "").startswith("application/json")


def _log_in_first(request: HttpRequest) -> HttpResponse:
    if wants_json(request):
        return JsonResponse({"code": "not_authenticated", "message": "Log in first."}, status=401)
    address = reverse(settings.LOGIN_URL)
    if request.headers.get("HX-Request"):
        return HttpResponse(status=HTTPStatus.UNAUTHORIZED, headers={"HX-Redirect": address})
    if request.method == "GET" and request.path != "/":
        address += "?" + urlencode({"next": request.get_full_path()})
    return redirect(address)
