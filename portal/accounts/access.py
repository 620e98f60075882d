"""The one table of who may what. Rules are data, keyed by model label, action or route, so that no room above is imported.

- `visible(Model, user)`: the rows that this person may know of. Querysets of views, of every writable relation field and of
  every filter's choices start here. Not visible: 404.
- `can(user, action, site=...)` / `require(...)`: whether this person may do it. Visible but not allowed: 403.
- `ROUTES`: who may reach a route at all, enforced by `portal.accounts.middleware.RouteRules`; a route without a rule stops the start.
"""

from __future__ import annotations

from typing import TypeVar

from django.db.models import Model, Q, QuerySet

from portal.accounts.models import Role, User
from portal.core.errors import NotAllowed, NotVisible

M = TypeVar("M", bound=Model)

ADMINS = frozenset({Role.MODEL_ADMIN, Role.SYSTEM_ADMIN})
SITE_STAFF = frozenset({Role.UPLOADER, Role.LEAD})
READERS = frozenset({Role.READER, Role.ADJUDICATOR})
EVERYONE = frozenset(Role)
OPEN: frozenset[Role] | None = None
"""No login needed."""

SITE_OF: dict[str, str] = {
    "accounts.Site": "pk",
    "images.Patient": "site",
    "images.Exam": "patient__site",
    "images.Image": "site",
    "images.Upload": "site",
    "images.UploadFile": "upload__site",
    "analyses.Analysis": "image__site",
    "analyses.Assessment": "image__site",
    "labels.Label": "image__site",
}
"""Rows that belong to a site, and the lookup path to it: its own staff and the administrators see them. Readers do not:
they see pictures through a lease alone."""

ADMIN_ONLY: dict[str, frozenset[Role]] = {
    "accounts.User": frozenset({Role.SYSTEM_ADMIN}),
    "accounts.Membership": frozenset({Role.SYSTEM_ADMIN}),
    "accounts.Invitation": frozenset({Role.SYSTEM_ADMIN}),
    "audit.AuditEvent": frozenset({Role.SYSTEM_ADMIN}),
    "jobs.Job": frozenset({Role.SYSTEM_ADMIN}),
    "registry.ModelVersion": ADMINS,
    "registry.PromotionRequest": ADMINS,
    "datasets.Snapshot": ADMINS,
    "learning.TrainingRun": ADMINS,
    "learning.Evaluation": ADMINS,
    "reviews.ReviewTask": ADMINS,
    "reviews.Read": ADMINS,
}
"""Rows of the whole installation, and who sees them."""

ACTIONS: dict[str, frozenset[Role]] = {
    "upload": SITE_STAFF,
    "export_site": frozenset({Role.LEAD, *ADMINS}),
    "view_original": SITE_STAFF,
    "read": READERS,
    "adjudicate": frozenset({Role.ADJUDICATOR}),
    "set_rules": ADMINS,
    "freeze": ADMINS,
    "train": frozenset({Role.MODEL_ADMIN}),
    "promote": frozenset({Role.MODEL_ADMIN}),
    "invite": frozenset({Role.SYSTEM_ADMIN}),
    "manage_sites": frozenset({Role.SYSTEM_ADMIN}),
    "retry_job": frozenset({Role.SYSTEM_ADMIN}),
    "see_audit": frozenset({Role.SYSTEM_ADMIN}),
}
"""Actions of SITE_STAFF roles hold for the site of the membership; all others hold everywhere."""

ROUTES: dict[str, frozenset[Role] | None] = {
    # home and images
    "home": EVERYONE,
    "gallery": SITE_STAFF | ADMINS,
    "image": SITE_STAFF | ADMINS,
    # uploads
    # accounts
    # reviews
    # data sets, training, models
    # api
}


def roles(user: User) -> set[tuple[Role, int | None]]:
    """(role, site id) of every membership, read once a request."""
    cached: set[tuple[Role, int | None]] | None = getattr(user, "_roles", None)
    if cached is None:
        cached = {(Role(role), site) for role, site in user.memberships.values_list("role", "site_id")}
        user._roles = cached  # type: ignore[attr-defined]
    return cached


def has_role(user: User, wanted: frozenset[Role], *, site: int | None = None) -> bool:
    """Whether the user holds one of `wanted`; a role of SITE_STAFF counts only at `site`, where a site is named."""
    return any(role in wanted and (site is None or role not in SITE_STAFF or at == site) for role, at in roles(user))


def sites(user: User, wanted: frozenset[Role] = SITE_STAFF) -> set[int]:
    """The sites at which the user holds one of `wanted`."""
    return {site for role, site in roles(user) if role in wanted and site is not None}


def visible(model: type[M], user: User) -> QuerySet[M]:
    """The rows of `model` that this person may know of. A model without a rule raises KeyError: nobody sees it by accident."""
    label = model._meta.label
    rows = model._default_manager.all()
    if label in ADMIN_ONLY:
        return rows if has_role(user, ADMIN_ONLY[label]) else rows.none()
    path = SITE_OF[label]
    return rows if has_role(user, ADMINS) else rows.filter(Q(**{f"{path}__in": sites(user)}))


def get_visible(model: type[M], user: User, pk: int) -> M:
    """One visible row, or NotVisible, which is the same for absent and for somebody else's."""
    found = visible(model, user).filter(pk=pk).first()
    if found is None:
        raise NotVisible
    return found


def can(user: User, action: str, *, site: int | None = None) -> bool:
    """Whether this person may do `action` (at `site`, for what belongs to one)."""
    return has_role(user, ACTIONS[action], site=site)


def require(user: User, action: str, *, site: int | None = None) -> None:
    """Raise NotAllowed where `can` says no."""
    if not can(user, action, site=site):
        raise NotAllowed(f"Your roles do not include this ({action.replace('_', ' ')}). Ask your administrator.")
