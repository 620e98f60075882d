"""Logging in by the clinic's own provider, over real HTTP: who may come in is still said by invitations alone."""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import threading
import time
from collections.abc import Iterator
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import jwt
import pytest
from allauth.account.models import EmailAddress
from allauth.socialaccount.models import SocialAccount
from cryptography.hazmat.primitives.asymmetric import rsa
from django.test import Client
from django.urls import reverse

from portal.accounts import services
from portal.accounts.models import Role, User
from portal.audit.models import AuditEvent
from tests.cast import Cast

pytestmark = pytest.mark.django_db
CLIENT_ID, CLIENT_SECRET = "winnow", "not-a-real-secret"
LOGIN = "/accounts/oidc/clinic/login/"
KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)


class Provider(ThreadingHTTPServer):
    """A small OpenID provider. `person` is who sits before it: their claims go into the userinfo and the ID token."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answers)
        self.person: dict[str, Any] = {}
        self.codes: dict[str, dict[str, str]] = {}
        self.tokens: dict[str, dict[str, Any]] = {}
        self.audience = CLIENT_ID

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def authorize(self, asked: dict[str, str]) -> str:
        """Where the browser is sent back to."""
        assert asked["client_id"] == CLIENT_ID
        assert asked["response_type"] == "code"
        assert "openid" in asked["scope"].split()
        code = secrets.token_hex(8)
        self.codes[code] = asked
        return asked["redirect_uri"] + "?" + urlencode({"code": code, "state": asked["state"]})

    def token(self, sent: dict[str, str]) -> dict[str, Any] | None:
        asked = self.codes.pop(sent["code"], None)
        proof = base64.urlsafe_b64encode(hashlib.sha256(sent.get("code_verifier", "").encode()).digest()).decode().rstrip("=")
        if asked is None or asked.get("code_challenge") != proof or sent.get("client_secret") != CLIENT_SECRET:
            return None
        key, now = secrets.token_hex(8), int(time.time())
        self.tokens[key] = self.person
        claims = {**self.person, "iss": self.url, "aud": self.audience, "iat": now, "exp": now + 60}
        signed = jwt.encode(claims, KEY, algorithm="RS256", headers={"kid": "one"})
        return {"access_token": key, "token_type": "Bearer", "expires_in": 60, "id_token": signed}

    def about(self) -> dict[str, Any]:
        ends = {"authorization_endpoint": "authorize", "token_endpoint": "token", "userinfo_endpoint": "userinfo", "jwks_uri": "keys"}
        return {
            "issuer": self.url,
            "token_endpoint_auth_methods_supported": ["client_secret_post"],
            **{name: f"{self.url}/{end}" for name, end in ends.items()},
        }


class _Answers(BaseHTTPRequestHandler):
    server: Provider

    def do_GET(self) -> None:
        at = urlsplit(self.path)
        if at.path == "/authorize":
            self._answer(302, {}, self.server.authorize(_flat(at.query)))
        elif at.path == "/userinfo":
            found = self.server.tokens.get(self.headers.get("Authorization", "").removeprefix("Bearer "))
            self._answer(401 if found is None else 200, found or {})
        elif at.path == "/keys":
            key = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(KEY.public_key()))
            self._answer(200, {"keys": [{**key, "kid": "one", "alg": "RS256"}]})
        else:
            self._answer(200 if at.path == "/.well-known/openid-configuration" else 404, self.server.about())

    def do_POST(self) -> None:
        sent = _flat(self.rfile.read(int(self.headers["Content-Length"])).decode())
        given = self.server.token(sent)
        self._answer(200 if given else 400, given or {"error": "invalid_grant"})

    def _answer(self, status: int, body: dict[str, Any], location: str = "") -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        if location:
            self.send_header("Location", location)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: the test's output is for its failures."""


def _flat(query: str) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(query).items()}


