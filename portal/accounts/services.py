"""Sites, invitations, roles: every change of who may what. Each names its actor and writes its audit event."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Sequence
from datetime import timedelta

from allauth.account.models import EmailAddress
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.db import connection, transaction
from django.db.models import F, QuerySet
from django.db.models.functions import Now
from django.utils.text import slugify

from portal.accounts.models import EVERYWHERE, SITE_ROLES, Invitation, Membership, Role, Site, User
from portal.audit.services import record
from portal.core.errors import BadInput, NotVisible, WrongState

Grant = tuple[Role, Site | None]
"""A role and where it holds; None for across sites."""

INVITATION_LIFE = timedelta(days=7)
LINK_ENDED = "This link is not valid any more. Ask your administrator for a new invitation."
FIRST_ADMINISTRATOR = (Role.SYSTEM_ADMIN, Role.MODEL_ADMIN, Role.STUDY_LEAD, Role.READER, Role.ADJUDICATOR)
EXAMPLE_SITES = {
    "north-clinic": "North Clinic (example)",
    "river-hospital": "River Hospital (example)",
    "hill-station": "Hill Station (example)",
}
"""The sites of the drawn example set, by the names that its generator uses."""


@transaction.atomic
def create_site(*, name: str, actor: User | None, slug: str = "", country: str = "") -> Site:
    name, slug = name.strip(), slug or slugify(name)[:60]
    if not name or not slug:
        raise BadInput("Give the site a name with at least one letter or digit.")
    if Site.objects.filter(slug=slug).exists() or Site.objects.filter(name=name).exists():
        raise BadInput("A site with this name exists already. Choose another name.")
    site = Site.objects.create(name=name, slug=slug, country=country.strip())
    record(actor_id=_id(actor), action="site_created", subject=site, site_id=site.pk, slug=slug)
    return site


@transaction.atomic
def invite(*, email: str, roles: Sequence[Grant], actor: User | None) -> tuple[Invitation, str]:
    """An invitation and its one-time link (a path). The link is shown once: only its hash is kept. Earlier open ones to the address end."""
    email = _clean_email(email)
    if User.objects.filter(email=email).exists():
        raise BadInput("This person has an account already. Give the role on the page of people instead.")
    if not roles:
        raise BadInput("Choose at least one role.")
    for role, site in roles:
        _check_site(role, site)
    _void(Invitation.objects.filter(email=email), actor)
    return _make_invitation(email, roles, actor)


@transaction.atomic
def first_administrator_link() -> str | None:
    """A fresh one-time link that makes the first administrator, or None where there is one. Earlier unused links end."""
    _lock_administrators()
    if _system_administrators().exists():
        return None
    _void(Invitation.objects.filter(email="", invited_by=None), None)
    return _make_invitation("", [(role, None) for role in FIRST_ADMINISTRATOR], None)[1]


@transaction.atomic
def void_invitation(*, invitation: Invitation, actor: User) -> None:
    """End an invitation that was not accepted yet."""
    if not _void(Invitation.objects.filter(pk=invitation.pk), actor):
        raise WrongState("This invitation was accepted or has ended already.")


def open_invitation(token: str) -> Invitation:
    """The invitation behind a link, or NotVisible, which is the same for unknown, used, ended and expired."""
    found = _open(Invitation.objects.filter(token_hash=_hash(token))).first()
    if found is None:
        raise NotVisible(LINK_ENDED)
    return found


def is_invited(email: str) -> bool:
    """Whether an invitation to this address is open."""
    return _open(Invitation.objects.filter(email=email)).exists()


@transaction.atomic
def accept_invitation_of(*, email: str, name: str) -> User:
    """The same as `accept_invitation` for an address that a trusted provider has verified: no link and no password."""
    invitation = _open(Invitation.objects.filter(email=email)).select_for_update().order_by("-pk").first()
    if not email or invitation is None:
        raise NotVisible(LINK_ENDED)
    return _accept(invitation, _make_user(email, name, None))


@transaction.atomic
def accept_invitation(*, token: str, email: str, name: str, password: str) -> User:
    """Make the account that the invitation promises, once: the row's lock lets one of two clicks through."""
    invitation = _open(Invitation.objects.filter(token_hash=_hash(token))).select_for_update().first()
    if invitation is None or (_is_first(invitation) and _system_administrators().exists()):
        raise NotVisible(LINK_ENDED)
    return _accept(invitation, _make_user(invitation.email or _clean_email(email), name, password))


def _accept(invitation: Invitation, user: User) -> User:
    for grant_ in invitation.roles:
        Membership.objects.get_or_create(user=user, role=grant_["role"], site_id=grant_["site"])
    Invitation.objects.filter(pk=invitation.pk).update(accepted=Now(), accepted_by=user)
    record(actor_id=user.pk, action="invitation_accepted", subject=user, invitation=invitation.pk, roles=invitation.roles)
    return user


@transaction.atomic
def grant(*, user: User, role: Role, actor: User | None, site: Site | None = None) -> Membership:
    """Give a role; it holds from the person's next request. Giving it twice changes nothing."""
    _check_site(role, site)
    membership, made = Membership.objects.get_or_create(user=user, role=role, site=site)
    if made:
        record(actor_id=_id(actor), action="role_granted", subject=user, site_id=membership.site_id, role=role)
    _forget_roles(user)
    return membership


