"""The request, typed once: behind LoginRequired its user is always a User."""

from django.http import HttpRequest

from portal.accounts.models import User


class UserRequest(HttpRequest):
    user: User
