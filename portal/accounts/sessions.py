"""How long a login lasts: an absolute end, an idle end, and a new key whenever its person's roles change."""

from __future__ import annotations

import time
from collections.abc import Callable

from django.conf import settings
from django.contrib.auth import logout
from django.contrib.sessions.backends.base import SessionBase
from django.http import HttpRequest, HttpResponse

from portal.accounts import access
from portal.accounts.models import User

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


def begin(session: SessionBase, user: User) -> None:
    """Note when a login began, and with which roles."""
    now = int(time.time())
    session[_KEY] = {"began": now, "seen": now, "roles": _roles(user)}


def _roles(user: User) -> list[str]:
    return sorted(f"{role}@{site}" for role, site in access.roles(user))


def _look(request: HttpRequest) -> None:
    user = request.user
    assert isinstance(user, User)
    if _KEY not in request.session:
        begin(request.session, user)
        return
    now, life = int(time.time()), request.session[_KEY]
    if now - life["began"] > settings.SESSION_COOKIE_AGE or now - life["seen"] > settings.SESSION_IDLE_SECONDS:
        logout(request)
        return
    changed = life["roles"] != _roles(user)
    if changed:
        request.session.cycle_key()
    if changed or now - life["seen"] >= _NOTED_EVERY:
        request.session[_KEY] = life | {"seen": now, "roles": _roles(user)}
