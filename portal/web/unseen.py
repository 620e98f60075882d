"""What may pass unseen at a site, in words and as a plot: what its readings have earned, and how those fared that would have passed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from portal.accounts.models import Site
from portal.core.text import counted
from portal.ml import Earned, Route
from portal.registry import selectors as registry
from portal.registry.models import ModelVersion
from portal.reviews import earning, selectors
from portal.reviews.earning import Passed, Standing
from portal.reviews.triage import Rules
from portal.web.shares import Share, wilson

LEFT, WIDTH, RUG, TOP = 12.0, 560.0, 34.0, 18.0
_PASSED = {Route.AUTO_REGULAR: "as regular", Route.AUTO_NON_REGULAR: "as not regular"}


@dataclass(frozen=True, slots=True)
class Strip:
    """A line for each patient at the lowest probability among their images that are not regular; `limit`: where t_lo lies, if it does."""

    width: float
    height: float
    top: float
    base: float
    marks: tuple[float, ...]
    ticks: tuple[tuple[str, float], ...]
    limit: float | None
    said: str


@dataclass(frozen=True, slots=True)
class Fared:
    """Of what would have passed as `name`: what people called otherwise."""

    name: str
    images: Share
    patients: Share


@dataclass(frozen=True, slots=True)
class Unseen:
    """`progress`: (patients so far, patients needed), while too few count."""

    version: ModelVersion
    said: tuple[str, ...]
    progress: tuple[int, int] | None
    strip: Strip | None
    fared: tuple[Fared, ...]
    audit_share: float


def of_site(site: Site) -> Unseen | None:
    """How a site stands before the champion; None where there is none. Twelve queries at most."""
    champion = registry.champion()
    if champion is None:
        return None
    found = earning.standing(site.pk, selectors.rules_for(site.pk), champion)
    return Unseen(
        version=champion, said=tuple(_said(found)), progress=_progress(found), strip=strip(found.scores, found.earned),
        fared=tuple(_fared(one) for one in found.passed if one.images), audit_share=found.rules.audit_share,
    )  # fmt: skip


def in_short(sites: Sequence[Site]) -> dict[int, str]:
    """The same of many sites, a few words for each by its id. Four queries, whatever their number."""
    champion, rules = registry.champion(), selectors.rules_of([site.pk for site in sites])
    if champion is None:
        return {}
    found = earning.of(rules, [(site.pk, champion.pk) for site in sites])
    return {site.pk: _short(rules[site.pk], found.get((site.pk, champion.pk))) for site in sites}


def _short(rules: Rules, earned: Earned | None) -> str:
    if earned is None or earning.held_to(rules, earned) is None:
        return "as the model says"
    if earned.t_lo is not None:
        return f"below {earned.t_lo:.3f}, by {counted(earned.positives, 'patient')}"
    return "nothing" if earned.needed is None else f"nothing: {earned.needed:,} more patients needed"


def _said(found: Standing) -> list[str]:
    rules, earned = found.rules, found.earned
    if earned is None or rules.missed_share is None:
        return ["Nothing is asked of this site's readings here: an image passes by the model's own thresholds."]
    bound = f"at most {100 * rules.missed_share:g} % of the images that are not regular pass unseen, {100 * rules.confidence:g} % sure"
    counts = f"{counted(earned.positives, 'patient')} with an image that is not regular and was read whatever the model said of it"
    if earned.t_lo is not None:
        below = f"{counted(earned.missed, 'of them lies', 'of them lie')} below" if earned.missed else "none of them lies below"
        said = [
            f"An image passes as regular below {earned.t_lo:.3f}, or below the model's own threshold where that is lower: {bound}. "
            f"This rests on {counts}; {below}."
        ]
    elif earned.needed is None:
        said = ["Every image is read: the rule lets none pass unseen."]
    else:
        said = [f"So far {counts}: {earned.needed:,} more needed before an image may pass unseen, so that {bound}."]
        trusted = earning.held_to(rules, earned) is None
        said.append(
            "Until then this installation trusts the model's own thresholds (WINNOW_REVIEW_UNCALIBRATED is 0)."
            if trusted
            else "Until then every image of this site is read."
        )
    if found.uncalibrated:
        said.append(
            f"{counted(found.uncalibrated, 'patient')} with such images of devices on which this model was not calibrated: these count, "
            "and may pass, once a model that was is champion."
        )
    if found.waiting:
        said.append(
            f"{counted(found.waiting, 'question')} of this kind still open: what was asked after the oldest counts only once that is "
            "answered, as what is most in doubt is read first."
        )
    return said


def _progress(found: Standing) -> tuple[int, int] | None:
    earned = found.earned
    if earned is None or earned.t_lo is not None or earned.needed is None:
        return None
    return earned.positives, earned.positives + earned.needed


def strip(scores: Sequence[float], earned: Earned | None) -> Strip | None:
    if not scores:
        return None
    limit = earned.t_lo if earned else None
    low, high = min(scores), max(scores)
    return Strip(
        width=WIDTH + 2 * LEFT, height=TOP + RUG + 22, top=TOP, base=TOP + RUG, marks=tuple(_across(p) for p in scores),
        ticks=tuple((f"{n / 10:g}", _across(n / 10)) for n in range(0, 11, 2)), limit=None if limit is None else _across(limit),
        said=f"Lowest probability of each of {counted(len(scores), 'patient')}, from {low:.3f} to {high:.3f}",
    )  # fmt: skip


def _across(p: float) -> float:
    return round(LEFT + WIDTH * p, 1)


def _fared(one: Passed) -> Fared:
    return Fared(_PASSED[one.route], wilson(one.wrong, one.images), wilson(one.wrong_patients, one.patients))
