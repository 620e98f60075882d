"""Which rule of `access.ROUTES` a request falls under, and the check that every address has one."""

from __future__ import annotations

from collections.abc import Iterator

from django.core.checks import CheckMessage, Error
from django.core.exceptions import ImproperlyConfigured
from django.urls import ResolverMatch, URLPattern, URLResolver, get_resolver

from portal.accounts import access


def key_of(match: ResolverMatch) -> str:
    """The name of the route, or its pattern where it has none."""
    return str(match.view_name) if match.url_name else match.route


def patterns() -> Iterator[tuple[str, URLPattern, str]]:
    """Every address there is: its key in `access.ROUTES`, its pattern, and the whole pattern as text."""
    yield from _walk(get_resolver(), "", "")


def _walk(resolver: URLResolver, text: str, names: str) -> Iterator[tuple[str, URLPattern, str]]:
    for entry in resolver.url_patterns:
        whole = text + str(entry.pattern)
        if isinstance(entry, URLPattern):
            yield (f"{names}{entry.name}" if entry.name else whole), entry, whole
        else:
            yield from _walk(entry, whole, f"{names}{entry.namespace}:" if entry.namespace else names)


def without_rule() -> list[str]:
    return sorted({key for key, _, _ in patterns() if not access.has_rule(key)})


def check_rules(**_: object) -> list[CheckMessage]:
    """A Django system check: an address without a rule stops every command."""
    return [
        Error(f"The route '{key}' has no rule.", hint="Add it to ROUTES in portal/accounts/access.py.", id="accounts.E001")
        for key in without_rule()
    ]


def refuse_start_without_rules() -> None:
    """The same for the web server, which runs no system checks."""
    missing = without_rule()
    if missing:
        raise ImproperlyConfigured(f"These routes have no rule in portal/accounts/access.py: {', '.join(missing)}.")
