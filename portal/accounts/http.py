"""The request, typed once: behind LoginRequired its user is always a User."""

from django.http import HttpRequest

from portal.accounts.models import UploadToken, User


class UserRequest(HttpRequest):
    user: User


class TokenRequest(UserRequest):
    """Behind a route of `access.BY_TOKEN`: the user is narrowed to the token's site."""

    token: UploadToken
