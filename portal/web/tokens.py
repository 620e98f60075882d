"""The page of upload tokens: made, shown once, listed, revoked."""

from __future__ import annotations

from typing import Any

from django import forms
from django.conf import settings
from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import path
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe

from portal.accounts import access, selectors, tokens
from portal.accounts.http import UserRequest
from portal.accounts.models import Role, Site, UploadToken
from portal.core.errors import BadInput
from portal.images.selectors import upload_sites

_DAYS = (1, 7, 30, 90, 365)


class TokenForm(forms.Form):
    """The choices of sites are those that the person may upload to."""

    name = forms.CharField(max_length=80, help_text="For you to know it by, for instance: camera room, laptop.")
    site = forms.ModelChoiceField(Site.objects.none(), empty_label=None)
    days = forms.TypedChoiceField(label="It ends after", coerce=int)

    def __init__(self, request: UserRequest, data: Any = None) -> None:
        super().__init__(data)
        self.fields["site"].queryset = upload_sites(request.user)  # type: ignore[attr-defined]
        lives = sorted({days for days in _DAYS if days < settings.TOKEN_DAYS} | {settings.TOKEN_DAYS})
        self.fields["days"].choices = [(days, f"{days} day{'s' if days > 1 else ''}") for days in lives]  # type: ignore[attr-defined]
        self.fields["days"].initial = min(30, settings.TOKEN_DAYS)


@require_safe
def token_list(request: UserRequest) -> HttpResponse:
    return _page(request, TokenForm(request))


@never_cache
@require_POST
def token_make(request: UserRequest) -> HttpResponse:
    """Answers with the page itself: the secret is shown this once and kept nowhere."""
    form = TokenForm(request, request.POST)
    if not form.is_valid():
        return _page(request, form, status=400)
    try:
        token, secret = tokens.make(actor=request.user, **form.cleaned_data)
    except BadInput as error:
        form.add_error(None, error.message)
        return _page(request, form, status=400)
    return _page(request, TokenForm(request), made=token, secret=secret, address=request.build_absolute_uri("/"))


@require_POST
def token_revoke(request: UserRequest, token_id: int) -> HttpResponse:
    token = access.get_visible(UploadToken, request.user, token_id)
    tokens.revoke(token=token, actor=request.user)
    messages.success(request, f"The token '{token.name}' is revoked: it opens nothing any more.")
    return redirect("token_list")


def _page(request: UserRequest, form: TokenForm, *, status: int = 200, **extra: Any) -> HttpResponse:
    led = access.sites(request.user, frozenset({Role.LEAD}))
    held = list(selectors.tokens(request.user)[:200])
    for token in held:
        mine = token.user_id == request.user.pk or token.site_id in led
        token.may_revoke = mine and not token.over  # type: ignore[attr-defined]
    return render(request, "tokens/tokens.html", {"tokens": held, "form": form, **extra}, status=status)


urls = [
    path("tokens/", token_list, name="token_list"),
    path("tokens/make/", token_make, name="token_make"),
    path("tokens/<int:token_id>/revoke/", token_revoke, name="token_revoke"),
]
