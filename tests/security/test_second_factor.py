"""Who has a role that asks for a second factor reaches nothing before they have one, and the password is asked for again before what
cannot be undone."""

from __future__ import annotations

import json
import re
import time
import uuid
from typing import Any

import pytest
from allauth.mfa.recovery_codes.internal.auth import RecoveryCodes
from allauth.mfa.totp.internal import auth as totp
from django.core.cache import cache
from django.test import Client
from django.urls import resolve, reverse

from portal.accounts import access, routes, services, tokens
from portal.accounts.models import Invitation, Role, UploadToken, User
from tests.cast import PASSWORD, Cast

pytestmark = pytest.mark.django_db
GUARD = "portal.accounts.factors.SecondFactor"
SETUP = "/accounts/2fa/"
NEW = {"email": "new@example.org", "roles": ["reader"]}


@pytest.fixture
def ruled(settings: Any) -> None:
    settings.SECOND_FACTOR_ROLES = frozenset({"system_admin", "lead", "uploader"})


@pytest.fixture
def lately(settings: Any) -> None:
    settings.REAUTHENTICATE_MINUTES = 15


def log_in(email: str) -> Client:
    browser = Client()
    assert browser.post(reverse("account_login"), {"login": email, "password": PASSWORD}).status_code == 302
    return browser


