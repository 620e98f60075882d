"""The one table of who may what. Rules are data, keyed by model label, action or route, so that no room above is imported.

- `visible(Model, user)`: the rows that this person may know of. Querysets of views, of every writable relation field and of
  every filter's choices start here. Not visible: 404.
- `can(user, action, site=...)` / `require(...)`: whether this person may do it. Visible but not allowed: 403.
- `ROUTES`: who may reach a route at all, enforced by `portal.accounts.middleware.RouteRules`; a route without a rule stops the start.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import TypeVar

from django.db.models import Model, Q, QuerySet

from portal.accounts.models import Role, Site, User
from portal.core.errors import NotAllowed, NotVisible
from portal.core.statements import is_plain, select_row

M = TypeVar("M", bound=Model)

ADMINS = frozenset({Role.MODEL_ADMIN, Role.SYSTEM_ADMIN})
SITE_STAFF = frozenset({Role.UPLOADER, Role.LEAD})
LEADS = frozenset({Role.LEAD})
READERS = frozenset({Role.READER, Role.ADJUDICATOR})
STUDY = frozenset({Role.STUDY_LEAD, *ADMINS})
"""Who sees how the reading goes, and how well."""
EVERYONE = frozenset(Role)
OPEN: frozenset[Role] | None = None
"""No login needed."""
NOBODY: frozenset[Role] = frozenset()

SITE_OF: dict[str, str] = {
    "accounts.Site": "pk",
    "accounts.UploadToken": "site",
    "images.Patient": "site",
    "images.Exam": "patient__site",
    "images.Image": "site",
    "images.Likeness": "site",
    "images.NearDuplicate": "image__site",
    "images.TextFound": "image__site",
    "images.TextRule": "site",
    "images.Upload": "site",
    "images.UploadFile": "upload__site",
    "images.Arrival": "upload__site",
    "images.Archive": "site",
    "images.MetadataTable": "site",
    "images.Wording": "site",
    "images.Regrouping": "site",
    "images.Correction": "image__site",
    "analyses.Analysis": "image__site",
    "analyses.Assessment": "image__site",
    "labels.Label": "image__site",
    "holdings.SiteHolding": "site",
    "holdings.Erasure": "site",
    "holdings.ErasedFile": "site",
}
"""Rows that belong to a site, and the lookup path to it: its own staff and the administrators see them. Readers do not:
they see pictures through a lease alone."""

ADMIN_ONLY: dict[str, frozenset[Role]] = {
    "accounts.User": frozenset({Role.SYSTEM_ADMIN}),
    "accounts.Membership": frozenset({Role.SYSTEM_ADMIN}),
    "accounts.Invitation": frozenset({Role.SYSTEM_ADMIN}),
    "audit.AuditEvent": frozenset({Role.SYSTEM_ADMIN}),
    "audit.AuditCheck": frozenset({Role.SYSTEM_ADMIN}),
    "jobs.Job": frozenset({Role.SYSTEM_ADMIN}),
    "holdings.StoreCheck": frozenset({Role.SYSTEM_ADMIN}),
    "registry.ModelVersion": ADMINS,
    "registry.PromotionRequest": ADMINS,
    "datasets.Snapshot": ADMINS,
    "datasets.CrossSiteCopy": frozenset({Role.SYSTEM_ADMIN}),
    "learning.TrainingRun": ADMINS,
    "learning.Evaluation": ADMINS,
    "reviews.ReviewTask": STUDY,
    "reviews.Read": STUDY,
    "reviews.ReviewRules": STUDY,
    "reviews.KnownImage": STUDY,
    "reviews.Qualification": STUDY,
    "reviews.Reliability": STUDY,
    # a reader's alone: what is not yet said, and how they like to read; their pages ask for their own rows by name
    "reviews.Draft": frozenset(),
    "reviews.ReaderSettings": frozenset(),
}
"""Rows of the whole installation, and who sees them."""

LEADS_SEE: dict[str, str] = {"audit.AuditEvent": "site_id"}
"""Of those, what a site's lead sees of the own site, and the lookup path to it."""

SOME_SEEN: dict[str, tuple[frozenset[Role], Q]] = {"accounts.User": (STUDY, Q(memberships__role__in=READERS))}
"""Of those, which rows others see: who reads is known to those who lead the study."""

