"""What every page shows around its content."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest
from django.urls import NoReverseMatch, reverse

from portal.accounts import access
from portal.accounts.models import User

_AREAS = (
    ("Home", "home"),
    ("Uploads", "upload_list"),
    ("Images", "gallery"),
    ("Patients", "patient_list"),
    ("Quarantine", "quarantine"),
    ("Reading", "reading"),
    ("Adjudication", "adjudication"),
    ("Review queue", "review_list"),
    ("Data sets", "snapshot_list"),
    ("Collection", "collection"),
    ("Training", "training_list"),
    ("Models", "model_list"),
    ("People", "people"),
    ("Sites", "site_list"),
    ("Jobs", "job_list"),
    ("Stores", "store_list"),
    ("Audit", "audit_list"),
)
"""Name and route, in the order of the data's way."""


def navigation(request: HttpRequest) -> dict[str, Any]:
    """The areas that this person's roles reach."""
    user = getattr(request, "user", None)
    if not isinstance(user, User):
        return {"navigation": []}
    return {"navigation": [item for name, route in _AREAS if (item := _item(user, name, route, request.path))]}


def _item(user: User, name: str, route: str, here: str) -> dict[str, Any] | None:
    wanted = access.ROUTES.get(route)
    if wanted is None or not access.has_role(user, wanted):
        return None
    try:
        url = reverse(route)
    except NoReverseMatch:
        return None
    return {"name": name, "url": url, "here": here == url or (url != "/" and here.startswith(url))}
