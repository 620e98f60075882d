"""Rules of reading: what is read, by whom, how often, and how readers are measured. Every rule that ever was is kept."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import F, OuterRef, Q, QuerySet, Subquery

from portal.accounts.models import Membership, Role, Site, User
from portal.audit import services as audit
from portal.core.errors import BadInput
from portal.core.text import counted
from portal.reviews.models import Boxes, ReviewRules
from portal.reviews.routing import MOST_NEEDED, ReaderFacts, can_be_read, takes_part

LARGEST_SHARE = 0.2
"""Of what a reader is given, for known pictures and for repeats each; and of all images, for those read whatever the model says."""
MOST_MISSED, MOST_CONFIDENT = 0.5, 0.999


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a rule says. `only_sites`, `only_readers`: who takes part; nobody named: everybody who reads.

    How readers are measured (from `gold_share` on) holds for all sites alike: it is a person who is measured, not a picture.
    """

    reads_needed: int = 1
    t_lo: float | None = None
    t_hi: float | None = None
    missed_share: float | None = None
    confidence: float | None = None
    audit_share: float | None = None
    unsure_asks: bool = False
    adaptive: bool = False
    boxes: str = Boxes.OPTIONAL
    reveal: bool = False
    only_sites: list[int] = field(default_factory=list)
    only_readers: list[int] = field(default_factory=list)
    gold_share: float = 0.0
    gold_showings: int = 60
    repeat_share: float = 0.0
    qualify_agreement: float | None = None
    qualify_sensitivity: float | None = None


@dataclass(frozen=True, slots=True)
class Version:
    """One rule of the past or in force, and what it changed: (name of the field, before, after)."""

    rule: ReviewRules
    changes: tuple[tuple[str, Any, Any], ...]


@transaction.atomic
def set_rules(*, site: Site | None, actor: User, **wanted: Any) -> ReviewRules:
    """The rule from now on, for one site or for all that have none of their own; `wanted` as in `Wanted`. Open questions keep the rule
    they began with, but for who takes part, how readers are measured, and what pages ask and show (`asks.py`), which hold at once."""
    rule = Wanted(**wanted)
    _check(rule, site)
    after = {**asdict(rule), "boxes": str(rule.boxes), "only_sites": sorted(rule.only_sites), "only_readers": sorted(rule.only_readers)}
    earlier = ReviewRules.objects.filter(site=site).order_by("-pk").values(*after).first()
    row = ReviewRules.objects.create(site=site, set_by=actor, **after)
    before = dict(earlier) if earlier else None
    audit.record(actor_id=actor.pk, action="set_rules", subject=row, site_id=site.pk if site else None, before=before, after=after)
    return row


def _check(rule: Wanted, site: Site | None) -> None:
    """Raises BadInput, in words for whoever leads the study."""
    if rule.reads_needed not in (1, 2, 3):
        raise BadInput("Choose one, two or three independent reads.")
    if rule.boxes not in Boxes.values:
        raise BadInput("Choose when readers draw the box.")
    if any(not 0 <= share <= LARGEST_SHARE for share in (rule.gold_share, rule.repeat_share)):
        raise BadInput("Of what a reader is given at most a fifth may be there to measure: choose a share between 0 and 20 %.")
    if rule.gold_showings < 1:
        raise BadInput("A known picture is shown once at least.")
    if any(least is not None and not 0 < least <= 1 for least in (rule.qualify_agreement, rule.qualify_sensitivity)):
        raise BadInput("What a reader must reach lies above 0 and is at most 100 %. Leave it empty to ask for nothing.")
    if any(t is not None and not 0 <= t <= 1 for t in (rule.t_lo, rule.t_hi)):
        raise BadInput("A threshold lies between 0 and 1. Leave it empty for the model's own.")
    if rule.missed_share is not None and not 0 <= rule.missed_share <= MOST_MISSED:
        raise BadInput("Of the non-regular images at most half may pass unseen: choose a share between 0 and 50 %.")
    if rule.confidence is not None and not 0.5 <= rule.confidence <= MOST_CONFIDENT:
        raise BadInput("How sure to be that it is no more lies between 50 and 99.9 %.")
    if rule.audit_share is not None and not 0 <= rule.audit_share <= LARGEST_SHARE:
        raise BadInput("At most a fifth is read whatever the model says: choose a share between 0 and 20 %.")
    if rule.t_lo is not None and rule.t_hi is not None and rule.t_lo > rule.t_hi:
        raise BadInput("The lower threshold is above the upper one. Exchange them.")
    if site is not None and (rule.gold_share or rule.repeat_share or rule.qualify_agreement or rule.qualify_sensitivity):
        raise BadInput("How readers are measured is set for all sites at once.")


