"""People, sites, and who has which role where."""

from __future__ import annotations

from typing import Any, ClassVar

from django.contrib.auth.models import AbstractUser
from django.contrib.auth.models import UserManager as DjangoUserManager
from django.db import models
from django.db.models import Q

from portal.core.models import Created


class Site(Created):
    """A collaborating clinic or source; everything uploaded belongs to one."""

    name = models.CharField(max_length=120, unique=True)
    slug = models.SlugField(max_length=60, unique=True)
    country = models.CharField(max_length=80, blank=True)

    def __str__(self) -> str:
        return self.name


class UserManager(DjangoUserManager["User"]):
    """Users are named by e-mail address."""

    def create_user(self, email: str, password: str | None = None, **extra: Any) -> User:  # type: ignore[override]
        user = self.model(email=self.normalize_email(email).lower(), **extra)
        user.set_password(password)
        user.save(using=self._db)
        return user


class User(AbstractUser):
    """A person. Rights come from Membership alone; `is_staff` and `is_superuser` open nothing."""

    username = None  # type: ignore[assignment]
    email = models.EmailField(unique=True)
    name = models.CharField(max_length=120, blank=True)

    USERNAME_FIELD = "email"
    REQUIRED_FIELDS: ClassVar[list[str]] = []
    objects: ClassVar[UserManager] = UserManager()

    def __str__(self) -> str:
        return self.name or self.email


class Role(models.TextChoices):
    UPLOADER = "uploader", "Uploader"
    LEAD = "lead", "Site lead"
    READER = "reader", "Reader"
    ADJUDICATOR = "adjudicator", "Adjudicator"
    STUDY_LEAD = "study_lead", "Study lead"
    MODEL_ADMIN = "model_admin", "Model administrator"
    SYSTEM_ADMIN = "system_admin", "System administrator"


SITE_ROLES = (Role.UPLOADER, Role.LEAD)
"""Roles of one site. The others reach across sites; a reader's or adjudicator's `site` is where they work themselves."""
EVERYWHERE = (Role.STUDY_LEAD, Role.MODEL_ADMIN, Role.SYSTEM_ADMIN)
"""Roles of the whole installation, which is one study: they name no site."""


class Membership(Created):
    """One role of one person, at one site or across sites."""

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="memberships")
    site = models.ForeignKey(Site, on_delete=models.CASCADE, null=True, blank=True, related_name="memberships")
    role = models.CharField(max_length=20, choices=Role.choices)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["user", "site", "role"], nulls_distinct=False, name="membership_once"),
            models.CheckConstraint(condition=~Q(role__in=SITE_ROLES) | Q(site__isnull=False), name="membership_site_role_has_site"),
            models.CheckConstraint(condition=~Q(role__in=EVERYWHERE) | Q(site__isnull=True), name="membership_admin_has_no_site"),
            models.CheckConstraint(condition=Q(role__in=Role.values), name="membership_known_role"),
        ]


class Invitation(Created):
    """A one-time link that makes an account with the roles it names. Only the token's hash is kept."""

    email = models.EmailField(blank=True, help_text="Empty for the first administrator, who says it himself.")
    token_hash = models.CharField(max_length=64, unique=True)
    roles = models.JSONField(default=list, help_text='[{"role": "reader", "site": 3}, ...]')
    invited_by = models.ForeignKey(User, on_delete=models.PROTECT, null=True, related_name="invitations_sent")
    expires = models.DateTimeField()
    accepted = models.DateTimeField(null=True)
    accepted_by = models.OneToOneField(User, on_delete=models.PROTECT, null=True, related_name="invitation")


class UploadToken(Created):
    """A secret with which a program sends files to one site, for one person. Only its hash is kept."""

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="tokens")
    site = models.ForeignKey(Site, on_delete=models.CASCADE, related_name="tokens")
    name = models.CharField(max_length=80)
    digest = models.CharField(max_length=128, unique=True)
    expires = models.DateTimeField()
    last_used = models.DateTimeField(null=True)
    revoked = models.DateTimeField(null=True)
