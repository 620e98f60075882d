"""Whatever a person sends to pages and API: what another site has, and what nobody has, are answered alike; nonsense breaks nothing."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import pytest
from django.http import HttpRequest, HttpResponse
from django.test import Client

from portal.accounts import access, routes
from portal.accounts.models import Site, User
from portal.images import selectors as images
from portal.images.models import Image
from tests.access_matrix import make_things, signed_in
from tests.cast import Cast, make_cast
from tests.foreign_values import NO_WORD, WORD, Entry, ask, breaks, entries, leaks, lookups, make_river
from tests.test_access_matrix import plant

pytestmark = pytest.mark.django_db
SITE_PEOPLE = ["lena", "ravi", "ada"]
"""They reach everything that an uploader reaches too."""


@pytest.fixture
def cast(db: None, settings: Any) -> Cast:
    settings.ACCOUNT_RATE_LIMITS = False
    logging.getLogger("django.request").setLevel(logging.CRITICAL)
    return make_cast()


def _browser(cast: Cast, user: User) -> tuple[Client, dict[str, Any]]:
    things = make_things(cast)
    make_river(cast.river, cast.ada if user == cast.ravi else cast.ravi)
    return signed_in(cast, user), things


@pytest.mark.parametrize("name", SITE_PEOPLE)
def test_no_value_tells_what_another_site_has(cast: Cast, name: str) -> None:
    user = cast.people()[name]
    browser, things = _browser(cast, user)
    found = list(leaks(browser, entries(browser, user, things)))
    assert not found, "\n".join(found)


def test_no_malformed_value_breaks_a_page(cast: Cast) -> None:
    """Each route is asked by one of those who reach it."""
    things = make_things(cast)
    found: list[str] = []
    asked: set[str] = set()
    for user in (cast.sys, cast.max, cast.lena, cast.ada, cast.ravi):
        browser = signed_in(cast, user)
        found += breaks(browser, entries(browser, user, things, but=asked))
        asked |= {key for key, _, _ in routes.patterns() if access.reaches(user, key)}
    assert not found, "\n".join(found)


def test_the_names_are_found_by_watching(cast: Cast) -> None:
    """A generator that finds nothing would find no leak either."""
    browser, things = _browser(cast, cast.lena)
    found = {(entry.route, entry.method, entry.name) for entry in entries(browser, cast.lena, things)}
    assert {
        ("gallery", "GET", "site"), ("gallery", "GET", "search"), ("gallery", "GET", "before"), ("upload_new", "POST", "site"),
        ("upload_list", "GET", "before"), ("upload", "GET", "show"), ("api:image-list", "GET", "site"), ("api:image-list", "GET", "cursor"),
        ("image_withdraw", "POST", "reason"), ("upload_file", "POST", "name"),
    } <= found  # fmt: skip


ORDERINGS = ("ordering", "order_by", "order", "sort", "o")


def test_no_hidden_column_can_be_filtered_or_ordered_by(cast: Cast) -> None:
    """Every path from an image or a site to what hangs on it, as the name of a filter and as the value of an ordering."""
    browser, found = _browser(cast, cast.lena)[0], []
    paths = [path for model in (Site, Image) for path in lookups(model)]
    filters = [f"{path}{end}" for path in paths for end in ("", "__icontains")]
    assert {"memberships__user__email", "site__memberships__user"} <= set(filters)
    # at most so many at once as Django reads
    parts = [dict.fromkeys(filters[at : at + 900], "") for at in range(0, len(filters), 900)]
    for key, _, text in routes.patterns():
        if "<" not in text and not text.startswith("accounts/") and access.reaches(cast.lena, key):
            theirs, nobodys = ([ask(browser, "GET", f"/{text}", dict.fromkeys(part, value)) for part in parts] for value in (WORD, NO_WORD))
            up, down = (
                ask(browser, "GET", f"/{text}", dict.fromkeys(ORDERINGS, f"{sign}site__memberships__user__email")) for sign in ("", "-")
            )
            if theirs != nobodys or up != down:
                found.append(text)
    assert not found, found


def _named(found: Iterator[Entry], name: str) -> Iterator[Entry]:
    return (entry for entry in found if entry.name == name)


# ---- planted faults ---------------------------------------------------------------------------------------------------


def test_choices_that_are_not_the_visible_ones_are_found(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    browser, things = _browser(cast, cast.alice)
    honest = access.visible
    careless = lambda model, user: Site.objects.all() if model is Site else honest(model, user)  # noqa: E731
    monkeypatch.setattr(access, "visible", careless)
    found = list(leaks(browser, _named(entries(browser, cast.alice, things, only="gallery"), "site")))
    assert any(fault.startswith("GET /images/ (gallery) site:") for fault in found), found


def test_a_search_over_other_sites_is_found(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    browser, things = _browser(cast, cast.alice)
    monkeypatch.setattr(images, "filtered", lambda user, filters: Image.objects.all())
    found = list(leaks(browser, _named(entries(browser, cast.alice, things, only="gallery"), "search")))
    assert any("(gallery) search:" in fault for fault in found), found


def _orders(request: HttpRequest) -> HttpResponse:
    rows: Any = Site.objects.filter(name=request.GET["who"]) if request.GET.get("who") else Site.objects.none()
    return HttpResponse("here" if rows.exists() else "nothing")


def _counts(request: HttpRequest) -> HttpResponse:
    return HttpResponse(str(int(request.GET.get("page", "1"))))


@pytest.mark.parametrize(("view", "check", "said"), [(_orders, leaks, "'zanzibar' answers"), (_counts, breaks, "answers 500")])
def test_a_view_that_asks_the_whole_table_or_trusts_a_number_is_found(
    cast: Cast, monkeypatch: pytest.MonkeyPatch, settings: Any, view: Any, check: Any, said: str
) -> None:
    plant(monkeypatch, settings, view, "images/planted/", "planted")
    monkeypatch.setitem(access.ROUTES, "planted", access.SITE_STAFF)
    browser, things = _browser(cast, cast.alice)
    found = list(check(browser, entries(browser, cast.alice, things, only="planted")))
    assert any(said in fault for fault in found), found


def test_a_filter_by_any_lookup_is_found(cast: Cast, monkeypatch: pytest.MonkeyPatch, settings: Any) -> None:
    """What some annotation tools did: every parameter became a filter."""

    def careless(request: HttpRequest) -> HttpResponse:
        rows: Any = Site.objects.all()
        path = "memberships__user__email__icontains"
        return HttpResponse(str(rows.filter(**{path: request.GET[path]}).count() if path in request.GET else 0))

    plant(monkeypatch, settings, careless, "images/planted/", "planted")
    monkeypatch.setitem(access.ROUTES, "planted", access.SITE_STAFF)
    browser = _browser(cast, cast.alice)[0]
    filters = [f"{path}__icontains" for path in lookups(Site)]
    theirs, nobodys = (ask(browser, "GET", "/images/planted/", dict.fromkeys(filters, value)) for value in (WORD, NO_WORD))
    assert theirs != nobodys
