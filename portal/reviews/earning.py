"""What a site's readings allow to pass unseen (METHODS 6): its t_lo, earned by non-regular images that were read whatever the model said of
them; and how those fared that would have passed."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.db.models import Case, Exists, Min, OuterRef, Q, QuerySet, Subquery, Value, When
from django.utils.crypto import salted_hmac

from portal.analyses.models import Assessment
from portal.images.models import ImageState, Patient
from portal.labels.models import HUMAN, Label, Provenance
from portal.ml import Earned, Kind, Route, earned
from portal.registry.models import ModelVersion
from portal.reviews.models import LIVE_STATES, Purpose, ReviewTask, TaskState
from portal.reviews.triage import BY_THRESHOLD, READ_WHATEVER_IT_SAYS, Rules

Wanted = Collection[tuple[int, int]]
"""Pairs of a site's and a version's ids."""
Learned = Callable[[int], "QuerySet[Any, Any]"]


def _nobody(_version: int) -> QuerySet[Any, Any]:
    return Patient.objects.none().values("pk")


_learned: list[Learned] = [_nobody]


def tell_learned(by_version: Learned) -> None:
    """Who knows from which patients a version has learned, by their ids, as trainings are a later room's: what it says of them proves
    nothing."""
    _learned[:] = [by_version]


def draw(image: int) -> float:
    """From 0 to below 1, for ever the same for an image: it is not drawn anew whenever it is judged, and nobody can foretell it."""
    return int.from_bytes(salted_hmac("winnow.audit", str(image), algorithm="sha256").digest()[:8], "big") / 2.0**64


# ---- what earns -------------------------------------------------------------------------------------------------------
def of(rules: Mapping[int, Rules], versions: Wanted) -> dict[tuple[int, int], Earned]:
    """By site and version, where the site's rule asks for it. Two statements for each version."""
    asked = [(site, version) for site, version in versions if rules[site].missed_share is not None]
    by_version: dict[int, list[int]] = {}
    for site, version in asked:
        by_version.setdefault(version, []).append(site)
    scores = {version: positives(sites, version) for version, sites in by_version.items()}
    return {
        (site, version): earned(list(scores[version].get(site, {}).values()), rules[site].missed_share or 0.0, rules[site].confidence)
        for site, version in asked
    }


def held_to(rules: Rules, found: Earned | None) -> Earned | None:
    """What triage holds to: an installation may trust a model where nothing was earned yet, but never where nothing may pass."""
    if found is not None and found.t_lo is None and not settings.REVIEW_UNCALIBRATED and rules.missed_share:
        return None
    return found


def positives(sites: Collection[int], version: int) -> dict[int, dict[int, float]]:
    """By site and patient, the lowest probability that this version gives to one of the patient's non-regular images that count.

    The lowest, as images of one patient are not exchangeable and the worst is what must not pass. 1 where people read the image at any
    threshold, by this version's other reasons: it cannot pass unseen. Patients from whom the version has learned prove nothing.
    """
    judged = _judged(version)
    rows = (
        _counting(sites)
        .exclude(kind=Kind.REGULAR)
        .exclude(image__exam__patient__in=_learned[0](version))
        .annotate(p=judged.values("p_non_regular")[:1], reasons_then=judged.values("reasons")[:1])
        .exclude(p=None)
        .values_list("image__site", "image__exam__patient", "p", "reasons_then")
    )
    found: dict[int, dict[int, float]] = {}
    for site, patient, p, reasons in rows:
        score = 1.0 if set(reasons) - BY_THRESHOLD - READ_WHATEVER_IT_SAYS else p
        at = found.setdefault(site, {})
        at[patient] = min(score, at.get(patient, 1.0))
    return found


def to_judge(version: ModelVersion) -> list[int]:
    """The images that earn, of all sites, of which this version has said nothing yet: without them a new champion has earned nothing."""
    counting = _counting(None).exclude(kind=Kind.REGULAR).exclude(image__exam__patient__in=_learned[0](version.pk))
    return list(counting.annotate(p=_judged(version.pk).values("p_non_regular")[:1]).filter(p=None).values_list("image", flat=True))


def _judged(version: int) -> QuerySet[Assessment]:
    return Assessment.objects.filter(image=OuterRef("image"), analysis__version=version).order_by("-pk")


