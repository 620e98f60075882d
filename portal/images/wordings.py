"""A site's own words, kept: chosen once on the page of a table, applied to its next without asking, changed on a page of their own."""

from __future__ import annotations

from collections.abc import Mapping

from django.db import transaction

from portal.accounts import access
from portal.accounts.models import Site, User
from portal.audit.services import record
from portal.core.errors import BadInput
from portal.images import wording
from portal.images.models import Image, Wording, WordingOf
from portal.images.wording import COLUMNS, NOT_READ, Words
from portal.ml import Kind

MOST = 500
"""Words of a site; a table of diagnoses as a column of kinds is a mistake, not a vocabulary."""


def words_of(site: Site) -> Words:
    """What a site's tables are read by: two statements."""
    said: dict[str, dict[str, str]] = {of: {} for of in WordingOf.values}
    for row in Wording.objects.filter(site=site):
        said[row.of][row.key] = row.ours
    return Words(said["column"], said["kind"], said["device"], known_devices(site))


def known_devices(site: Site) -> list[str]:
    rows = Image.objects.filter(site=site).exclude(device="").order_by("device").values_list("device", flat=True)
    return list(rows.distinct()[:MOST])


def wordings(site: Site) -> list[Wording]:
    """All words of a site, for its page: one query."""
    return list(Wording.objects.filter(site=site).order_by("of", "theirs"))


def template(site: Site) -> list[str]:
    """Our columns under the names that the site gives them, but for the number that only corrections need."""
    own = {row.ours: row.theirs for row in Wording.objects.filter(site=site, of=WordingOf.COLUMN).order_by("-pk") if row.ours}
    return [own.get(name, name) for name in COLUMNS if name != "image"]


@transaction.atomic
def remember(*, site: Site, of: WordingOf, chosen: Mapping[str, str], actor: User) -> int:
    """Keep what these words of the site mean (their word -> ours); returns how many are new or changed. An event for each."""
    access.require(actor, "correct", site=site.pk)
    Site.objects.select_for_update(no_key=True).get(pk=site.pk)
    before = {row.key: row for row in Wording.objects.filter(site=site, of=of)}
    changed = 0
    for theirs, ours in chosen.items():
        key = wording.key(theirs)
        _check(of, theirs, key, ours)
        known = before.get(key)
        if known and known.ours == ours:
            continue
        if not known and len(before) >= MOST:
            raise BadInput(f"A site may have {MOST} words of its own. Remove some that are no longer used.")
        row, _ = Wording.objects.update_or_create(site=site, of=of, key=key, defaults={"theirs": theirs[:120], "ours": ours})
        _event("wording.set", row, actor, before=known.ours if known else None, after=ours)
        before[key] = row
        changed += 1
    return changed


@transaction.atomic
def forget(*, word: Wording, actor: User) -> None:
    """The site's next table asks about this word again."""
    access.require(actor, "correct", site=word.site_id)
    _event("wording.forgotten", word, actor, before=word.ours, after=None)
    word.delete()


def _check(of: WordingOf, theirs: str, key: str, ours: str) -> None:
    if not key:
        raise BadInput("A word without a letter or a number cannot be remembered. Name the column in the table.")
    allowed = {WordingOf.COLUMN: (*COLUMNS, NOT_READ), WordingOf.KIND: tuple(Kind)}.get(of)
    if allowed is not None and ours not in allowed:
        raise BadInput(f"'{theirs[:40]}' can only mean one of: {', '.join(allowed[:7])}. Choose again.")
    if of == WordingOf.DEVICE and not 0 < len(ours) <= 120:
        raise BadInput(f"Name the device that '{theirs[:40]}' means, in at most 120 characters.")


def _event(action: str, row: Wording, actor: User, **change: str | None) -> None:
    record(actor_id=actor.pk, action=action, subject=row, site_id=row.site_id, of=row.of, theirs=row.theirs, **change)
