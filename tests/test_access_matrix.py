"""Nobody sees what is not theirs: every address, every method, every role, own and other sites. And the matrix itself has teeth."""

from __future__ import annotations

import logging
import re
import sys
import types
from collections.abc import Callable
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.test import Client
from django.urls import path

from portal import urls as portal_urls
from portal.accounts import access, routes, tokens
from portal.accounts.middleware import RouteRules
from portal.accounts.models import Role, Site, User
from portal.images.models import Image
from tests.access_matrix import body_of, faults, make_things, masked, people, token_faults
from tests.cast import Cast, make_cast

pytestmark = pytest.mark.django_db
PEOPLE = ["nobody", "roleless", "alice", "bob", "lena", "rita", "ravi", "ada", "stella", "max", "sys"]

STAFF = frozenset({Role.UPLOADER, Role.LEAD})
ADMINS = frozenset({Role.MODEL_ADMIN, Role.SYSTEM_ADMIN})
SYSTEM = frozenset({Role.SYSTEM_ADMIN})
READERS = frozenset({Role.READER, Role.ADJUDICATOR})
STUDY = frozenset({Role.STUDY_LEAD}) | ADMINS
WIDEST: dict[str, frozenset[Role]] = {
    "people/": SYSTEM,
    "jobs/": SYSTEM,
    "store/": SYSTEM,
    "audit/": frozenset({Role.LEAD}) | SYSTEM,
    "exams/": frozenset({Role.LEAD}),
    "erasures/": STAFF | ADMINS,
    "sites/": STAFF | ADMINS,
    "images/": STAFF | ADMINS,
    "quarantine/": access.SITE_STAFF,
    "patients/": STAFF | ADMINS,
    "regroupings/": STAFF,
    "tables/": STAFF,
    "wordings/": STAFF,
    "uploads/": STAFF | ADMINS,
    "tokens/": STAFF,
    "collection/": frozenset({Role.LEAD}) | ADMINS,
    "example/": ADMINS,
    "reading/rules/": STUDY,
    "reading/": READERS,
    "adjudication/": frozenset({Role.ADJUDICATOR}),
    "reviews/": STUDY,
    "snapshots/": ADMINS,
    "training/": ADMINS,
    "models/": ADMINS,
    "promotions/": frozenset({Role.MODEL_ADMIN}),
    "api/v1/sites/": STAFF | ADMINS,
    "api/v1/images/": STAFF | ADMINS,
    "api/v1/schema/": frozenset(Role),
}
"""A second opinion on the table: the widest that a route under each address may be."""
BY_TOKEN_ADDRESSES = ("api/v1/token/", "api/v1/uploads/")
OPEN_ADDRESSES = ("invitation/", "health", "accounts/", "csp-report")


@pytest.fixture
def cast(db: None) -> Cast:
    return make_cast()


@pytest.fixture(autouse=True)
def _unthrottled(settings: Any) -> None:
    """Thousands of questions from one address: throttles have tests of their own."""
    settings.ACCOUNT_RATE_LIMITS = False
    logging.getLogger("django.request").setLevel(logging.CRITICAL)


def too_wide() -> list[str]:
    """Routes that reach further than the second opinion allows, or that it has not heard of."""
    found = []
    for key, _, text in routes.patterns():
        if text == "" or text.startswith(OPEN_ADDRESSES):
            continue
        if key in access.BY_TOKEN and key not in access.ROUTES and text.startswith(BY_TOKEN_ADDRESSES):
            continue
        allowed = next((roles for prefix, roles in WIDEST.items() if text.startswith(prefix)), None)
        rule = access.ROUTES.get(key)
        if allowed is None or rule is None or not rule <= allowed:
            found.append(f"{key} at {text}")
    return found


@pytest.mark.parametrize("name", PEOPLE)
def test_every_route_answers_as_the_table_says(cast: Cast, name: str) -> None:
    things = make_things(cast)
    found = list(faults(cast, things, people(cast)[name]))
    assert not found, "\n".join(found)


def test_a_token_opens_the_routes_for_programs_at_its_own_site(cast: Cast) -> None:
    things = make_things(cast)
    secret = tokens.make(site=cast.north, name="another", days=1, actor=cast.alice)[1]
    found = list(token_faults(things, cast.alice, secret))
    assert not found, "\n".join(found)


