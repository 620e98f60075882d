"""How often and how much, by route. Rates are counted by person, or by address where nobody is logged in; bodies are judged by the
length that their head announces, before a byte of them is read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse

from portal.accounts import access, routes
from portal.accounts.middleware import answer
from portal.core.errors import WinnowError
from portal.core.throttle import Rate, TooMany, client_address, count

RATES: dict[str, Rate] = {
    "invitation": Rate(30, 300),
    "csp_report": Rate(60, 60),
    "gallery": Rate(240, 60),
    "audit_list": Rate(240, 60),
    "audit_csv": Rate(30, 600),
    "store_check": Rate(10, 600),
    "snapshot_preview": Rate(120, 60),
    "collection_csv": Rate(30, 600),
    "collection_zip": Rate(30, 600),
    "snapshot_csv": Rate(30, 600),
    "snapshot_zip": Rate(30, 600),
    "upload_outcomes": Rate(120, 600),
    "api:": Rate(600, 60),
}
"""What can be guessed at, and what costs much. `api:` stands for all of its routes together. Logging in is throttled by allauth."""


def _sent_file() -> int:
    """A photograph or an archive of them. The service says in words what is too large; this only ends the absurd."""
    return 2 * max(settings.MAX_FILE_BYTES, settings.MAX_ARCHIVE_BYTES)


BODIES: dict[str, Callable[[], int]] = {
    "upload_file": _sent_file,
    "upload_tus": _sent_file,
    "upload_tus_file": _sent_file,
    "api:upload-tus": _sent_file,
    "api:upload-tus-file": _sent_file,
    "upload_table": lambda: 30_000_000,
    "api:upload-table": lambda: 30_000_000,
    "table_check": lambda: 30_000_000,
    "site_table": lambda: 30_000_000,
    "csp_report": lambda: 20_000,
}
"""Bytes that a route takes; every other one takes `settings.DATA_UPLOAD_MAX_MEMORY_SIZE`."""


_LONGEST_NUMBER = 18
"""Digits of a length; Python refuses to read numbers of thousands of them."""


class TooLarge(WinnowError):
    status = 413
    code = "too_large"

    def __init__(self, limit: int) -> None:
        super().__init__(f"That is more than can be sent here ({limit // 1000:,} kB). Send less at once.")


class Limits:
    """Before the check of CSRF tokens, which reads whole forms."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self.get_response(request)

    def process_view(self, request: HttpRequest, view: Any, args: Any, kwargs: Any) -> HttpResponse | None:  # noqa: ARG002
        assert request.resolver_match is not None
        key = routes.key_of(request.resolver_match)
        try:
            _check_body(request, key)
            _count(request, key)
        except (TooMany, TooLarge) as refused:
            return answer(request, refused)
        return None


def _check_body(request: HttpRequest, key: str) -> None:
    limit = BODIES[key]() if key in BODIES else settings.DATA_UPLOAD_MAX_MEMORY_SIZE
    length = request.META.get("CONTENT_LENGTH") or "0"
    if not (length.isascii() and length.isdecimal()) or len(length) > _LONGEST_NUMBER or int(length) > limit:
        raise TooLarge(limit)


def _count(request: HttpRequest, key: str) -> None:
    # ten thousand files are sent in one go: no rate for what an upload token opens (quotas are the sites')
    what = "" if key in access.BY_TOKEN else next((name for name in (key, f"{key.partition(':')[0]}:") if name in RATES), "")
    if what and settings.THROTTLES:
        user = request.user
        count(what, f"user-{user.pk}" if user.is_authenticated else client_address(request), RATES[what])