@pytest.fixture
def provider(settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Provider]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with Provider() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        about = {"server_url": server.url, "fetch_userinfo": True, "oauth_pkce_enabled": True}
        app = {"provider_id": "clinic", "name": "your clinic", "client_id": CLIENT_ID, "secret": CLIENT_SECRET, "settings": about}
        settings.SOCIALACCOUNT_PROVIDERS = {"openid_connect": {"OAUTH_PKCE_ENABLED": True, "APPS": [app]}}
        yield server
        server.shutdown()


def come(provider: Provider, browser: Client | None = None, *, process: str = "login", **claims: Any) -> tuple[Client, Any]:
    """One login as a browser makes it: our button, the provider's page, our callback."""
    browser = browser or Client()
    provider.person = {"sub": "p-1", "name": "Nora New", "email": "nora@example.org", "email_verified": True, **claims}
    away = browser.post(f"{LOGIN}?process={process}")
    assert away.status_code == 302
    at = urlsplit(away.headers["Location"])
    assert f"{at.scheme}://{at.netloc}" == provider.url
    connection = HTTPConnection("127.0.0.1", provider.server_address[1], timeout=10)
    connection.request("GET", f"{at.path}?{at.query}")
    back = urlsplit(connection.getresponse().headers["Location"])
    connection.close()
    return browser, browser.get(f"{back.path}?{back.query}")


def invite(cast: Cast, email: str = "nora@example.org") -> None:
    services.invite(email=email, roles=[(Role.UPLOADER, cast.north), (Role.READER, None)], actor=cast.sys)


def logged_in(browser: Client) -> bool:
    return "_auth_user_id" in browser.session


def refused(browser: Client, page: Any, words: str, people: int = 9) -> bool:
    made = User.objects.count() != people or SocialAccount.objects.exists()
    return words in page.content.decode() and not made and not logged_in(browser)


def test_an_invited_verified_address_gets_its_account_with_the_roles_of_the_invitation(cast: Cast, provider: Provider) -> None:
    invite(cast)
    browser, page = come(provider, email="Nora@Example.org")
    assert page.status_code == 302
    nora = User.objects.get(email="nora@example.org")
    assert {(m.role, m.site_id) for m in nora.memberships.all()} == {("uploader", cast.north.pk), ("reader", None)}
    assert nora.name == "Nora New"
    assert not nora.has_usable_password()
    assert browser.get("/images/").status_code == 200
    actions = set(AuditEvent.objects.filter(actor_id=nora.pk).values_list("action", flat=True))
    assert actions == {"invitation_accepted", "logged_in"}


def test_the_second_login_is_of_the_same_account_and_needs_no_invitation(cast: Cast, provider: Provider) -> None:
    invite(cast)
    come(provider)
    browser, _ = come(provider)
    assert browser.get("/images/").status_code == 200
    assert User.objects.filter(email="nora@example.org").count() == SocialAccount.objects.count() == 1


def test_the_button_stands_on_the_login_page_where_there_is_a_provider(cast: Cast, provider: Provider) -> None:
    assert LOGIN in Client().get(reverse("account_login")).content.decode()
    assert Client().get(LOGIN).status_code == 200  # asks first: a link alone logs nobody in


def test_who_is_not_invited_is_refused(cast: Cast, provider: Provider) -> None:
    invite(cast, "somebody.else@example.org")
    assert refused(*come(provider), "by invitation")


def test_an_ended_invitation_is_none(cast: Cast, provider: Provider) -> None:
    invitation, _ = services.invite(email="nora@example.org", roles=[(Role.READER, None)], actor=cast.sys)
    services.void_invitation(invitation=invitation, actor=cast.sys)
    assert refused(*come(provider), "by invitation")


@pytest.mark.parametrize("verified", [False, None, "true", 1])
def test_an_address_that_is_not_verified_in_so_many_words_is_refused(cast: Cast, provider: Provider, verified: Any) -> None:
    invite(cast)
    assert refused(*come(provider, email_verified=verified), "verify your address")
    assert refused(*come(provider, email_verified=verified, email=cast.sys.email), "verify your address")


