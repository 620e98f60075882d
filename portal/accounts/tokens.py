"""Upload tokens: with one a program sends files to one site, in the name of one person, until it expires or is revoked."""

from __future__ import annotations

from datetime import timedelta
from functools import cache
from typing import Any

from django.conf import settings
from django.db import connection, transaction
from django.db.models.functions import Now
from django.utils import timezone
from knox.crypto import create_token_string, hash_token

from portal.accounts import access
from portal.accounts.models import Role, Site, UploadToken, User
from portal.audit.services import record
from portal.core.errors import BadInput, NotAllowed, WrongState

PREFIX = "winnow_"
"""By which scanners for forgotten secrets know one."""
_SCHEME = "token"
_LONGEST = 200
_NOTED_EVERY = timedelta(minutes=1)
_READ = (UploadToken, User, Site)


@transaction.atomic
def make(*, site: Site, name: str, days: int, actor: User) -> tuple[UploadToken, str]:
    """A token of the actor's own and its secret, which is shown once: only its hash is kept."""
    access.require(actor, "upload", site=site.pk)
    if not name.strip():
        raise BadInput("Give the token a name, for instance of the machine that will use it.")
    if not 1 <= days <= settings.TOKEN_DAYS:
        raise BadInput(f"A token may live for 1 to {settings.TOKEN_DAYS} days.")
    secret = PREFIX + create_token_string()
    token = UploadToken.objects.create(
        user=actor, site=site, name=name.strip()[:80], digest=hash_token(secret), expires=timezone.now() + timedelta(days=days)
    )
    record(actor_id=actor.pk, action="token.made", subject=token, site_id=site.pk, name=token.name, expires=token.expires.isoformat())
    return token, secret


@transaction.atomic
def revoke(*, token: UploadToken, actor: User) -> None:
    """End a token with the next request: one's own, or as lead any of the site."""
    if token.user_id != actor.pk and not access.has_role(actor, frozenset({Role.LEAD}), site=token.site_id):
        raise NotAllowed("Only the person who made this token, or the site's lead, may revoke it.")
    if not UploadToken.objects.filter(pk=token.pk, revoked=None).update(revoked=Now()):
        raise WrongState("This token was revoked before.")
    record(actor_id=actor.pk, action="token.revoked", subject=token, site_id=token.site_id, name=token.name)


def find(authorization: str) -> UploadToken | None:
    """The living token of an Authorization header, of somebody who is still active; None for all else, whatever is wrong with it.

    Its `user` is narrowed to the roles of the staff of its site."""
    scheme, _, secret = authorization.partition(" ")
    if scheme.lower() != _SCHEME or not secret or len(secret) > _LONGEST or not secret.isascii():
        return None
    with connection.cursor() as cursor:
        cursor.execute(_statement(), {"digest": hash_token(secret), "roles": [role.value for role in access.SITE_STAFF]})
        row = cursor.fetchone()
    if row is None:
        return None
    found = _built(row)
    if found.last_used is None or timezone.now() - found.last_used > _NOTED_EVERY:
        UploadToken.objects.filter(pk=found.pk).update(last_used=Now())
    return found


@cache
def _statement() -> str:
    """One statement for every request of a program: the token, its person with the roles that it carries, its site."""
    columns = ", ".join(f'"{model._meta.db_table}"."{field.column}"' for model in _READ for field in model._meta.concrete_fields)
    return f"""
        SELECT ARRAY(SELECT held.role::text FROM accounts_membership AS held
                WHERE held.user_id = accounts_user.id AND held.site_id = accounts_site.id AND held.role = ANY(%(roles)s)), {columns}
        FROM accounts_uploadtoken
        JOIN accounts_user ON accounts_user.id = user_id JOIN accounts_site ON accounts_site.id = site_id
        WHERE digest = %(digest)s AND revoked IS NULL AND expires > statement_timestamp() AND is_active
    """  # noqa: S608  # nosec B608 # names of the models' own columns


def _built(row: tuple[Any, ...]) -> UploadToken:
    roles, *values = row
    parts: list[Any] = []
    for model in _READ:
        names = [field.attname for field in model._meta.concrete_fields]
        parts.append(model.from_db("default", names, values[: len(names)]))
        values = values[len(names) :]
    found: UploadToken = parts[0]
    user, site = parts[1:]
    found.user, found.site = access.narrowed(user, site.pk, [Role(role) for role in roles]), site
    return found