# ---- reads ------------------------------------------------------------------------------------------------------------
def in_force(site: Site | None) -> ReviewRules:
    """The rule that holds for a site, or for those without one of their own; unsaved where none was ever set."""
    rows = ReviewRules.objects.filter(Q(site=site) | Q(site=None)).order_by(F("site").asc(nulls_last=True), "-pk")
    return rows.first() or ReviewRules()


def history(site: Site | None) -> list[Version]:
    """Every rule that a site, or all, ever had: the newest first, each with what it changed; the first is held against what is built in."""
    rows = list(ReviewRules.objects.filter(site=site).select_related("set_by").order_by("pk"))
    before: Sequence[ReviewRules] = [ReviewRules(), *rows]
    return [Version(row, changes(vars(earlier), vars(row))) for earlier, row in zip(before, rows, strict=False)][::-1]


def changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[tuple[str, Any, Any], ...]:
    """What differs between two rules."""
    names = Wanted.__dataclass_fields__
    return tuple((name, before[name], after[name]) for name in names if before[name] != after[name])


def closed_to(reader: User) -> QuerySet[Site, Any]:
    """The sites whose pictures this reader is not asked about: the rule in force there names others. Depends on no question, so that
    the queue's statement looks it up once."""
    newest = ReviewRules.objects.filter(Q(site=OuterRef("pk")) | Q(site=None)).order_by(F("site").asc(nulls_last=True), "-pk")
    own = Membership.objects.filter(user=reader, site__isnull=False).values("site")
    named = ReviewRules.objects.exclude(only_sites=[], only_readers=[])
    others = named.exclude(only_readers__contains=[reader.pk]).exclude(only_sites__overlap=own)
    return Site.objects.annotate(rule=Subquery(newest.values("pk")[:1])).filter(rule__in=others.values("pk")).values("pk")


def names_of(rules: Collection[ReviewRules]) -> tuple[dict[int, str], dict[int, str]]:
    """How to call the sites and the people whom rules name."""
    sites = Site.objects.filter(pk__in={pk for rule in rules for pk in rule.only_sites})
    people = User.objects.filter(pk__in={pk for rule in rules for pk in rule.only_readers})
    return {site.pk: site.name for site in sites}, {person.pk: str(person) for person in people}


@dataclass(frozen=True, slots=True)
class Line:
    """One site's rule as it stands; `site` None: of all without one of their own. `own`: set for it. `few`: what its readers cannot do."""

    site: Site | None
    rule: ReviewRules
    own: bool
    few: str = ""


def lines(sites: Iterable[Site]) -> list[Line]:
    """The rule for all, then of each site, and whether its readers can settle its pictures at all."""
    own = newest()
    whole = own.get(None) or ReviewRules()
    readers = _readers()
    every = [Line(site, own.get(site.pk) or whole, site.pk in own) for site in sites]
    return [Line(None, whole, own=None in own), *(replace(line, few=_few(line, readers)) for line in every)]


def newest() -> dict[int | None, ReviewRules]:
    """The newest rule of every site that has one of its own, by its id, and of all others by None. 1 query."""
    return {row.site_id: row for row in ReviewRules.objects.order_by("site", "-pk").distinct("site").select_related("set_by")}


def _readers() -> list[ReaderFacts]:
    rows = Membership.objects.filter(user__is_active=True)
    reading = set(rows.filter(role=Role.READER).values_list("user", flat=True))
    where: dict[int, set[int]] = {pk: set() for pk in reading}
    for person, site in rows.filter(user__in=reading, site__isnull=False).values_list("user", "site"):
        where[person].add(site)
    return [ReaderFacts(pk, frozenset(at)) for pk, at in where.items()]


def _few(line: Line, readers: Sequence[ReaderFacts]) -> str:
    assert line.site is not None
    rule = line.rule
    taking = [one for one in readers if takes_part(one, rule.only_sites, rule.only_readers)]
    can = partial(can_be_read, line.site.pk, readers=taking, own_site_first=settings.READ_OWN_SITE_FIRST)
    who = f"{len(taking)} reader{'' if len(taking) == 1 else 's'} can take part"
    if not can(rule.reads_needed):
        return f"{who}, and by where they work these cannot give {counted(rule.reads_needed, 'independent answer')}: its questions wait."
    if not can(MOST_NEEDED):
        return f"{who}. Where they disagree a third answer is needed, and nobody is left to give it."
    return ""
