"""An invitation makes one account, once, with the roles that it names."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest
from django.db import connection
from django.db.models.functions import Now

from portal.accounts import services
from portal.accounts.models import Invitation, Membership, Role, User
from portal.audit.models import AuditEvent
from portal.core.errors import BadInput, NotVisible, WinnowError, WrongState
from tests.cast import PASSWORD, Cast

pytestmark = pytest.mark.django_db(transaction=True)


def _token(link: str) -> str:
    return link.split("/")[2]


def _accept(link: str, **changed: str) -> User:
    return services.accept_invitation(**{"token": _token(link), "email": "new@example.org", "name": "New", "password": PASSWORD, **changed})


def test_an_accepted_invitation_makes_an_account_with_its_roles(cast: Cast) -> None:
    _, link = services.invite(email="New@Example.org", roles=[(Role.UPLOADER, cast.north), (Role.READER, None)], actor=cast.sys)
    user = _accept(link, email="somebody.else@example.org")
    assert user.email == "new@example.org"
    assert set(user.memberships.values_list("role", "site__slug")) == {("uploader", "north"), ("reader", None)}
    assert user.check_password(PASSWORD)
    actions = list(AuditEvent.objects.values_list("action", "actor_id"))
    assert actions == [("invited", cast.sys.pk), ("invitation_accepted", user.pk)]


def test_only_the_hash_of_the_token_is_kept(cast: Cast) -> None:
    invitation, link = services.invite(email="new@example.org", roles=[(Role.READER, None)], actor=cast.sys)
    assert _token(link) not in str(Invitation.objects.filter(pk=invitation.pk).values().get())
    assert _token(link) not in str(list(AuditEvent.objects.values()))


def test_a_used_link_is_dead(cast: Cast) -> None:
    _, link = services.invite(email="new@example.org", roles=[(Role.READER, None)], actor=cast.sys)
    _accept(link)
    with pytest.raises(NotVisible):
        _accept(link)


def test_an_expired_a_void_and_an_unknown_link_give_the_same_answer(cast: Cast) -> None:
    invitation, expired = services.invite(email="one@example.org", roles=[(Role.READER, None)], actor=cast.sys)
    Invitation.objects.filter(pk=invitation.pk).update(expires=Now() - timedelta(seconds=1))
    second, void = services.invite(email="two@example.org", roles=[(Role.READER, None)], actor=cast.sys)
    services.void_invitation(invitation=second, actor=cast.sys)
    said = set()
    for link in (expired, void, "/invitation/never-was/"):
        with pytest.raises(NotVisible) as error:
            _accept(link)
        said.add(error.value.message)
    assert len(said) == 1


def test_a_void_invitation_cannot_be_ended_again(cast: Cast) -> None:
    invitation, _ = services.invite(email="one@example.org", roles=[(Role.READER, None)], actor=cast.sys)
    services.void_invitation(invitation=invitation, actor=cast.sys)
    with pytest.raises(WrongState):
        services.void_invitation(invitation=invitation, actor=cast.sys)


def test_of_eight_simultaneous_clicks_one_makes_an_account(cast: Cast) -> None:
    link = _invite_first()
    outcomes: list[str] = []

    def click(number: int) -> None:
        try:
            _accept(link, email=f"p{number}@example.org")
            outcomes.append("made")
        except WinnowError as error:
            outcomes.append(error.code)
        finally:
            connection.close()

    clicks = [threading.Thread(target=click, args=(n,)) for n in range(8)]
    for each in clicks:
        each.start()
    for each in clicks:
        each.join()
    assert sorted(outcomes) == ["made"] + ["not_found"] * 7
    assert User.objects.filter(name="New").count() == 1


def _invite_first() -> str:
    Membership.objects.filter(role=Role.SYSTEM_ADMIN).delete()
    link = services.first_administrator_link()
    assert link
    return link


def test_the_first_administrator_gets_all_roles_that_one_person_needs(db: None) -> None:
    user = _accept(_invite_first())
    assert set(user.memberships.values_list("role", flat=True)) == {"system_admin", "model_admin", "study_lead", "reader", "adjudicator"}
    assert services.first_administrator_link() is None


def test_a_new_first_administrator_link_ends_the_one_before(db: None) -> None:
    first, second = _invite_first(), _invite_first()
    with pytest.raises(NotVisible):
        _accept(first)
    assert _accept(second).is_active


def test_a_first_administrator_link_is_dead_once_there_is_an_administrator(cast: Cast) -> None:
    link = _invite_first()
    services.grant(user=cast.max, role=Role.SYSTEM_ADMIN, actor=None)
    with pytest.raises(NotVisible):
        _accept(link)


@pytest.mark.parametrize(("changed", "part"), [({"password": "short"}, "too short"), ({"password": "1234567890123"}, "numeric")])
def test_a_weak_password_is_refused_and_the_link_stays(cast: Cast, changed: dict[str, str], part: str) -> None:
    _, link = services.invite(email="new@example.org", roles=[(Role.READER, None)], actor=cast.sys)
    with pytest.raises(BadInput, match=part):
        _accept(link, **changed)
    assert _accept(link).is_active


def test_whoever_has_an_account_is_not_invited_again(cast: Cast) -> None:
    with pytest.raises(BadInput, match="account already"):
        services.invite(email=cast.bob.email, roles=[(Role.READER, None)], actor=cast.sys)


@pytest.mark.parametrize("role", [Role.UPLOADER, Role.LEAD])
def test_a_role_of_a_site_needs_a_site(cast: Cast, role: Role) -> None:
    with pytest.raises(BadInput, match="Choose the site"):
        services.invite(email="new@example.org", roles=[(role, None)], actor=cast.sys)


def test_a_second_invitation_to_an_address_ends_the_first(cast: Cast) -> None:
    _, first = services.invite(email="new@example.org", roles=[(Role.READER, None)], actor=cast.sys)
    services.invite(email="new@example.org", roles=[(Role.READER, None)], actor=cast.sys)
    with pytest.raises(NotVisible):
        _accept(first)


def test_the_invitations_of_a_closed_account_end(cast: Cast) -> None:
    services.grant(user=cast.max, role=Role.SYSTEM_ADMIN, actor=cast.sys)
    _, link = services.invite(email="new@example.org", roles=[(Role.READER, None)], actor=cast.sys)
    services.deactivate(user=cast.sys, actor=cast.max)
    with pytest.raises(NotVisible):
        _accept(link)
