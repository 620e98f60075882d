"""Study settings: what is read, by whom, how often, and how readers are measured; every version is kept."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import pytest
from django.test import Client

from portal.accounts.models import Membership, Role, User
from portal.audit.models import AuditEvent
from portal.core.errors import BadInput
from portal.reviews import rules
from portal.reviews.models import ReviewRules, ReviewTask
from portal.reviews.routing import ReaderFacts, TaskFacts, can_be_read, may_read
from portal.reviews.services import lease_next, set_rules
from tests.cast import Cast, make_read, make_task, make_user

pytestmark = pytest.mark.django_db
FORM = {"reads_needed": "2", "unsure_asks": "on", "boxes": "asked", "t_lo": "0.05", "t_hi": ""}


def post(client: Client, **said: Any) -> Any:
    return client.post("/reading/rules/", {**FORM, **said}, follow=True)


def test_the_study_lead_sets_all_that_there_is_to_set(cast: Cast) -> None:
    measuring = {"gold_share": "4", "gold_showings": "30", "repeat_share": "2.5", "qualify_agreement": "90", "qualify_sensitivity": "80"}
    response = post(
        cast.client(cast.stella), adaptive="on", reveal="on", only_sites=[cast.river.pk], only_readers=[cast.ravi.pk], **measuring
    )
    assert "in force from now on" in response.content.decode()
    rule = ReviewRules.objects.get()
    assert (rule.site, rule.reads_needed, rule.unsure_asks, rule.adaptive, rule.boxes, rule.reveal) == (None, 2, True, True, "asked", True)
    assert (rule.only_sites, rule.only_readers, rule.t_lo, rule.t_hi) == ([cast.river.pk], [cast.ravi.pk], 0.05, None)
    assert (rule.gold_share, rule.gold_showings, rule.repeat_share) == (0.04, 30, 0.025)
    assert (rule.qualify_agreement, rule.qualify_sensitivity, rule.set_by) == (0.9, 0.8, cast.stella)
    assert AuditEvent.objects.get(action="set_rules").details["after"]["only_readers"] == [cast.ravi.pk]


def test_a_sites_form_begins_with_what_holds_there_and_changes_that_site_alone(cast: Cast) -> None:
    client = cast.client(cast.stella)
    post(client, gold_share="3")
    page = client.get("/reading/rules/", {"site": cast.north.pk})
    assert page.context["form"]["t_lo"].value() == 0.05
    assert "gold_share" not in page.context["form"].fields
    post(client, site=cast.north.pk, reads_needed="3", t_lo="0.05")
    assert [(rules.in_force(site).reads_needed, rules.in_force(site).gold_share) for site in (None, cast.north, cast.river)] == [
        (2, 0.03), (3, 0.0), (2, 0.03),
    ]  # fmt: skip


def test_earlier_versions_stand_below_with_who_changed_what(cast: Cast) -> None:
    post(cast.client(cast.stella))
    page = post(cast.client(cast.max), reads_needed="3", unsure_asks="", only_readers=[cast.ravi.pk])
    (newest, changed), (oldest, _) = page.context["history"]
    assert (newest.set_by, oldest.set_by) == (cast.max, cast.stella)
    assert changed == [
        ("Answers to each picture", "2", "3"),
        ("An answer given as unsure asks one further reader", "yes", "no"),
        ("These readers", "nobody named", "Ravi"),
    ]


def test_what_cannot_be_is_refused_in_words_and_nothing_is_lost(cast: Cast) -> None:
    response = post(cast.client(cast.stella), t_lo="0.9", t_hi="0.1")
    assert response.status_code == 400
    assert "Exchange them" in response.content.decode()
    assert response.context["form"]["unsure_asks"].value()
    assert not ReviewRules.objects.exists()
    wrong: list[dict[str, Any]] = [
        {"reads_needed": 4}, {"boxes": "never"}, {"gold_share": 0.3}, {"repeat_share": -0.1}, {"gold_showings": 0}, {"t_lo": 1.2},
        {"qualify_agreement": 0.0}, {"qualify_sensitivity": 1.1},
    ]  # fmt: skip
    for said in wrong:
        with pytest.raises(BadInput):
            set_rules(site=None, actor=cast.stella, **said)
    with pytest.raises(BadInput, match="all sites at once"):
        set_rules(site=cast.north, gold_share=0.05, actor=cast.stella)


def test_who_is_no_reader_cannot_be_named_and_readers_set_nothing(cast: Cast) -> None:
    assert post(cast.client(cast.stella), only_readers=[cast.alice.pk]).status_code == 400
    for person in (cast.rita, cast.ada, cast.lena):
        assert post(cast.client(person)).status_code == 403
    assert cast.client(cast.stella).get("/reading/rules/", {"site": 10**9}).status_code == 404
    assert not ReviewRules.objects.exists()


def test_only_who_is_named_is_asked_and_at_once(cast: Cast) -> None:
    """Also of questions that were opened before: who has left the study would keep them for ever."""
    make_task(cast.north)
    rosa = make_user("rosa", (Role.READER, cast.river))
    set_rules(site=None, only_readers=[cast.ravi.pk], actor=cast.stella)
    assert (lease_next(reader=cast.rita), lease_next(reader=rosa)) == (None, None)
    set_rules(site=cast.north, only_sites=[cast.river.pk], actor=cast.stella)
    assert lease_next(reader=cast.ravi) is None
    assert lease_next(reader=rosa) is not None
    set_rules(site=cast.north, actor=cast.stella)
    make_task(cast.north)
    assert lease_next(reader=cast.ravi) is not None


def test_the_page_says_whose_pictures_nobody_could_settle(cast: Cast) -> None:
    set_rules(site=None, only_sites=[cast.river.pk], reads_needed=2, actor=cast.stella)
    page = cast.client(cast.stella).get("/reading/rules/")
    few = {line.site.name: line.few for line, *_ in page.context["lines"] if line.site}
    assert few["River"].startswith("1 reader can take part, and by where they work these cannot give 2 independent")
    assert few["River"] in page.content.decode()
    set_rules(site=None, actor=cast.stella)
    assert "third answer is needed" in rules.lines([cast.north])[1].few
    for name in ("tess", "tom"):
        make_user(name, (Role.READER, None))
    assert rules.lines([cast.north])[1].few == ""


@pytest.mark.parametrize("own_site_first", [True, False])
def test_enough_readers_are_enough_by_the_rules_of_routing(own_site_first: bool) -> None:
    """Held against trying every order of readers, one after the other."""
    at = {1: frozenset({1}), 2: frozenset({1}), 3: frozenset({2}), 4: frozenset[int](), 5: frozenset({1, 2})}
    for mask in range(1 << len(at)):
        people = [ReaderFacts(pk, sites) for pk, sites in at.items() if mask >> pk - 1 & 1]
        for site in (1, 2):
            for reads in (1, 2, 3):
                found = False
                for order in permutations(people, reads):
                    given: list[int] = []
                    for reader in order:
                        task = TaskFacts(1, site, 0.5, reads, frozenset(given), where=at)
                        if may_read(reader, task, own_site_first=own_site_first):
                            given.append(reader.id)
                    found = found or len(given) == reads
                assert can_be_read(site, reads, people, own_site_first=own_site_first) == found, (people, site, reads)


def test_a_study_lead_sees_the_reading_and_neither_pictures_nor_people(cast: Cast) -> None:
    task = make_task(cast.north)
    client = cast.client(cast.stella)
    queue = client.get("/reviews/").content.decode()
    assert f">{task.image_id}<" in queue
    assert f"/images/{task.image_id}/" not in queue
    assert client.get("/reviews/agreement/").status_code == 200
    assert "You lead the study" in client.get("/").content.decode()
    for address in (f"/images/{task.image_id}/", "/images/", "/people/", "/sites/", "/reading/", "/models/", "/audit/", "/jobs/"):
        assert client.get(address).status_code == 403, address


def test_who_leads_the_study_and_reads_stays_blind_to_open_questions(cast: Cast) -> None:
    both = make_user("both", (Role.STUDY_LEAD, None), (Role.READER, None))
    task = make_task(cast.north)
    ReviewTask.objects.filter(pk=task.pk).update(reasons=["detector_low"])
    make_read(task, cast.rita, "lugol_iodine")
    assert lease_next(reader=both) is None
    ReviewTask.objects.filter(pk=task.pk).update(reads_needed=2)
    assert lease_next(reader=both) is not None
    told = ("North", "lugol iodine", "little certainty", "being read", "0.50")
    page = cast.client(both).get("/reviews/").content.decode()
    assert "Not shown before it is settled" in page
    assert [word for word in told if word in page] == []
    assert [word for word in told if word in cast.client(cast.stella).get("/reviews/").content.decode()] == list(told)
    ReviewTask.objects.filter(pk=task.pk).update(state="closed")
    assert "lugol iodine" in cast.client(both).get("/reviews/").content.decode()


def test_the_role_is_given_on_the_page_of_people_and_belongs_to_no_site(cast: Cast) -> None:
    client = cast.client(cast.sys)
    client.post(f"/people/{cast.ravi.pk}/roles/", {"roles": ["study_lead"], "site": cast.north.pk})
    assert Membership.objects.get(user=cast.ravi, role=Role.STUDY_LEAD).site is None
    assert "Study lead" in client.get("/people/").content.decode()
    assert cast.client(User.objects.get(pk=cast.ravi.pk)).get("/reading/rules/").status_code == 200