def code_of(secret: str) -> str:
    cache.clear()  # allauth takes a code once; a test is quicker than the next code
    return str(totp.format_hotp_value(totp.hotp_value(secret, int(time.time()) // 30)))


def set_up(browser: Client) -> tuple[str, list[str]]:
    """Through the real pages: the password again, the secret, the first code, the recovery codes."""
    asked = browser.get(reverse("mfa_activate_totp"))
    assert asked.headers["Location"].startswith(reverse("account_reauthenticate"))
    assert browser.get(asked.headers["Location"]).status_code == 200
    back = browser.post(asked.headers["Location"], {"password": PASSWORD})
    secret = browser.get(back.headers["Location"]).context["form"].secret
    assert browser.post(reverse("mfa_activate_totp"), {"code": code_of(secret)}).status_code == 302
    return secret, browser.get(reverse("mfa_view_recovery_codes")).context["unused_codes"]


def led_to_setup(response: Any) -> bool:
    return bool(response.status_code == 302 and response.headers["Location"] == SETUP)


def not_led_from(browser: Client) -> list[str]:
    """The routes that this person's roles reach, that have no part in setting a factor up, and that do not lead there."""
    user = User.objects.get(pk=browser.session["_auth_user_id"])
    skipped = {*access.BY_TOKEN, *access.FACTOR_SETUP}
    keys = {key for key, _, _ in routes.patterns() if key not in skipped and not access.is_open(key) and access.reaches(user, key)}
    assert len(keys) > 25
    return sorted(key for key in keys if not _leads(browser, key))


def _leads(browser: Client, key: str) -> bool:
    page = browser.get(_address(key))
    if key.startswith("api:"):
        return page.status_code == 403 and page.json()["code"] == "second_factor_needed"
    return led_to_setup(page)


def _address(key: str) -> str:
    """An address of the route, of things that need not be there: the door is before them."""
    whole = next(whole for found, _, whole in routes.patterns() if found == key)
    text = re.sub(r"<int:\w+>|\(\?P<\w+>[^)]*\)", "1", whole)
    text = "/" + re.sub(r"<uuid:\w+>", str(uuid.UUID(int=1)), text).replace("^", "").replace("\\Z", "").replace("$", "")
    text = re.sub(r"<(?:\w+:)?\w+>", "x", text)
    assert routes.key_of(resolve(text)) == key, text
    return text


def test_from_every_page_one_is_led_to_the_setup_and_nowhere_else(cast: Cast, ruled: None) -> None:
    for user in (cast.sys, cast.lena):
        browser = cast.client(user)
        assert not_led_from(browser) == []
        page = browser.get("/", follow=True)
        assert page.redirect_chain == [(SETUP, 302)]
        assert b"Your role asks for a second factor" in page.content


def test_a_fault_in_the_guard_would_be_seen(cast: Cast, ruled: None, settings: Any) -> None:
    settings.MIDDLEWARE = [name for name in settings.MIDDLEWARE if name != GUARD]
    assert {"people", "audit_list", "api:image-list", "mfa_view_recovery_codes"} <= set(not_led_from(cast.client(cast.sys)))


def test_nothing_is_done_by_who_lacks_the_factor(cast: Cast, ruled: None) -> None:
    browser = cast.client(cast.sys)
    assert led_to_setup(browser.post(reverse("invite"), NEW))
    assert not Invitation.objects.exists()
    piece = browser.get("/people/", headers={"HX-Request": "true"})
    assert piece.headers["HX-Redirect"] == SETUP
    assert piece.content == b""
    asked = browser.get("/people/", headers={"Accept": "application/json"})
    assert asked.status_code == 403
    assert asked.json()["code"] == "second_factor_needed"


def test_the_way_to_a_factor_and_the_way_out_stand_open(cast: Cast, ruled: None) -> None:
    browser = log_in(cast.sys.email)
    for key in sorted(access.FACTOR_SETUP - {"mfa_reauthenticate", "mfa_reauthenticate_webauthn", "account_logout"}):
        page = browser.get(reverse(key), follow=True)
        assert page.status_code == 200, key
        assert SETUP not in [address for address, _ in page.redirect_chain], key
    assert browser.post(reverse("account_logout")).status_code == 302
    assert browser.get(SETUP).status_code == 302


def test_with_a_factor_the_pages_open_and_the_next_login_asks_for_it(cast: Cast, ruled: None) -> None:
    browser = log_in(cast.sys.email)
    secret, codes = set_up(browser)
    assert browser.get("/people/").status_code == 200
    for answer in (code_of(secret), codes[0]):
        again = log_in(cast.sys.email)
        assert again.get("/people/").headers["Location"].startswith(reverse("account_login"))
        assert again.post(reverse("mfa_authenticate"), {"code": "000000"}).status_code == 200
        assert again.get("/people/").status_code == 302
        cache.clear()
        assert again.post(reverse("mfa_authenticate"), {"code": answer}).status_code == 302
        assert again.get("/people/").status_code == 200
    spent = log_in(cast.sys.email)
    assert spent.post(reverse("mfa_authenticate"), {"code": codes[0]}).status_code == 200
    assert spent.get("/people/").status_code == 302


def test_a_removed_factor_closes_the_door_with_the_next_request(cast: Cast, ruled: None) -> None:
    browser = log_in(cast.sys.email)
    set_up(browser)
    assert browser.get("/people/").status_code == 200
    assert browser.post(reverse("mfa_deactivate_totp")).status_code == 302
    assert led_to_setup(browser.get("/people/"))


def test_recovery_codes_alone_are_no_factor(cast: Cast, ruled: None) -> None:
    RecoveryCodes.activate(cast.sys)
    assert led_to_setup(cast.client(cast.sys).get("/people/"))


def test_a_role_without_the_rule_is_not_asked_until_it_gets_one_with_it(cast: Cast, ruled: None) -> None:
    browser = cast.client(cast.max)
    assert browser.get("/models/").status_code == 200
    services.grant(user=cast.max, role=Role.LEAD, site=cast.north, actor=cast.sys)
    assert led_to_setup(browser.get("/models/"))


def test_programs_with_a_token_are_not_asked(cast: Cast, ruled: None) -> None:
    secret = tokens.make(site=cast.north, actor=cast.alice, name="laptop", days=7)[1]
    assert led_to_setup(cast.client(cast.alice).get("/"))
    assert Client(headers={"Authorization": f"Token {secret}"}).get(reverse("api:token")).status_code == 200


# ---- the password again --------------------------------------------------------------------------------------------------


def _age(browser: Client, minutes: int) -> None:
    session = browser.session
    for record in session["account_authentication_methods"]:
        record["at"] -= 60 * minutes
    session.save()


def test_after_the_minutes_the_password_is_asked_for_and_what_was_sent_is_carried_out(cast: Cast, lately: None) -> None:
    browser = log_in(cast.sys.email)
    _age(browser, 16)
    assert browser.get("/people/").status_code == 200
    asked = browser.post(reverse("invite"), NEW)
    assert asked.headers["Location"].startswith(reverse("account_reauthenticate"))
    assert browser.get(asked.headers["Location"]).status_code == 200
    assert browser.post(asked.headers["Location"], {"password": "wrong horse battery"}).status_code == 200
    assert not Invitation.objects.exists()
    done = browser.post(asked.headers["Location"], {"password": PASSWORD})
    assert done.status_code in (200, 302)
    assert Invitation.objects.get().email == "new@example.org"
    browser.post(reverse("invite"), NEW | {"email": "second@example.org"})
    assert Invitation.objects.count() == 2


def test_a_young_login_is_not_asked(cast: Cast, lately: None) -> None:
    browser = log_in(cast.sys.email)
    _age(browser, 14)
    browser.post(reverse("invite"), NEW)
    assert Invitation.objects.count() == 1


def test_without_the_guard_an_old_login_would_do_it(cast: Cast, lately: None, settings: Any) -> None:
    settings.MIDDLEWARE = [name for name in settings.MIDDLEWARE if name != GUARD]
    browser = log_in(cast.sys.email)
    _age(browser, 16)
    browser.post(reverse("invite"), NEW)
    assert Invitation.objects.count() == 1


def test_a_right_that_is_taken_in_between_is_not_carried_out(cast: Cast, lately: None) -> None:
    """The kept request runs without the rules of routes before it."""
    services.grant(user=cast.max, role=Role.SYSTEM_ADMIN, actor=cast.sys)
    admin, sender = log_in(cast.max.email), log_in(cast.alice.email)
    _age(admin, 16)
    _age(sender, 16)
    invited = admin.post(reverse("invite"), NEW).headers["Location"]
    made = sender.post(reverse("token_make"), {"name": "laptop", "site": cast.north.pk, "days": 7}).headers["Location"]
    services.revoke(membership=cast.max.memberships.get(role=Role.SYSTEM_ADMIN), actor=cast.sys)
    services.revoke(membership=cast.alice.memberships.get(), actor=cast.sys)
    assert admin.post(invited, {"password": PASSWORD}).status_code == 403
    sender.post(made, {"password": PASSWORD})
    assert not Invitation.objects.exists()
    assert not UploadToken.objects.exists()


@pytest.mark.parametrize("key", sorted(access.SENSITIVE))
def test_every_sensitive_route_asks(cast: Cast, lately: None, key: str) -> None:
    user = next(user for user in cast.people().values() if access.reaches(user, key))
    address = _address(key)
    browser = log_in(user.email)
    _age(browser, 16)
    assert browser.post(address).headers["Location"].startswith(reverse("account_reauthenticate"))
    piece = browser.post(address, headers={"HX-Request": "true"})
    assert piece.headers["HX-Redirect"].startswith(reverse("account_reauthenticate"))
    told = browser.post(address, headers={"Accept": "application/json"})
    assert (told.status_code, json.loads(told.content)["code"]) == (403, "reauthentication_needed")
