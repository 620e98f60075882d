"""Who is not logged in gets nowhere but to the few open pages; WinnowErrors become answers."""

from collections.abc import Callable

from django.conf import settings
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect, render

from portal.core.errors import WinnowError

OPEN_PREFIXES = ("/accounts/", "/invitation/", "/static/", "/health")


class LoginRequired:
    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if request.user.is_authenticated or request.path.startswith(OPEN_PREFIXES):
            return self.get_response(request)
        if request.path.startswith("/api/"):
            return JsonResponse({"code": "not_authenticated", "message": "Log in first."}, status=401)
        return redirect(f"{settings.LOGIN_URL}")


class Errors:
    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self.get_response(request)

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponse | None:
        if not isinstance(error, WinnowError):
            return None
        if request.headers.get("Accept", "").startswith("application/json") or request.path.startswith("/api/"):
            return JsonResponse({"code": error.code, "message": error.message}, status=error.status)
        return render(request, "errors/error.html", {"error": error}, status=error.status)
