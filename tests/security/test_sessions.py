"""A login ends: by idleness, by age, by a new password everywhere, by revocation at the next request. Its key changes with roles."""

from __future__ import annotations

import time
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from portal.accounts import services
from portal.accounts.models import Role
from tests.cast import PASSWORD, Cast

pytestmark = pytest.mark.django_db


def _log_in(cast: Cast) -> Client:
    browser = Client()
    assert browser.post(reverse("account_login"), {"login": cast.alice.email, "password": PASSWORD}).status_code == 302
    assert browser.get("/images/").status_code == 200
    return browser


def _age(browser: Client, **seconds: int) -> None:
    session = browser.session
    session["life"] = session["life"] | {name: int(time.time()) - ago for name, ago in seconds.items()}
    session.save()


@pytest.mark.parametrize(("seconds", "status"), [({"seen": 7190}, 200), ({"seen": 7210}, 302), ({"began": 43_210, "seen": 0}, 302)])
def test_a_login_ends_when_it_is_idle_or_old(cast: Cast, seconds: dict[str, int], status: int) -> None:
    browser = _log_in(cast)
    _age(browser, **seconds)
    assert browser.get("/images/").status_code == status
    assert browser.get("/images/").status_code == status


def test_using_it_keeps_it_alive_and_is_noted_once_a_minute(cast: Cast, django_assert_num_queries: Any) -> None:
    browser = _log_in(cast)
    _age(browser, seen=7000)
    browser.get("/images/")
    assert time.time() - browser.session["life"]["seen"] < 60
    with django_assert_num_queries(4):  # session, person, roles, and the page's own: no write
        browser.get("/health")


def test_a_change_of_roles_gives_the_session_a_new_key(cast: Cast) -> None:
    browser = _log_in(cast)
    before = browser.cookies["sessionid"].value
    browser.get("/images/")
    assert browser.cookies["sessionid"].value == before
    services.grant(user=cast.alice, role=Role.LEAD, site=cast.north, actor=cast.sys)
    assert browser.get("/collection/").status_code == 200
    after = browser.cookies["sessionid"].value
    assert after != before
    old = Client()
    old.cookies["sessionid"] = before
    assert old.get("/images/").status_code == 302


def test_a_role_that_is_taken_and_a_closed_account_end_with_the_next_request(cast: Cast) -> None:
    browser = _log_in(cast)
    services.revoke(membership=cast.alice.memberships.get(), actor=cast.sys)
    assert browser.get("/images/").status_code == 403
    services.deactivate(user=cast.alice, actor=cast.sys)
    assert browser.get("/").status_code == 302


def test_a_new_password_ends_every_other_login(cast: Cast) -> None:
    here, elsewhere = _log_in(cast), _log_in(cast)
    new = "another horse battery 7"
    answer = here.post(reverse("account_change_password"), {"oldpassword": PASSWORD, "password1": new, "password2": new})
    assert answer.status_code == 302
    assert here.get("/images/").status_code == 200
    assert elsewhere.get("/images/").status_code == 302


def test_logging_in_gives_a_new_key_and_logging_out_ends_it(cast: Cast) -> None:
    """A key that somebody else planted before the login is worth nothing after it."""
    browser = Client()
    browser.get(reverse("account_login"))
    planted = browser.session
    planted["planted"] = True
    planted.save()
    browser.cookies["sessionid"] = planted.session_key or ""
    browser.post(reverse("account_login"), {"login": cast.alice.email, "password": PASSWORD})
    key = browser.cookies["sessionid"].value
    assert key != planted.session_key
    thief = Client()
    thief.cookies["sessionid"] = planted.session_key or ""
    assert thief.get("/images/").status_code == 302
    browser.post(reverse("account_logout"))
    thief.cookies["sessionid"] = key
    assert thief.get("/images/").status_code == 302
