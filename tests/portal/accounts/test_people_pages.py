"""The pages of people, invitations and sites."""

from __future__ import annotations

import re

import pytest
from django.core import mail
from django.test import Client

from portal.accounts.models import Invitation, Site, User
from portal.jobs.models import Job
from tests.cast import PASSWORD, Cast

pytestmark = pytest.mark.django_db


def _invite(cast: Cast, **changed: object) -> str:
    form = {"email": "new@example.org", "roles": ["uploader", "reader"], "site": cast.north.pk, **changed}
    return cast.client(cast.sys).post("/people/invite/", form).content.decode()


def _link(page: str) -> str:
    found = re.search(r'value="(http://testserver/invitation/[^"]+)"', page)
    assert found
    return found[1].removeprefix("http://testserver")


def test_an_administrator_invites_and_the_invited_makes_the_account(cast: Cast) -> None:
    link = _link(_invite(cast))
    stranger = Client()
    page = stranger.get(link).content.decode()
    assert "new@example.org" in page
    assert "Uploader, Reader" in page
    answer = stranger.post(link, {"name": "New Person", "password": PASSWORD})
    assert answer.headers["Location"] == "/accounts/login/"
    user = User.objects.get(email="new@example.org")
    assert set(user.memberships.values_list("role", "site")) == {("uploader", cast.north.pk), ("reader", cast.north.pk)}
    assert stranger.get(link).status_code == 404


def test_the_link_is_shown_once_and_mailed(cast: Cast) -> None:
    link = _link(_invite(cast))
    assert link in mail.outbox[0].body
    assert link not in cast.client(cast.sys).get("/people/").content.decode()


def test_without_a_mail_server_nothing_is_sent(cast: Cast, settings: object) -> None:
    settings.EMAIL_BACKEND = "django.core.mail.backends.console.EmailBackend"  # type: ignore[attr-defined]
    assert "sent by e-mail" not in _invite(cast)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"site": ""}, "Choose the site"),
        ({"roles": []}, "required"),
        ({"email": "nonsense"}, "valid email"),
        ({"email": "bob@example.org"}, "has an account already"),
        ({"site": 99_999}, "Select a valid choice"),
    ],
)
def test_a_wrong_invitation_is_explained_in_the_form(cast: Cast, changed: dict[str, object], said: str) -> None:
    assert said in _invite(cast, **changed)
    assert not Invitation.objects.exists()


def test_a_weak_password_is_explained_and_the_link_still_works(cast: Cast) -> None:
    link = _link(_invite(cast))
    answer = Client().post(link, {"name": "New", "password": "short"})
    assert answer.status_code == 400
    assert "too short" in answer.content.decode()
    assert Client().post(link, {"name": "New", "password": PASSWORD}).status_code == 302


def test_roles_are_given_and_taken_on_the_page_of_a_person(cast: Cast) -> None:
    browser = cast.client(cast.sys)
    page = f"/people/{cast.ravi.pk}/"
    browser.post(f"{page}roles/", {"roles": ["lead"], "site": cast.river.pk})
    held = cast.ravi.memberships.get(role="lead")
    assert "Site lead" in browser.get(page).content.decode()
    browser.post(f"/people/roles/{held.pk}/revoke/")
    assert not cast.ravi.memberships.filter(role="lead").exists()


def test_the_last_administrator_is_told_to_stay(cast: Cast) -> None:
    answer = cast.client(cast.sys).post(f"/people/{cast.sys.pk}/active/")
    assert answer.status_code == 409
    assert "last system administrator" in answer.content.decode()


def test_an_invitation_is_ended_on_the_page(cast: Cast) -> None:
    link = _link(_invite(cast))
    cast.client(cast.sys).post(f"/people/invitations/{Invitation.objects.get().pk}/void/")
    assert Client().get(link).status_code == 404


def test_a_site_is_created_and_its_people_are_listed(cast: Cast) -> None:
    browser = cast.client(cast.sys)
    answer = browser.post("/sites/create/", {"name": "Hill", "country": "Peru"}, follow=True)
    assert "Nobody yet" in answer.content.decode()
    assert Site.objects.filter(slug="hill", country="Peru").exists()
    assert "exists already" in browser.post("/sites/create/", {"name": "Hill"}).content.decode()
    assert "alice@example.org" in cast.client(cast.lena).get(f"/sites/{cast.north.pk}/").content.decode()


def test_an_uploader_sees_the_own_site_alone(cast: Cast) -> None:
    page = cast.client(cast.alice).get("/sites/").content.decode()
    assert "North" in page
    assert "River" not in page


def test_a_failed_job_is_shown_and_retried(cast: Cast) -> None:
    job = Job.objects.create(kind="sanitise", subject_id=1, state="failed", error="the disk was full")
    browser = cast.client(cast.sys)
    assert "the disk was full" in browser.get("/jobs/").content.decode()
    assert browser.post(f"/jobs/{job.pk}/retry/").status_code == 302
    assert Job.objects.filter(kind="sanitise", subject_id=1, state="queued").exists()


def test_the_audit_page_lists_and_filters(cast: Cast) -> None:
    browser = cast.client(cast.sys)
    browser.post("/sites/create/", {"name": "Hill"})
    assert "site_created" in browser.get("/audit/").content.decode()
    assert "site_created" not in browser.get("/audit/?subject=images.Image:1").content.decode()
    assert browser.get("/audit/?before=abc&subject=x:y").status_code == 200


@pytest.mark.parametrize("address", ["/people/", "/sites/", "/audit/"])
def test_the_number_of_queries_does_not_grow_with_the_rows(cast: Cast, address: str, django_assert_max_num_queries: object) -> None:
    browser = cast.client(cast.sys)
    for number in range(12):
        browser.post("/sites/create/", {"name": f"Site {number}"})
        _invite(cast, email=f"p{number}@example.org")
    with django_assert_max_num_queries(12):  # type: ignore[operator]
        assert browser.get(address).status_code == 200