def test_a_route_for_programs_that_forgets_the_tokens_site_is_found(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    things = make_things(cast)
    secret = tokens.make(site=cast.north, name="another", days=1, actor=cast.alice)[1]
    monkeypatch.setattr(access, "get_visible", lambda model, user, pk: model.objects.get(pk=pk))
    assert any("other object is not visible" in fault for fault in token_faults(things, cast.alice, secret))


def test_every_route_has_a_rule(db: None) -> None:
    assert routes.without_rule() == []
    assert routes.check_rules() == []


def test_every_rule_belongs_to_a_route(db: None) -> None:
    keys = {key for key, _, _ in routes.patterns()}
    assert sorted((access.ROUTES.keys() | access.OWN_ACCOUNT | access.BY_TOKEN.keys()) - keys) == []


def test_no_route_reaches_further_than_its_address_allows(db: None) -> None:
    assert too_wide() == []


def test_unknown_and_hidden_addresses_give_the_same_page(cast: Cast) -> None:
    things = make_things(cast)
    browser = cast.client(cast.alice)
    unknown, hidden = browser.get("/images/no/such/page/"), browser.get(f"/images/{things['image_id'].other.pk}/")
    assert unknown.status_code == hidden.status_code == 404
    assert masked(unknown.content) == masked(hidden.content)


@pytest.mark.parametrize("field", ["site", "upload", "patient", "exam", "image", "snapshot"])
def test_a_filter_does_not_tell_another_sites_number_from_an_absent_one(cast: Cast, field: str) -> None:
    things, browser, found = make_things(cast), cast.client(cast.alice), []
    for key, _, text in routes.patterns():
        if "<" not in text and not text.startswith("accounts/") and access.reaches(cast.alice, key) and not access.is_open(key):
            numbers = [_number(getattr(things[f"{field}_id"], which)) for which in ("other", "absent")]
            other, absent = (_filtered(browser, text, field, number, numbers) for number in numbers)
            if other != absent:
                found.append(f"{text}?{field}=")
    # A snapshot belongs to no site, and an uploader sees none: the same must hold.
    assert not found, found


def _number(thing: Any) -> str:
    return str(thing.pk if isinstance(thing, Model) else thing)


def _filtered(browser: Client, text: str, field: str, number: str, numbers: list[str]) -> tuple[int, bytes]:
    """The answer without what repeats the question. Both numbers are struck out of both answers: one may be that of something else too."""
    answer = browser.get(f"/{text}", {field: number})
    either = "|".join(numbers)
    body = re.sub(rf'{field}=({either})\b|value="({either})"'.encode(), b"", body_of(answer))
    return answer.status_code, masked(body)


# ---- planted faults: what the matrix is for, it finds -----------------------------------------------------------------


def plant(monkeypatch: pytest.MonkeyPatch, settings: Any, view: Callable[..., HttpResponse], address: str, name: str) -> None:
    module = types.ModuleType("planted_urls")
    module.urlpatterns = [*portal_urls.urlpatterns, path(address, view, name=name)]  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "planted_urls", module)
    settings.ROOT_URLCONF = "planted_urls"


def _leaky(request: HttpRequest, image_id: int) -> HttpResponse:
    del request
    image = Image.objects.filter(pk=image_id).first()
    return JsonResponse({"name": image.original_name} if image else {}, status=200 if image else 404)


def test_a_route_without_a_rule_is_found_and_refuses_the_start(monkeypatch: pytest.MonkeyPatch, settings: Any) -> None:
    plant(monkeypatch, settings, _leaky, "images/<int:image_id>/leak/", "planted")
    assert routes.without_rule() == ["planted"]
    assert [error.id for error in routes.check_rules()] == ["accounts.E001"]
    with pytest.raises(ImproperlyConfigured, match="planted"):
        RouteRules(lambda request: HttpResponse())


def test_an_unnamed_route_without_a_rule_is_found(monkeypatch: pytest.MonkeyPatch, settings: Any) -> None:
    plant(monkeypatch, settings, _leaky, "images/<int:image_id>/leak/", "")
    assert routes.without_rule() == ["images/<int:image_id>/leak/"]


def test_a_widened_rule_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    before = set(too_wide())
    monkeypatch.setitem(access.ROUTES, "people", access.EVERYONE)
    monkeypatch.setitem(access.ROUTES, "image", None)
    assert set(too_wide()) - before == {"image at images/<int:image_id>/", "people at people/"}


def test_a_view_that_forgets_visible_is_found(cast: Cast, monkeypatch: pytest.MonkeyPatch, settings: Any) -> None:
    plant(monkeypatch, settings, _leaky, "images/<int:image_id>/leak/", "planted")
    monkeypatch.setitem(access.ROUTES, "planted", access.SITE_STAFF)
    found = list(faults(cast, make_things(cast), cast.alice, only="planted"))
    assert any("other object is not visible" in fault for fault in found)


@pytest.mark.parametrize(("route", "quickly"), [("image", True), ("erasure", False)])
def test_a_visible_that_shows_everything_is_found(cast: Cast, monkeypatch: pytest.MonkeyPatch, route: str, quickly: bool) -> None:
    """Both ways by which `get_visible` finds a row: by its own column, and by the statement that `visible` begins."""
    things = make_things(cast)
    honest, sites = access.visible, access.sites

    def careless(model: type[Model], user: User) -> QuerySet[Any]:
        return model._default_manager.all() if _asked_by(2) else honest(model, user)

    def too_many(user: User, *wanted: Any) -> set[int]:
        return set(Site.objects.values_list("pk", flat=True)) if _asked_by(2) else sites(user, *wanted)

    def _asked_by(frames: int) -> bool:
        return sys._getframe(frames).f_code.co_name == "get_visible"

    monkeypatch.setattr(access, *(("sites", too_many) if quickly else ("visible", careless)))
    found = list(faults(cast, things, cast.lena, only=route))
    assert any("other object is not visible" in fault for fault in found)