ACTIONS: dict[str, frozenset[Role]] = {
    "upload": SITE_STAFF,
    "export_site": frozenset({Role.LEAD, *ADMINS}),
    "correct": SITE_STAFF,
    "view_original": SITE_STAFF,
    "view_quarantined": SITE_STAFF,
    "clear_text": SITE_STAFF,
    "set_text_rule": frozenset({Role.LEAD}),
    "withdraw": frozenset({Role.LEAD}),
    "erase": frozenset({Role.LEAD}),
    "read": READERS,
    "adjudicate": frozenset({Role.ADJUDICATOR}),
    "set_rules": STUDY,
    "ask_again": STUDY,
    "freeze": ADMINS,
    "train": frozenset({Role.MODEL_ADMIN}),
    "promote": frozenset({Role.MODEL_ADMIN}),
    "invite": frozenset({Role.SYSTEM_ADMIN}),
    "manage_sites": frozenset({Role.SYSTEM_ADMIN}),
    "retry_job": frozenset({Role.SYSTEM_ADMIN}),
    "see_audit": frozenset({Role.LEAD, Role.SYSTEM_ADMIN}),
}
"""Actions of SITE_STAFF roles hold for the site of the membership; all others hold everywhere."""

ROUTES: dict[str, frozenset[Role] | None] = {
    # home and images
    "home": EVERYONE,
    "health": OPEN,
    "csp_report": OPEN,  # browsers send no cookie with it
    "gallery": SITE_STAFF | ADMINS,
    "image": SITE_STAFF | ADMINS,
    "patient_list": SITE_STAFF | ADMINS,
    "patient": SITE_STAFF | ADMINS,
    **dict.fromkeys(("patient_move", "patient_split", "patient_merge", "regrouping_undo"), SITE_STAFF),
    # uploads
    "upload_list": SITE_STAFF | ADMINS,
    "upload_new": SITE_STAFF,
    "upload": SITE_STAFF | ADMINS,
    "upload_live": SITE_STAFF | ADMINS,
    "upload_outcomes": SITE_STAFF | ADMINS,
    "upload_retake": SITE_STAFF | ADMINS,
    "advice_dismiss": SITE_STAFF,
    "upload_file": SITE_STAFF,
    "upload_table": SITE_STAFF,
    "upload_rows_forget": SITE_STAFF,
    **dict.fromkeys(("table_check", "site_table", "table", "table_words", "table_apply", "table_give_up", "table_template"), SITE_STAFF),
    **dict.fromkeys(("table_live", "table_stop"), SITE_STAFF),
    **dict.fromkeys(("wording_list", "wording_forget"), SITE_STAFF),
    "upload_close": SITE_STAFF,
    "upload_cancel": SITE_STAFF,
    "upload_held": SITE_STAFF,
    "upload_tus": SITE_STAFF,
    "upload_tus_file": SITE_STAFF,
    "image_thumb": SITE_STAFF | ADMINS,
    "image_picture": SITE_STAFF | ADMINS,
    "image_original": SITE_STAFF,
    "image_retry": SITE_STAFF,
    "image_withdraw": frozenset({Role.LEAD}),
    "image_take_back": frozenset({Role.LEAD}),
    "exam_take_back": frozenset({Role.LEAD}),
    "patient_take_back": frozenset({Role.LEAD}),
    "erasure_list": SITE_STAFF | ADMINS,
    "erasure": SITE_STAFF | ADMINS,
    "erasure_csv": SITE_STAFF | ADMINS,
    "erasure_lift": frozenset({Role.LEAD}),
    "near_dismiss": SITE_STAFF,
    "quarantine": SITE_STAFF,
    "image_blank": SITE_STAFF,
    "image_release": SITE_STAFF,
    "text_rule": frozenset({Role.LEAD}),
    # accounts
    "invitation": OPEN,
    "people": frozenset({Role.SYSTEM_ADMIN}),
    "person": frozenset({Role.SYSTEM_ADMIN}),
    "person_grant": frozenset({Role.SYSTEM_ADMIN}),
    "person_active": frozenset({Role.SYSTEM_ADMIN}),
    "membership_revoke": frozenset({Role.SYSTEM_ADMIN}),
    "invite": frozenset({Role.SYSTEM_ADMIN}),
    "invitation_void": frozenset({Role.SYSTEM_ADMIN}),
    "token_list": SITE_STAFF,
    "token_make": SITE_STAFF,
    "token_revoke": SITE_STAFF,
    "site_list": SITE_STAFF | ADMINS,
    "site_create": frozenset({Role.SYSTEM_ADMIN}),
    "site": SITE_STAFF | ADMINS,
    "site_limits": frozenset({Role.SYSTEM_ADMIN}),
    "store_list": frozenset({Role.SYSTEM_ADMIN}),
    "store_check": frozenset({Role.SYSTEM_ADMIN}),
    "job_list": frozenset({Role.SYSTEM_ADMIN}),
    "job_retry": frozenset({Role.SYSTEM_ADMIN}),
    "audit_list": frozenset({Role.LEAD, Role.SYSTEM_ADMIN}),
    "audit_csv": frozenset({Role.LEAD, Role.SYSTEM_ADMIN}),
    # reviews
    **dict.fromkeys(("reading", "reading_next", "reading_ahead", "reading_submit", "reading_draft", "reading_undo"), READERS),
    "reading_skip": READERS,
    **dict.fromkeys(("reading_amend", "reading_amended", "reading_revealed", "reading_again", "reading_keys"), READERS),
    "reading_picture": READERS,
    "reading_small": READERS,
    "reading_beside": READERS,
    "reading_extend": READERS,
    "reading_release": READERS,
    "adjudication": frozenset({Role.ADJUDICATOR}),
    "adjudication_submit": frozenset({Role.ADJUDICATOR}),
    "own_reading": READERS,
    "reading_when": READERS,
    "agreement": STUDY,
    "reader_figures": STUDY,
    "review_progress": STUDY,
    "reading_rules": STUDY,
    **dict.fromkeys(("qualification", "qualification_choose", "qualification_empty", "qualification_waive"), STUDY),
    "review_list": STUDY,
    "review_reopen": STUDY,
    "example": ADMINS,
    "example_settle": ADMINS,
    # data sets, training, models
    "snapshot_list": ADMINS,
    "snapshot_new": ADMINS,
    "snapshot_preview": ADMINS,
    "snapshot": ADMINS,
    "snapshot_state": ADMINS,
    "snapshot_retry": ADMINS,
    "snapshot_csv": ADMINS,
    "snapshot_zip": ADMINS,
    "collection": frozenset({Role.LEAD, *ADMINS}),
    "collection_csv": frozenset({Role.LEAD, *ADMINS}),
    "collection_zip": frozenset({Role.LEAD, *ADMINS}),
    "training_list": ADMINS,
    "training_new": frozenset({Role.MODEL_ADMIN}),
    "run": ADMINS,
    "run_progress": ADMINS,
    "run_cancel": frozenset({Role.MODEL_ADMIN}),
    "run_resume": frozenset({Role.MODEL_ADMIN}),
    "model_list": ADMINS,
    "model": ADMINS,
    "model_card": ADMINS,
    "model_evaluate": frozenset({Role.MODEL_ADMIN}),
    "model_request": frozenset({Role.MODEL_ADMIN}),
    "model_roll_back": frozenset({Role.MODEL_ADMIN}),
    "promotion_approve": frozenset({Role.MODEL_ADMIN}),
    "promotion_refuse": frozenset({Role.MODEL_ADMIN}),
    # api
    "api:site-list": SITE_STAFF | ADMINS,
    "api:site-detail": SITE_STAFF | ADMINS,
    "api:image-list": SITE_STAFF | ADMINS,
    "api:image-detail": SITE_STAFF | ADMINS,
    "api:schema": EVERYONE,
    # django-allauth: the way in
    "account_login": OPEN,
    "account_signup": OPEN,  # says that accounts are made by invitation
    "account_inactive": OPEN,
    "account_reset_password": OPEN,
    "account_reset_password_done": OPEN,
    "account_reset_password_from_key": OPEN,
    "account_reset_password_from_key_done": OPEN,
    "account_confirm_login_code": OPEN,
    "mfa_authenticate": OPEN,  # between password and second factor
    "openid_connect_login": OPEN,
    "openid_connect_callback": OPEN,
    "socialaccount_login_cancelled": OPEN,
    "socialaccount_login_error": OPEN,
    "socialaccount_signup": OPEN,  # closed by the adapter, as above
    "accounts/social/login/cancelled/": OPEN,  # allauth's old addresses: they redirect to the ones above
    "accounts/social/login/error/": OPEN,
    "accounts/social/signup/": OPEN,
    "accounts/social/connections/": OPEN,
    "account_email": NOBODY,  # an address is an identity here: the administrator invites the new one
    "account_confirm_email": NOBODY,
    "account_email_verification_sent": NOBODY,
}