def test_a_provider_that_names_no_address_is_refused(cast: Cast, provider: Provider) -> None:
    assert refused(*come(provider, email=None), "verify your address")


def test_somebody_elses_address_is_not_added_to_ones_own_account(cast: Cast, provider: Provider) -> None:
    browser, page = come(provider, cast.client(cast.alice), process="connect", email=cast.bob.email)
    assert page.status_code == 403
    assert "another e-mail address" in page.content.decode()
    assert not SocialAccount.objects.exists()
    assert browser.session["_auth_user_id"] == str(cast.alice.pk)


def test_who_comes_back_with_another_address_is_refused(cast: Cast, provider: Provider) -> None:
    """The provider gave the name to somebody else, or the person another address: the administrator has to look."""
    invite(cast)
    come(provider)
    for email in ("nora.other@example.org", cast.sys.email):
        browser, page = come(provider, email=email)
        assert page.status_code == 403
        assert "another e-mail address" in page.content.decode()
        assert not logged_in(browser)
    assert User.objects.count() == 10


def test_an_account_that_stands_is_entered_by_its_own_verified_address(cast: Cast, provider: Provider) -> None:
    EmailAddress.objects.create(user=cast.alice, email=cast.alice.email, verified=True, primary=True)
    browser, _ = come(provider, email=cast.alice.email)
    assert browser.session["_auth_user_id"] == str(cast.alice.pk)
    cast.alice.refresh_from_db()
    assert cast.alice.has_usable_password()
    assert User.objects.count() == 9


def test_a_closed_account_stays_closed(cast: Cast, provider: Provider) -> None:
    services.deactivate(user=cast.alice, actor=cast.sys)
    browser, _ = come(provider, email=cast.alice.email)
    assert not logged_in(browser)
    assert browser.get("/images/").status_code == 302


def test_an_id_token_for_another_program_opens_nothing(cast: Cast, provider: Provider) -> None:
    invite(cast)
    provider.audience = "another-program"
    browser, _ = come(provider)
    assert not logged_in(browser)
    assert User.objects.count() == 9


def test_an_answer_that_this_browser_did_not_ask_for_opens_nothing(cast: Cast, provider: Provider) -> None:
    invite(cast)
    provider.person = {"sub": "p-1", "email": "nora@example.org", "email_verified": True}
    away = urlsplit(Client().post(LOGIN).headers["Location"])
    back = urlsplit(provider.authorize(_flat(away.query)))
    victim = Client()
    victim.get(f"{back.path}?{back.query}")
    assert not logged_in(victim)
    assert User.objects.count() == 9


def test_the_second_factor_is_asked_for_as_ever_unless_the_provider_is_believed(cast: Cast, provider: Provider, settings: Any) -> None:
    settings.SECOND_FACTOR_ROLES = frozenset({"uploader"})
    invite(cast)
    browser, _ = come(provider)
    assert browser.get("/images/").headers["Location"] == reverse("mfa_index")
    assert browser.get(reverse("mfa_activate_totp")).status_code == 200  # a way on, without any password
    settings.OIDC_HAS_SECOND_FACTOR = True
    assert browser.get("/images/").status_code == 200
    by_password = cast.client(cast.alice)
    assert by_password.get("/images/").headers["Location"] == reverse("mfa_index")


def test_who_has_neither_password_nor_factor_logs_in_again_before_what_is_sensitive(cast: Cast, provider: Provider, settings: Any) -> None:
    settings.REAUTHENTICATE_MINUTES = 15
    invite(cast)
    browser, _ = come(provider)
    session = browser.session
    session["account_authentication_methods"][0]["at"] -= 16 * 60
    session.save()
    sent = {"name": "laptop", "site": cast.north.pk, "days": 7}
    asked = browser.post(reverse("token_make"), sent)
    assert asked.headers["Location"] == LOGIN
    assert b"Log in again" in browser.get(LOGIN).content
    come(provider, browser)
    assert browser.post(reverse("token_make"), sent).status_code == 200
