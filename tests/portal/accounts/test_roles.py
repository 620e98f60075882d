"""Roles hold from the next request and are gone at the next request."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest

from portal.accounts import access, services
from portal.accounts.models import Role, Site
from portal.audit.models import AuditEvent
from portal.core.errors import BadInput, NotVisible, WrongState
from portal.images.models import Image, Patient, Upload
from tests.cast import Cast, make_image, make_user
from training.synthetic import STYLES

pytestmark = pytest.mark.django_db


def test_a_granted_role_holds_at_the_next_request_and_a_revoked_one_is_gone(cast: Cast) -> None:
    browser = cast.client(cast.ravi)
    assert browser.get("/people/").status_code == 403
    membership = services.grant(user=cast.ravi, role=Role.SYSTEM_ADMIN, actor=cast.sys)
    assert browser.get("/people/").status_code == 200
    services.revoke(membership=membership, actor=cast.sys)
    assert browser.get("/people/").status_code == 403


def test_grant_and_revoke_are_audited_once(cast: Cast) -> None:
    for _ in range(2):
        membership = services.grant(user=cast.ravi, role=Role.UPLOADER, site=cast.north, actor=cast.sys)
    for _ in range(2):
        services.revoke(membership=membership, actor=cast.sys)
    events = AuditEvent.objects.values_list("action", "actor_id", "subject_id", "site_id", "details")
    person, site, details = cast.ravi.pk, cast.north.pk, {"role": "uploader"}
    assert list(events) == [
        ("role_granted", cast.sys.pk, person, site, details),
        ("role_revoked", cast.sys.pk, person, site, details),
    ]


def test_the_last_system_administrator_stays(cast: Cast) -> None:
    with pytest.raises(WrongState):
        services.revoke(membership=cast.sys.memberships.get(), actor=cast.sys)
    with pytest.raises(WrongState):
        services.deactivate(user=cast.sys, actor=cast.sys)


def test_of_two_system_administrators_one_may_go(cast: Cast) -> None:
    second = make_user("second", (Role.SYSTEM_ADMIN, None))
    services.deactivate(user=cast.sys, actor=second)
    with pytest.raises(WrongState):
        services.deactivate(user=second, actor=second)


def test_a_closed_account_is_out_at_its_next_request(cast: Cast) -> None:
    browser = cast.client(cast.alice)
    assert browser.get("/sites/").status_code == 200
    services.deactivate(user=cast.alice, actor=cast.sys)
    assert browser.get("/sites/").status_code == 302


def test_an_administrator_role_has_no_site(cast: Cast) -> None:
    with pytest.raises(BadInput):
        services.grant(user=cast.ravi, role=Role.MODEL_ADMIN, site=cast.north, actor=cast.sys)


def test_the_role_of_one_site_opens_no_other(cast: Cast) -> None:
    assert access.can(cast.alice, "upload", site=cast.north.pk)
    assert not access.can(cast.alice, "upload", site=cast.river.pk)
    assert list(access.visible(Site, cast.alice)) == [cast.north]
    assert access.visible(Site, cast.rita).count() == 0
    assert access.visible(Site, cast.max).count() == 2


def test_a_site_is_created_once(cast: Cast) -> None:
    site = services.create_site(name="Hill Station", country="Peru", actor=cast.sys)
    assert (site.slug, AuditEvent.objects.get().action) == ("hill-station", "site_created")
    for name in ("Hill Station", "hill station!", "???"):
        with pytest.raises(BadInput):
            services.create_site(name=name, actor=cast.sys)


def test_the_example_sites_are_those_of_the_generator_and_made_once(db: None) -> None:
    assert set(services.EXAMPLE_SITES) == set(STYLES)
    first, second = services.ensure_example_sites(), services.ensure_example_sites()
    assert first == second
    for site, uploader in first.values():
        assert access.can(uploader, "upload", site=site.pk)
        assert not uploader.has_usable_password()


def test_a_row_is_found_by_its_key_exactly_where_visible_shows_it(cast: Cast) -> None:
    make_image(cast.north, state="clean", patient="P1")
    make_image(cast.river, state="clean", patient="P2")
    things = [cast.north, cast.river, *Upload.objects.all(), *Image.objects.all(), *Patient.objects.all()]
    assert {type(thing) for thing in things} == {Site, Upload, Image, Patient}
    for person in (cast.alice, cast.bob, cast.lena, cast.rita, cast.max, cast.sys):
        keys: list[tuple[Any, int]] = [(type(thing), thing.pk) for thing in things]
        for model, pk in [*keys, (Upload, 0), (Upload, -1), (Image, 1 << 63), (Image, 999_999)]:
            shown = access.visible(model, person).filter(pk=pk).first()
            found = None
            with contextlib.suppress(NotVisible):
                found = access.get_visible(model, person, pk)
            assert found == shown, (person, model, pk)
            if found is not None:
                assert all(getattr(found, field.attname) == getattr(shown, field.attname) for field in model._meta.concrete_fields)