BY_TOKEN: dict[str, str] = {
    "api:token": "upload",
    "api:upload-list": "upload",
    "api:upload-held": "upload",
    "api:upload-table": "upload",
    "api:upload-close": "upload",
    "api:upload-tus": "upload",
    "api:upload-tus-file": "upload",
}
"""Routes for programs: an upload token opens these and no other route, and no session opens them. The action is the right that its
person must hold at the token's site with every request."""

OWN_ACCOUNT = frozenset({
    "account_logout", "account_reauthenticate", "account_change_password", "account_set_password", "socialaccount_connections",
    "mfa_index", "mfa_reauthenticate", "mfa_activate_totp", "mfa_deactivate_totp", "mfa_view_recovery_codes",
    "mfa_generate_recovery_codes", "mfa_download_recovery_codes", "mfa_list_webauthn", "mfa_add_webauthn",
    "mfa_reauthenticate_webauthn", "mfa_remove_webauthn", "mfa_edit_webauthn",
})  # fmt: skip
"""Routes about one's own account alone: open to whoever is logged in, with or without a role."""


FACTOR_SETUP = frozenset({
    "account_logout", "account_reauthenticate", "mfa_index", "mfa_reauthenticate", "mfa_reauthenticate_webauthn", "mfa_activate_totp",
    "mfa_list_webauthn", "mfa_add_webauthn",
})  # fmt: skip
"""What a person who still lacks the second factor of their role reaches: the way to one, and the way out."""

