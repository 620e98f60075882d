"""Reads of people and sites. What a person may see starts at `access.visible`."""

from __future__ import annotations

from typing import Any

from django.db.models import Case, Count, Prefetch, Q, QuerySet, When
from django.db.models.functions import Now

from portal.accounts import access
from portal.accounts.models import Invitation, Membership, Site, UploadToken, User


def people(user: User) -> QuerySet[User]:
    """Everybody whom this person may see, with their roles."""
    held = Prefetch("memberships", Membership.objects.select_related("site").order_by("role", "site__name"))
    return access.visible(User, user).prefetch_related(held).order_by("-is_active", "name", "email")


def open_invitations(user: User) -> QuerySet[Invitation]:
    rows = access.visible(Invitation, user).filter(accepted=None, expires__gt=Now())
    return rows.select_related("invited_by").order_by("-created")


def sites(user: User) -> QuerySet[Site]:
    return access.visible(Site, user).annotate(people=Count("memberships__user", distinct=True)).order_by("name")


def tokens(user: User) -> QuerySet[UploadToken]:
    """Upload tokens of this person's sites, newest first; those that work before those that have ended."""
    over = Q(revoked__isnull=False) | Q(expires__lte=Now())
    rows = access.visible(UploadToken, user).annotate(over=Case(When(over, then=True), default=False))
    return rows.select_related("user", "site").order_by("over", "-pk")


def people_of(site: Site) -> QuerySet[Membership]:
    return site.memberships.filter(user__is_active=True).select_related("user").order_by("role", "user__name", "user__email")


def called(text: str, *, by_email: bool) -> QuerySet[User, Any]:
    """Who is called so, to search by; by the address too, for those who may know it.

    Not asked by itself: how many there are, at whatever site, then changes nothing of the question it is part of.
    """
    wanted = Q(name__icontains=text)
    return User.objects.filter(wanted | Q(email__icontains=text) if by_email else wanted).values("pk")


def names(ids: set[int]) -> dict[int, str]:
    """How to call people who are known by id alone, as in audit events."""
    return {user.pk: str(user) for user in User.objects.filter(pk__in=ids)}
