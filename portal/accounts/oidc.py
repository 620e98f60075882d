"""Logging in by a clinic's own provider (OpenID Connect). It says who somebody is; who may come in is still said by invitations.

Only an address that the provider has verified counts, and only that of an account or of an open invitation. The second factor is asked
for as ever: by allauth where the person has one, by `factors.py` where their role needs one.
"""

from __future__ import annotations

from typing import Any

from allauth.core.exceptions import ImmediateHttpResponse
from allauth.socialaccount.adapter import DefaultSocialAccountAdapter
from allauth.socialaccount.models import SocialLogin
from django.http import HttpRequest
from django.shortcuts import render

from portal.accounts import services
from portal.accounts.models import User

CLOSED = "account/signup_closed.html"
UNVERIFIED = "Your clinic's login names no e-mail address of yours that it has verified. Ask whoever runs it to verify your address."
ANOTHER = "Your clinic's login knows you by another e-mail address than your account here. Ask the administrator of this installation."


class InvitedOnly(DefaultSocialAccountAdapter):  # type: ignore[misc]  # allauth has no types
    def pre_social_login(self, request: HttpRequest, sociallogin: SocialLogin) -> None:
        """Refuse whoever comes without a verified address, or with another than the account that they come for."""
        email = verified_address(sociallogin)
        known: User | None = sociallogin.user if sociallogin.is_existing else None
        wanted = request.user if isinstance(request.user, User) else known
        if not email:
            raise _refusal(request, UNVERIFIED)
        if any(user is not None and user.email != email for user in (wanted, known)):
            raise _refusal(request, ANOTHER)

    def is_open_for_signup(self, request: HttpRequest, sociallogin: SocialLogin) -> bool:  # noqa: ARG002
        email = verified_address(sociallogin)
        return bool(email) and services.is_invited(email)

    def save_user(self, request: HttpRequest, sociallogin: SocialLogin, form: Any = None) -> User:  # noqa: ARG002
        """The account that the open invitation promises, without a password of its own."""
        claims = _claims(sociallogin)
        user = services.accept_invitation_of(email=verified_address(sociallogin), name=str(claims.get("name") or ""))
        sociallogin.user = user
        sociallogin.account.user = user
        sociallogin.account.save()
        return user


def _refusal(request: HttpRequest, why: str) -> ImmediateHttpResponse:
    return ImmediateHttpResponse(render(request, CLOSED, {"why": why}, status=403))


def verified_address(sociallogin: SocialLogin) -> str:
    """The address, if the provider says in so many words that it is verified; else nothing."""
    claims = _claims(sociallogin)
    email = claims.get("email")
    return email.strip().lower() if claims.get("email_verified") is True and isinstance(email, str) else ""


def _claims(sociallogin: SocialLogin) -> dict[str, Any]:
    said = sociallogin.account.extra_data or {}
    found = said.get("userinfo") or said.get("id_token") or said
    return found if isinstance(found, dict) else {}