SENSITIVE = frozenset({
    "promotion_approve", "model_roll_back", "invite", "person_grant", "membership_revoke", "person_active", "token_make",
    "image_take_back", "exam_take_back", "patient_take_back", "erasure_lift",
})  # fmt: skip
"""Routes whose POST asks for the password or the second factor again, where neither was given in the last minutes
(`settings.REAUTHENTICATE_MINUTES`)."""


def has_rule(route: str) -> bool:
    return route in ROUTES or route in OWN_ACCOUNT or route in BY_TOKEN


def is_open(route: str) -> bool:
    """Whether nobody is asked who they are. A route without a rule is not open."""
    return route in ROUTES and ROUTES[route] is None


def reaches(user: User, route: str) -> bool:
    """Whether a logged-in person may reach a route at all. A route without a rule is reached by nobody."""
    if is_open(route) or route in OWN_ACCOUNT:
        return True
    return has_role(user, ROUTES.get(route) or NOBODY)


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


def narrowed(user: User, site: int, held: Iterable[Role]) -> User:
    """The person as their token for `site` may act: with those of the roles held there that are its staff's, and no others."""
    user._roles = {(role, site) for role in held if role in SITE_STAFF}  # type: ignore[attr-defined]
    return user


def sites(user: User, wanted: frozenset[Role] = SITE_STAFF) -> set[int]:
    """The sites at which the user holds one of `wanted`."""
    return {site for role, site in roles(user) if role in wanted and site is not None}


def visible(model: type[M], user: User) -> QuerySet[M]:
    """The rows of `model` that this person may know of. A model without a rule raises KeyError: nobody sees it by accident."""
    label = model._meta.label
    rows = model._default_manager.all()
    if label in ADMIN_ONLY:
        if has_role(user, ADMIN_ONLY[label]):
            return rows
        if label in SOME_SEEN and has_role(user, SOME_SEEN[label][0]):
            return rows.filter(pk__in=rows.filter(SOME_SEEN[label][1]).values("pk"))
        return rows.filter(**{f"{LEADS_SEE[label]}__in": sites(user, LEADS)}) if label in LEADS_SEE else rows.none()
    path = SITE_OF[label]
    return rows if has_role(user, ADMINS) else rows.filter(Q(**{f"{path}__in": sites(user)}))


def get_visible(model: type[M], user: User, pk: int) -> M:
    """One visible row, or NotVisible, which is the same for absent and for somebody else's."""
    column = _site_column(model)
    if column is None:
        found = visible(model, user).filter(pk=pk).first()
    else:
        # the same rule, asked of the row: every file that arrives asks it, and building the statement took longer than the database
        found = select_row(model, pk)
        if found is not None and not has_role(user, ADMINS) and getattr(found, column) not in sites(user):
            found = None
    if found is None:
        raise NotVisible
    return found


def nameable_sites(user: User) -> QuerySet[Site]:
    """The sites whose names this person must be able to choose from: who leads the study says by whom the pictures of each are read. What
    else there is of a site they see only where they belong to it."""
    return Site.objects.all() if has_role(user, STUDY) else visible(Site, user)


@cache
def _site_column(model: type[Model]) -> str | None:
    """The attribute of a row that says whose it is, where `visible` looks at nothing else; None where it looks further."""
    label = model._meta.label
    if label in ADMIN_ONLY or not is_plain(model):
        return None
    field = next((field for field in model._meta.concrete_fields if field.name == SITE_OF[label]), None)
    return field.attname if field else None


def can(user: User, action: str, *, site: int | None = None) -> bool:
    """Whether this person may do `action` (at `site`, for what belongs to one)."""
    return has_role(user, ACTIONS[action], site=site)


def require(user: User, action: str, *, site: int | None = None) -> None:
    """Raise NotAllowed where `can` says no."""
    if not can(user, action, site=site):
        raise NotAllowed(f"Your roles do not include this ({action.replace('_', ' ')}). Ask your administrator.")
