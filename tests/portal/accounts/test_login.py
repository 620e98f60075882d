"""One way in: e-mail and password, then the second factor where there is one. By invitation, throttled."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from allauth.mfa.totp.internal import auth as totp
from django.core import mail
from django.core.cache import cache
from django.test import Client
from django.urls import reverse

from portal.accounts import access
from portal.audit.models import AuditEvent
from tests.cast import PASSWORD, Cast

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _forget_attempts() -> Iterator[None]:
    cache.clear()
    yield
    cache.clear()


def _log_in(browser: Client, email: str, password: str = PASSWORD) -> int:
    return browser.post(reverse("account_login"), {"login": email, "password": password}).status_code


def test_the_right_password_opens_and_leaves_an_event(cast: Cast) -> None:
    browser = Client()
    assert _log_in(browser, cast.sys.email) == 302
    assert browser.get("/people/").status_code == 200
    assert AuditEvent.objects.filter(action="logged_in", actor_id=cast.sys.pk).count() == 1


def test_the_wrong_password_and_an_unknown_address_look_the_same(cast: Cast) -> None:
    pages = []
    for email in (cast.sys.email, "nobody@example.org"):
        answer = Client().post(reverse("account_login"), {"login": email, "password": "wrong horse battery"})
        pages.append(re.sub(r'nonce="[^"]*"|value="[^"]*"|"x-csrftoken": "[^"]*"', "", answer.content.decode()))
    assert pages[0] == pages[1]


def test_guessing_is_throttled_even_with_the_right_password_at_the_end(cast: Cast) -> None:
    browser = Client()
    for _ in range(6):
        _log_in(browser, cast.sys.email, "wrong horse battery")
    _log_in(browser, cast.sys.email)
    assert browser.get("/people/").status_code == 302


def test_a_closed_account_cannot_log_in(cast: Cast) -> None:
    cast.alice.is_active = False
    cast.alice.save()
    browser = Client()
    _log_in(browser, cast.alice.email)
    assert browser.get("/sites/").status_code == 302


def test_nobody_signs_up(cast: Cast) -> None:
    answer = Client().get(reverse("account_signup"))
    assert b"by invitation" in answer.content
    Client().post(reverse("account_signup"), {"email": "new@example.org", "password1": PASSWORD})
    assert _log_in(Client(), "new@example.org") == 200


def test_the_second_factor_is_asked_for_and_a_recovery_code_replaces_it(cast: Cast) -> None:
    browser = cast.client(cast.max)
    browser.post(reverse("account_reauthenticate"), {"password": PASSWORD})
    secret = browser.get(reverse("mfa_activate_totp")).context["form"].secret
    answer = browser.post(reverse("mfa_activate_totp"), {"code": _code(secret)})
    assert answer.status_code == 302
    codes = browser.get(reverse("mfa_view_recovery_codes")).context["unused_codes"]
    stranger = Client()
    answer = stranger.post(reverse("account_login"), {"login": cast.max.email, "password": PASSWORD})
    assert answer.headers["Location"] == reverse("mfa_authenticate")
    assert stranger.get("/sites/").status_code == 302
    assert stranger.get(reverse("mfa_authenticate")).status_code == 200
    assert stranger.post(reverse("mfa_authenticate"), {"code": "000000"}).status_code == 200
    assert stranger.post(reverse("mfa_authenticate"), {"code": codes[0]}).status_code == 302
    assert stranger.get("/sites/").status_code == 200


def _code(secret: str) -> str:
    return str(totp.format_hotp_value(totp.hotp_value(secret, next(totp.yield_hotp_counters_from_time()))))


def test_the_way_to_a_new_password_is_shown_once() -> None:
    assert Client().get(reverse("account_login")).content.decode().count(reverse("account_reset_password")) == 1


def test_a_forgotten_password_is_reset_by_mail_without_telling_who_has_an_account(cast: Cast) -> None:
    pages = [Client().post(reverse("account_reset_password"), {"email": email}) for email in (cast.bob.email, "nobody@example.org")]
    assert {page.status_code for page in pages} == {302}
    assert len({page.headers["Location"] for page in pages}) == 1
    assert [m.to for m in mail.outbox if "password/reset/key" in m.body] == [[cast.bob.email]]


@pytest.mark.parametrize("route", sorted(access.OWN_ACCOUNT - {"mfa_remove_webauthn", "mfa_edit_webauthn"}))
def test_every_page_of_ones_own_account_stands(cast: Cast, route: str) -> None:
    assert cast.client(cast.ravi).get(reverse(route), follow=True).status_code in (200, 404)


def test_ones_address_is_changed_by_nobody(cast: Cast) -> None:
    assert cast.client(cast.sys).get(reverse("account_email")).status_code == 403


def test_the_login_page_has_no_inline_code(cast: Cast) -> None:
    page = Client().get(reverse("account_login"))
    html = page.content.decode()
    assert "style=" not in html
    assert not re.search(r"\son\w+=", html)
    assert "unsafe-inline" not in page.headers["Content-Security-Policy"]
