"""Before real pictures: a set of known ones that everybody answers first. A result is its reader's and the study lead's to see."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from django.db import connection, transaction
from django.db.models import QuerySet
from django.db.models.functions import Now

from portal.accounts import access
from portal.accounts.models import User
from portal.audit import services as audit
from portal.core.errors import BadInput, WrongState
from portal.ml import Kind
from portal.reviews import standing
from portal.reviews.models import KnownImage, Purpose, Qualification, Read, ReviewTask
from portal.reviews.quality import known_images
from portal.reviews.quality.evidence import own_words
from portal.reviews.standing import Standing

LARGEST_SET = 200


@dataclass(frozen=True, slots=True)
class Result:
    """How somebody answered the set. `not_regular`: of those answered, `found`: of these, by their kind. `left`: not yet answered.

    `patients`: whose pictures were answered; one without counts as one of its own.
    """

    answered: int = 0
    right: int = 0
    not_regular: int = 0
    found: int = 0
    left: int = 0
    patients: int = 0


@dataclass(frozen=True, slots=True)
class Standard:
    """Least shares that the study asks for; None: not asked."""

    agreement: float | None = None
    sensitivity: float | None = None


def reached(result: Result, standard: Standard) -> bool:
    """Whether a set that is answered to its end was answered well enough. Where it holds nothing to find, nothing can be missed. Pure."""
    if result.left or not result.answered:
        return False
    agrees = standard.agreement is None or result.right >= standard.agreement * result.answered - _EXACT
    finds = standard.sensitivity is None or result.found >= standard.sensitivity * result.not_regular - _EXACT
    return agrees and finds


_EXACT = 1e-9
"""0.7 of 10 is 7, whatever binary fractions say."""


def count(answers: Iterable[tuple[str, str, int | None]], *, left: int = 0) -> Result:
    """The result of (answered, known, patient). Pure."""
    rows = list(answers)
    pairs = [(said, kind) for said, kind, _ in rows]
    known = {patient for *_, patient in rows if patient is not None}
    patients = len(known) + sum(patient is None for *_, patient in rows)
    others = [(said, kind) for said, kind in pairs if kind != Kind.REGULAR]
    right = sum(said == kind for said, kind in pairs)
    return Result(len(pairs), right, len(others), sum(said == kind for said, kind in others), left, patients)


# ---- reads ------------------------------------------------------------------------------------------------------------
def result(reader: Standing) -> Result:
    """How this reader stands with the set."""
    given = _answers().filter(reader=reader.reader).values_list(*_ANSWER)
    with connection.cursor() as cursor:
        cursor.execute(_LEFT, {"reader": reader.reader, "sites": list(reader.withheld)})
        left = cursor.fetchone()[0]
    unanswered = ReviewTask.objects.filter(for_reader=reader.reader, purpose=Purpose.QUALIFICATION, state="open")
    return count(given, left=left + unanswered.exclude(image__site__in=reader.closed).count())


_LEFT = f"SELECT count(*) FROM {known_images.LEFT} AND k.qualifying"  # noqa: S608  # nosec B608 # a part of our own


def why(reader: Standing) -> str:
    """Why somebody who is to qualify is given nothing, in words for them; empty where that is not the reason."""
    if not reader.must_qualify:
        return ""
    found = result(reader)
    if found.left:
        return ""
    if not found.answered:
        return "The study asks for a qualification first, and its pictures are not chosen yet. Ask the study lead."
    said = f"You answered all {found.answered} pictures of the qualification, {found.right} as expected."
    return f"{said} Talk to the study lead, who decides how to go on."


@dataclass(frozen=True, slots=True)
class Row:
    """One reader on the page of the study lead. `done`: their qualification, where they have one."""

    reader: User
    result: Result
    done: Qualification | None


def rows(user: User) -> list[Row]:
    """Every reader whom this person may see, in the order of their names: this is no league table."""
    people = access.visible(User, user).filter(memberships__role__in=access.READERS, is_active=True).distinct().order_by("name", "email")
    done = {one.reader_id: one for one in Qualification.objects.select_related("waived_by")}
    said: dict[int, list[tuple[str, str, int | None]]] = {}
    for pk, *answer in _answers().values_list("reader", *_ANSWER):
        said.setdefault(pk, []).append((answer[0], answer[1], answer[2]))
    found = {pk: count(pairs) for pk, pairs in said.items()} | {pk: _stored(one) for pk, one in done.items()}
    return [Row(person, found.get(person.pk, Result()), done.get(person.pk)) for person in people]


_ANSWER = ("kind", "task__image__known__kind", "task__image__exam__patient")


def _answers() -> QuerySet[Read]:
    """First words alone: who amends may have learned something meanwhile."""
    return own_words(Read.objects.filter(task__purpose=Purpose.QUALIFICATION, task__image__known__qualifying=True))


def _stored(one: Qualification) -> Result:
    return Result(one.answered, one.right, one.not_regular, one.found, patients=one.patients)


def chosen() -> dict[str, int]:
    """How many pictures of each kind are in the set."""
    kinds = KnownImage.objects.filter(qualifying=True, retired=None).values_list("kind", flat=True)
    found = list(kinds)
    return {kind.value: found.count(kind.value) for kind in Kind}


# ---- writes -----------------------------------------------------------------------------------------------------------
@transaction.atomic
def choose(*, per_kind: int, actor: User) -> int:
    """Draw known pictures into the set, until it holds so many of each kind as far as there are; says how many came in.

    Who was not good enough before is given the new ones, and is judged over all.
    """
    if not 1 <= per_kind * len(Kind) <= LARGEST_SET:
        raise BadInput(f"Choose between 1 and {LARGEST_SET // len(Kind)} pictures of each kind.")
    known_images.gather()
    taken: list[int] = []
    for kind, have in chosen().items():
        pool = KnownImage.objects.filter(kind=kind, qualifying=False, retired=None, image__state="settled").order_by("showings", "?")
        taken += pool.values_list("pk", flat=True)[: max(per_kind - have, 0)]
    KnownImage.objects.filter(pk__in=taken).update(qualifying=True)
    audit.record(actor_id=actor.pk, action="qualification_chosen", subject=actor, per_kind=per_kind, added=len(taken))
    return len(taken)


@transaction.atomic
def empty(*, actor: User) -> int:
    """Take all out of the set, so that another can be chosen, with which everybody who is not in yet begins anew."""
    taken = KnownImage.objects.filter(qualifying=True).update(qualifying=False, retired=Now())
    audit.record(actor_id=actor.pk, action="qualification_emptied", subject=actor, removed=taken)
    return taken


@transaction.atomic
def judge(*, reader: User, standard: Standard | None = None) -> Qualification | None:
    """Write down that a reader is good enough, where the set is answered to its end and they are. In the transaction of the answer."""
    now = standing.of(reader)
    if not now.must_qualify:
        return None
    found = result(now)
    if not reached(found, standard or Standard(now.qualify_agreement, now.qualify_sensitivity)):
        return None
    row, made = Qualification.objects.get_or_create(reader=reader, defaults=_figures(found))
    if made:
        audit.record(actor_id=reader.pk, action="reader_qualified", subject=reader, **_figures(found))
    return row


@transaction.atomic
def waive(*, reader: User, actor: User) -> Qualification:
    """Let somebody read without the set, or although they did not reach what it asks: whoever does so answers for it."""
    if reader.pk == actor.pk:
        raise WrongState("Nobody lets themselves off. Ask another study lead, or answer the set.")
    if not reader.memberships.filter(role__in=access.READERS).exists():
        raise WrongState("This person is no reader.")
    found = result(standing.of(reader))
    row, made = Qualification.objects.get_or_create(reader=reader, defaults={**_figures(found), "waived_by": actor})
    if not made:
        raise WrongState("This reader has been let in already. Reload the page.")
    audit.record(actor_id=actor.pk, action="qualification_waived", subject=reader, **_figures(found))
    return row


def _figures(found: Result) -> dict[str, int]:
    return {
        "answered": found.answered,
        "right": found.right,
        "not_regular": found.not_regular,
        "found": found.found,
        "patients": found.patients,
    }
