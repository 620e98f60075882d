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
from portal.jobs.models import Job, JobState
from portal.labels.models import HUMAN, Label, Provenance
from portal.ml import NON_REGULAR_KINDS, UNCALIBRATED, Earned, Kind, Route, earned
from portal.registry.models import ModelVersion
from portal.reviews.models import LIVE_STATES, Purpose, ReviewTask, TaskState
from portal.reviews.triage import BY_SITE, BY_THRESHOLD, CHOSEN, NOBODY, READ_WHATEVER_IT_SAYS, WHATEVER, Rules

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
    threshold, by this version's other reasons: it cannot pass unseen. Patients from whom the version has learned prove nothing, nor do
    images of devices on which it was not calibrated: they do not pass, and say nothing of those that do.
    """
    return _scores(sites, version)[0]


def _scores(sites: Collection[int], version: int) -> tuple[dict[int, dict[int, float]], dict[int, set[int]]]:
    """The same, and by site the patients of whom an image does not count for its device."""
    judged = _judged(version)
    rows = (
        _before_the_oldest_open(_counting(sites), sites)
        .filter(kind__in=NON_REGULAR_KINDS)
        .exclude(image__exam__patient__in=_learned[0](version))
        .annotate(p=judged.values("p_non_regular")[:1], reasons_then=judged.values("reasons")[:1])
        .exclude(p=None)
        .values_list("image__site", "image__exam__patient", "p", "reasons_then")
    )
    found: dict[int, dict[int, float]] = {}
    uncalibrated: dict[int, set[int]] = {}
    for site, patient, p, reasons in rows:
        if UNCALIBRATED in reasons:
            uncalibrated.setdefault(site, set()).add(patient)
            continue
        score = 1.0 if set(reasons) - BY_THRESHOLD - READ_WHATEVER_IT_SAYS else p
        at = found.setdefault(site, {})
        at[patient] = min(score, at.get(patient, 1.0))
    return found, uncalibrated


def to_judge(version: ModelVersion) -> list[int]:
    """The images that earn, now or when an older question is answered, of all sites, of which this version has said nothing yet: without
    them a new champion has earned nothing. None whose analysis has failed."""
    failed = Job.objects.filter(kind="analyse", state=JobState.FAILED, subject_id=OuterRef("image"))
    said = Assessment.objects.filter(image=OuterRef("image"), analysis__version=version)
    earning = _counting(None).filter(kind__in=NON_REGULAR_KINDS).exclude(image__exam__patient__in=_learned[0](version.pk))
    return list(earning.exclude(Exists(said)).exclude(Exists(failed)).values_list("image", flat=True))


def _judged(version: int) -> QuerySet[Assessment]:
    return Assessment.objects.filter(image=OuterRef("image"), analysis__version=version).order_by("-pk")


_WHATEVER = ReviewTask.objects.filter(purpose=Purpose.REVIEW, reasons__overlap=sorted(BY_SITE))


def _counting(sites: Collection[int] | None) -> QuerySet[Label]:
    """What people say of images that were read whatever a model said of them; of patients who are known. Of drawn examples the truth is
    known of all."""
    asked = _WHATEVER.filter(image=OuterRef("image"), state=TaskState.CLOSED).order_by("pk")
    rows = (
        Label.objects.filter(current=True, provenance__in=HUMAN, image__state=ImageState.SETTLED, image__exam__isnull=False)
        .annotate(asked=Subquery(asked.values("pk")[:1]))
        .filter(Q(provenance=Provenance.EXAMPLE_TRUTH) | Q(asked__isnull=False))
    )
    return rows if sites is None else rows.filter(image__site__in=sites)


def _before_the_oldest_open(rows: QuerySet[Label], sites: Collection[int]) -> QuerySet[Label]:
    """What was asked before the oldest such question of its site that is still open: what is most in doubt is read first, so that among
    those asked since, what was read by now is not like the rest."""
    waiting = _WHATEVER.filter(state__in=LIVE_STATES, image__site__in=sites)
    for site, first in waiting.order_by().values_list("image__site").annotate(first=Min("pk")):
        rows = rows.filter(~Q(image__site=site) | Q(asked__isnull=True) | Q(asked__lte=first))
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
    hold back what was asked after the oldest of them. `uncalibrated`: patients of whom such an image does not count for its device."""

    site: int
    rules: Rules
    earned: Earned | None
    scores: tuple[float, ...]
    passed: tuple[Passed, ...]
    waiting: int
    uncalibrated: int


def standing(site: int, rules: Rules, version: ModelVersion) -> Standing:
    """How a site stands before a version. Eight statements at most."""
    by_site, uncalibrated = _scores([site], version.pk)
    scores = by_site.get(site, {})
    found = None if rules.missed_share is None else earned(list(scores.values()), rules.missed_share, rules.confidence)
    waiting = _WHATEVER.filter(image__site=site, state__in=LIVE_STATES)
    return Standing(
        site, rules, found, tuple(sorted(scores.values())), tuple(_passed(site, version)), waiting.count(), len(uncalibrated.get(site, ()))
    )  # fmt: skip


def _passed(site: int, version: ModelVersion) -> list[Passed]:
    # before the answer: of what it judged later it was asked about the non-regular ones alone
    judged = _judged(version.pk).filter(created__lt=OuterRef("created"))
    rows = (
        _before_the_oldest_open(_counting([site]), [site])
        .exclude(image__exam__patient__in=_learned[0](version.pk))
        .annotate(reasons_then=judged.values("reasons")[:1], p=judged.values("p_non_regular")[:1])
        .filter(reasons_then__contained_by=sorted(BY_SITE))
        .values_list("kind", "p", "image__exam__patient")
    )
    groups: dict[Route, list[tuple[bool, int]]] = {Route.AUTO_REGULAR: [], Route.AUTO_NON_REGULAR: []}
    for kind, p, patient in rows:
        route = Route.AUTO_REGULAR if p < 0.5 else Route.AUTO_NON_REGULAR
        right = kind == Kind.REGULAR if route is Route.AUTO_REGULAR else kind in NON_REGULAR_KINDS
        groups[route].append((not right, patient))
    return [
        Passed(
            route, len(group), len({patient for _, patient in group}), sum(wrong for wrong, _ in group),
            len({patient for wrong, patient in group if wrong}),
        )
        for route, group in groups.items()
    ]  # fmt: skip


# ---- how an image came to be read -------------------------------------------------------------------------------------
def read_for(image: str) -> Case:
    """How the image of this column came to be read: WHATEVER the model said of it; or CHOSEN, by what the model said or by a person;
    NOBODY where no question about it was answered."""
    closed = ReviewTask.objects.filter(purpose=Purpose.REVIEW, state=TaskState.CLOSED, image=OuterRef(image))
    whatever = closed.filter(reasons__overlap=sorted(READ_WHATEVER_IT_SAYS))
    return Case(When(Exists(whatever), then=Value(WHATEVER)), When(Exists(closed), then=Value(CHOSEN)), default=Value(NOBODY))
