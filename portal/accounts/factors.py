"""The second factor, by role, and the password asked for again before what cannot be undone. After `RouteRules`, which knows who may."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from allauth.account.internal.flows.login import get_authentication_records
from allauth.account.internal.flows.reauthentication import get_reauthentication_flows, suspend_request
from allauth.mfa.models import Authenticator
from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse

from portal.accounts import access, routes
from portal.accounts.middleware import answer, wants_json
from portal.accounts.models import User
from portal.core.errors import NotAllowed

NEEDED = "Your role asks for a second factor. Set one up here: an authenticator app, or a security key. Nothing else opens before."
LOG_IN_AGAIN = "Your login is too old for this. Log in again, then repeat what you did: nothing was changed."
PROVIDER = "clinic"
"""The provider's name in `settings.SOCIALACCOUNT_PROVIDERS`: where a person without password and factor proves who they are."""
_FACTORS = (Authenticator.Type.TOTP, Authenticator.Type.WEBAUTHN)


class SecondFactor:
    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self.get_response(request)

    def process_view(self, request: HttpRequest, view: Any, args: Any, kwargs: Any) -> HttpResponse | None:  # noqa: ARG002
        assert request.resolver_match is not None
        key = routes.key_of(request.resolver_match)
        if not isinstance(request.user, User) or access.is_open(key) or key in access.BY_TOKEN:
            return None
        if key not in access.FACTOR_SETUP and lacks_factor(request, request.user):
            return _lead_to_setup(request)
        if key in access.SENSITIVE and request.method == "POST" and not _lately_authenticated(request, request.user):
            return _ask_again(request)
        return None


def needs_factor(user: User) -> bool:
    """Whether one of the person's roles asks for a second factor."""
    return bool(settings.SECOND_FACTOR_ROLES) and any(role.value in settings.SECOND_FACTOR_ROLES for role, _ in access.roles(user))


def has_factor(user: User) -> bool:
    return bool(Authenticator.objects.filter(user=user, type__in=_FACTORS).exists())


def lacks_factor(request: HttpRequest, user: User) -> bool:
    """Whether this login may go no further. A login by a provider that asks for a second factor itself needs none of ours."""
    return needs_factor(user) and not _by_trusted_provider(request, user) and not has_factor(user)


def _by_trusted_provider(request: HttpRequest, user: User) -> bool:
    records = get_authentication_records(request, user)
    return bool(settings.OIDC_HAS_SECOND_FACTOR) and any(record.get("method") == "socialaccount" for record in records)


def _lead_to_setup(request: HttpRequest) -> HttpResponse:
    if wants_json(request):
        return answer(request, NotAllowed(NEEDED, code="second_factor_needed"))
    messages.warning(request, NEEDED)
    return _go(request, reverse("mfa_index"))


def _lately_authenticated(request: HttpRequest, user: User) -> bool:
    if not settings.REAUTHENTICATE_MINUTES:
        return True
    newest = max((record.get("at", 0) for record in get_authentication_records(request, user)), default=0)
    return bool(time.time() - newest < 60 * settings.REAUTHENTICATE_MINUTES)


def _ask_again(request: HttpRequest) -> HttpResponse:
    """allauth keeps what was sent, and goes on with it afterwards: the view runs again, without the rules of routes before it, so each
    sensitive view asks for the right itself as well."""
    if wants_json(request):
        return answer(request, NotAllowed("Say your password again first: reload the page.", code="reauthentication_needed"))
    user = request.user
    assert isinstance(user, User)
    if not get_reauthentication_flows(user):
        messages.warning(request, LOG_IN_AGAIN)
        return _go(request, reverse("openid_connect_login", args=[PROVIDER]))
    way = "account_reauthenticate" if user.has_usable_password() else "mfa_reauthenticate"
    return _go(request, suspend_request(request, reverse(way)).url)


def _go(request: HttpRequest, address: str) -> HttpResponse:
    """A piece of a page that htmx asked for would show the other page inside this one."""
    if request.headers.get("HX-Request"):
        return HttpResponse(headers={"HX-Redirect": address})
    return redirect(address)