@transaction.atomic
def grant_all(*, user: User, grants: Sequence[Grant], actor: User | None) -> None:
    """Give several roles, or none of them."""
    for role, site in grants:
        grant(user=user, role=role, site=site, actor=actor)


@transaction.atomic
def revoke(*, membership: Membership, actor: User | None) -> None:
    """Take a role away; it is gone at the person's next request. The last system administrator keeps theirs."""
    user = membership.user
    if membership.role == Role.SYSTEM_ADMIN:
        _refuse_if_last_administrator(user)
    deleted, _ = Membership.objects.filter(pk=membership.pk).delete()
    if deleted:
        record(actor_id=_id(actor), action="role_revoked", subject=user, site_id=membership.site_id, role=membership.role)
    _forget_roles(user)


@transaction.atomic
def deactivate(*, user: User, actor: User | None) -> None:
    """Close an account: its sessions end with their next request, and the invitations it sent end now."""
    _refuse_if_last_administrator(user)
    if User.objects.filter(pk=user.pk, is_active=True).update(is_active=False):
        record(actor_id=_id(actor), action="user_deactivated", subject=user)
    _void(Invitation.objects.filter(invited_by=user), actor)
    user.is_active = False


@transaction.atomic
def reactivate(*, user: User, actor: User | None) -> None:
    if User.objects.filter(pk=user.pk, is_active=False).update(is_active=True):
        record(actor_id=_id(actor), action="user_reactivated", subject=user)
    user.is_active = True


@transaction.atomic
def ensure_example_sites(actor: User | None = None) -> dict[str, tuple[Site, User]]:
    """The sites of the example set, each with an uploader that nobody can log in as; made at the first call."""
    return {slug: _example_site(slug, name, actor) for slug, name in EXAMPLE_SITES.items()}


def _example_site(slug: str, name: str, actor: User | None) -> tuple[Site, User]:
    site = Site.objects.filter(slug=slug).first() or create_site(name=name, slug=slug, actor=actor)
    email = f"{slug}@example.invalid"
    user = User.objects.filter(email=email).first()
    if user is None:
        user = User.objects.create_user(email, None, name=f"Example uploader, {slug}")
        record(actor_id=_id(actor), action="user_created", subject=user, site_id=site.pk)
    grant(user=user, role=Role.UPLOADER, site=site, actor=actor)
    return site, user


def _make_invitation(email: str, roles: Sequence[Grant], actor: User | None) -> tuple[Invitation, str]:
    token = secrets.token_urlsafe(32)
    named = [{"role": str(role.value), "site": site.pk if site else None} for role, site in roles]
    invitation = Invitation.objects.create(
        email=email, token_hash=_hash(token), roles=named, invited_by=actor, expires=Now() + INVITATION_LIFE
    )
    record(actor_id=_id(actor), action="invited", subject=invitation, roles=named)
    return invitation, f"/invitation/{token}/"


def _make_user(email: str, name: str, password: str | None) -> User:
    if User.objects.filter(email=email).exists():
        raise BadInput("There is an account with this address already. Log in instead.")
    if password is not None:
        _check_password(password, User(email=email, name=name))
    user = User.objects.create_user(email, password, name=name.strip()[:120])
    EmailAddress.objects.create(user=user, email=email, verified=True, primary=True)
    return user


def _check_password(password: str, user: User) -> None:
    try:
        validate_password(password, user)
    except ValidationError as error:
        raise BadInput(" ".join(error.messages)) from error


def _open(invitations: QuerySet[Invitation]) -> QuerySet[Invitation]:
    return invitations.filter(accepted=None, expires__gt=Now())


def _is_first(invitation: Invitation) -> bool:
    return invitation.invited_by_id is None and not invitation.email


def _void(invitations: QuerySet[Invitation], actor: User | None) -> int:
    """End those that are still open; says how many."""
    ended = 0
    for invitation in _open(invitations).select_for_update():
        # Into the past, not to now(): an acceptance that waits for this row compares with the start of its own transaction.
        Invitation.objects.filter(pk=invitation.pk).update(expires=F("created"))
        record(actor_id=_id(actor), action="invitation_ended", subject=invitation)
        ended += 1
    return ended


def _check_site(role: Role, site: Site | None) -> None:
    if role in SITE_ROLES and site is None:
        raise BadInput(f"Choose the site of the role '{role.label}'.")
    if role in EVERYWHERE and site is not None:
        raise BadInput(f"The role '{role.label}' holds everywhere: leave the site empty.")


def _clean_email(email: str) -> str:
    email = email.strip().lower()
    try:
        validate_email(email)
    except ValidationError as error:
        raise BadInput("Give a complete e-mail address.") from error
    return email


def _system_administrators() -> QuerySet[Membership]:
    return Membership.objects.filter(role=Role.SYSTEM_ADMIN, user__is_active=True)


def _lock_administrators() -> None:
    """One change of the system administrators at a time, so that two cannot remove each other."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(hashtext('winnow.administrators'))")


def _refuse_if_last_administrator(user: User) -> None:
    _lock_administrators()
    theirs = _system_administrators()
    if theirs.filter(user=user).exists() and not theirs.exclude(user=user).exists():
        raise WrongState("This is the last system administrator. Give the role to somebody else first.")


def _forget_roles(user: User) -> None:
    """`access.roles` keeps them on the object for the length of a request."""
    user.__dict__.pop("_roles", None)


def _id(user: User | None) -> int | None:
    return user.pk if user else None


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