def _counting(sites: Collection[int] | None) -> QuerySet[Label]:
    """What people say of images that were read whatever a model said of them; of patients who are known.

    Only what was asked before the oldest such question of the site that is still open: what is most in doubt is read first, so that among
    those asked since, what was read by now is not like the rest. Of drawn examples the truth is known of all.
    """
    whatever = ReviewTask.objects.filter(purpose=Purpose.REVIEW, reasons__overlap=sorted(READ_WHATEVER_IT_SAYS))
    asked = whatever.filter(image=OuterRef("image"), state=TaskState.CLOSED).order_by("pk")
    waiting = whatever.filter(state__in=LIVE_STATES)
    if sites is not None:
        waiting = waiting.filter(image__site__in=sites)
    oldest = dict(waiting.order_by().values_list("image__site").annotate(first=Min("pk")))
    rows = (
        Label.objects.filter(current=True, provenance__in=HUMAN, image__state=ImageState.SETTLED, image__exam__isnull=False)
        .annotate(asked=Subquery(asked.values("pk")[:1]))
        .filter(Q(provenance=Provenance.EXAMPLE_TRUTH) | Q(asked__isnull=False))
    )
    if sites is not None:
        rows = rows.filter(image__site__in=sites)
    for site, first in oldest.items():
        rows = rows.exclude(image__site=site, asked__gt=first)
    return rows


# ---- what would have passed -------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Passed:
    """Images that a version would have let pass as this, had they not been read whatever it said: how many of them, of how many patients,
    people called otherwise. Patients of whom one at least was called otherwise."""

    route: Route
    images: int
    patients: int
    wrong: int
    wrong_patients: int


@dataclass(frozen=True, slots=True)
class Standing:
    """A site before one version. `scores`: of each patient with a non-regular image that counts, the lowest. `waiting`: open questions that
    hold back what was asked after the oldest of them."""

    site: int
    rules: Rules
    earned: Earned | None
    scores: tuple[float, ...]
    passed: tuple[Passed, ...]
    waiting: int


def standing(site: int, rules: Rules, version: ModelVersion) -> Standing:
    """How a site stands before a version. Seven statements at most."""
    scores = positives([site], version.pk).get(site, {})
    found = None if rules.missed_share is None else earned(list(scores.values()), rules.missed_share, rules.confidence)
    waiting = ReviewTask.objects.filter(
        image__site=site, purpose=Purpose.REVIEW, state__in=LIVE_STATES, reasons__overlap=sorted(READ_WHATEVER_IT_SAYS)
    )
    return Standing(site, rules, found, tuple(sorted(scores.values())), tuple(_passed(site, version)), waiting.count())


def _passed(site: int, version: ModelVersion) -> list[Passed]:
    # before the answer: of what it judged later it was asked about the non-regular ones alone
    judged = _judged(version.pk).filter(created__lt=OuterRef("created"))
    rows = (
        _counting([site])
        .exclude(image__exam__patient__in=_learned[0](version.pk))
        .annotate(reasons_then=judged.values("reasons")[:1], p=judged.values("p_non_regular")[:1])
        .filter(reasons_then__contained_by=sorted(READ_WHATEVER_IT_SAYS))
        .values_list("kind", "p", "image__exam__patient")
    )
    groups: dict[Route, list[tuple[bool, int]]] = {Route.AUTO_REGULAR: [], Route.AUTO_NON_REGULAR: []}
    for kind, p, patient in rows:
        route = Route.AUTO_REGULAR if p < 0.5 else Route.AUTO_NON_REGULAR
        groups[route].append(((kind == Kind.REGULAR) != (route is Route.AUTO_REGULAR), patient))
    return [
        Passed(
            route, len(group), len({patient for _, patient in group}), sum(wrong for wrong, _ in group),
            len({patient for wrong, patient in group if wrong}),
        )
        for route, group in groups.items()
    ]  # fmt: skip


# ---- how an image came to be read -------------------------------------------------------------------------------------
WHATEVER, CHOSEN, NOBODY = "whatever", "chosen", "nobody"


def read_for(image: str) -> Case:
    """How the image of this column came to be read: WHATEVER the model said of it; or CHOSEN, by what the model said or by a person;
    NOBODY where no question about it was answered."""
    closed = ReviewTask.objects.filter(purpose=Purpose.REVIEW, state=TaskState.CLOSED, image=OuterRef(image))
    whatever = closed.filter(reasons__overlap=sorted(READ_WHATEVER_IT_SAYS))
    return Case(When(Exists(whatever), then=Value(WHATEVER)), When(Exists(closed), then=Value(CHOSEN)), default=Value(NOBODY))
