"""Accounts are made by invitation only; allauth is the one way in."""

from typing import Any

from allauth.account.adapter import DefaultAccountAdapter
from django.http import HttpRequest, HttpResponse

from portal.accounts import sessions
from portal.accounts.models import User
from portal.audit.services import record


class InvitationOnly(DefaultAccountAdapter):  # type: ignore[misc]  # allauth has no types
    def is_open_for_signup(self, request: HttpRequest) -> bool:  # noqa: ARG002
        return False

    def post_login(self, request: HttpRequest, user: User, **rest: Any) -> HttpResponse:
        record(actor_id=user.pk, action="logged_in", subject=user)
        sessions.begin(request.session, user)
        response: HttpResponse = super().post_login(request, user, **rest)
        return response
