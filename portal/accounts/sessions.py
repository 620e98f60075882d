"""How long a login lasts: an absolute end, an idle end, and a new key whenever its person's roles change."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.contrib.auth import logout
from django.http import HttpRequest, HttpResponse

from portal.accounts import access

_KEY = "life"
_NOTED_EVERY = 60
"""Seconds: a session is written at most so often only to say that it is in use."""


class SessionLife:
    """Ends what is over before any view sees it."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        # who brings no session has none to end, and is not asked for
        if settings.SESSION_COOKIE_NAME in request.COOKIES and request.user.is_authenticated:
            _look(request)
        return self.get_response(request)


def _look(request: HttpRequest) -> None:
    now = int(time.time())
    life: dict[str, Any] = request.session.get(_KEY) or {"began": now, "seen": now, "roles": None}
    if now - life["began"] > settings.SESSION_COOKIE_AGE or now - life["seen"] > settings.SESSION_IDLE_SECONDS:
        logout(request)
        return
    roles = sorted(f"{role}@{site}" for role, site in access.roles(request.user))  # type: ignore[arg-type]
    changed = life["roles"] is not None and life["roles"] != roles
    if changed:
        request.session.cycle_key()
    if changed or life["roles"] is None or now - life["seen"] >= _NOTED_EVERY:
        request.session[_KEY] = life | {"seen": now, "roles": roles}
