"""Whether a candidate may follow the champion. Pure: two reports and the rules in, a verdict with its numbers out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from portal.ml import Calibration, Compared, EvaluationReport, Interval

PASS, FAIL = "pass", "fail"
MISSED = "missed unseen"
"""The check whose figure is the worse the higher it is."""


@dataclass(frozen=True, slots=True)
class Rules:
    """site_floor: the least sensitivity that any site may have; a site fails when even the upper end of its wider interval is below.
    few: below so many images a figure is called weak, and no calibration error is judged. calibration: an error that is small enough."""

    site_floor: float = 0.8
    few: int = 30
    calibration: float = 0.05


@dataclass(frozen=True, slots=True)
class Check:
    """`difference`: what the interval of the difference to the champion says, where there is one."""

    name: str
    status: str
    reason: str
    difference: str = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Passed when no check failed. A figure that cannot be told is a failure: nothing is promoted on no evidence."""

    passed: bool
    checks: tuple[Check, ...]

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def judge(
    candidate: EvaluationReport, champion: EvaluationReport | None, rules: Rules = Rules(), differences: Sequence[Compared] = ()
) -> Verdict:
    """Compare two reports of the same split of the same snapshot; without a champion the candidate stands on its own figures.

    differences: candidate minus champion. They are told beside the checks of the same figures; one that leaves no doubt that the candidate
    is worse fails a check that the champion's own interval, which knows of no pairs, would pass.
    """
    told = {one.name: one for one in differences}
    checks = tuple(_by_pairs(check, told.get(check.name)) for check in _checks(candidate, champion, rules))
    return Verdict(passed=all(check.status == PASS for check in checks), checks=checks)


def _by_pairs(check: Check, one: Compared | None) -> Check:
    if one is None:
        return check
    told = replace(check, difference=difference(one))
    worse = one.low > 0 if check.name == MISSED else one.high < 0
    if check.status == FAIL or not (one.differs and worse):
        return told
    return replace(told, status=FAIL, reason=f"{check.reason} But on the same images it is surely worse.")


def _checks(candidate: EvaluationReport, champion: EvaluationReport | None, rules: Rules) -> Iterator[Check]:
    if champion is not None and (candidate.snapshot_hash, candidate.split) != (champion.snapshot_hash, champion.split):
        yield Check("same data", FAIL, "The two reports are of different data. Evaluate both on the same snapshot.")
        return
    for name in ("sensitivity", "specificity"):
        yield _not_worse(name, candidate.figures.get(name), champion.figures.get(name) if champion else None, rules)
    if champion is not None:
        yield from _points(candidate, champion, rules)
        yield from _calibrated(candidate, champion, rules)
        yield from _detector(candidate, champion, rules)
        yield _missed(candidate.missed_unseen, champion.missed_unseen, rules)
    for site, figures in sorted(candidate.per_site.items()):
        yield from _site(site, figures.get("sensitivity"), rules)


def _not_worse(name: str, new: Interval | None, old: Interval | None, rules: Rules) -> Check:
    """Not below the interval of the champion's figure; of a share by the wider of its two, as images of one patient are alike."""
    if new is None or not known(new):
        return Check(name, FAIL, f"The {name} cannot be told: the split holds no image to count it over.")
    if old is None or not known(old):
        return Check(name, PASS, f"{said(new)}; there is no champion's figure to compare with.{_weak(new, rules)}")
    below = new.value < old.least
    word = "below the interval of" if below else "not below the interval of"
    bound = _wider(old, old.least, old.low)
    return Check(name, FAIL if below else PASS, f"{said(new)} is {word} the champion's {said(old)}.{bound}{_weak(new, rules)}")


def _points(candidate: EvaluationReport, champion: EvaluationReport, rules: Rules) -> Iterator[Check]:
    """All sites together, at every specificity that the champion's report has. An older report of the champion's has none."""
    new = {point.specificity: point.sensitivity for point in candidate.operating_points if not point.site}
    for old in champion.operating_points:
        if not old.site:
            yield _not_worse(f"sensitivity at {old.specificity:.0%} specificity", new.get(old.specificity), old.sensitivity, rules)


def _calibrated(candidate: EvaluationReport, champion: EvaluationReport, rules: Rules) -> Iterator[Check]:
    """For each site with images enough: good enough, as good as perfect scores would look, or no worse than the champion's."""
    before = {one.site: one for one in champion.calibration}
    for one in candidate.calibration:
        if one.site and one.images >= rules.few:
            yield _error(one, before.get(one.site), rules)


def _error(new: Calibration, old: Calibration | None, rules: Rules) -> Check:
    name, allowed = f"calibration at {new.site}", max(rules.calibration, new.limit)
    said = f"Error {new.error:.3f} ({new.images} images, {new.patients} patients)"
    if new.error <= allowed:
        return Check(name, PASS, f"{said} is not above {allowed:.3f}; perfect scores stay below {new.limit:.3f} 19 times in 20.")
    if old is None:
        return Check(name, PASS, f"{said} is above {allowed:.3f}; there is no champion's error to compare with.")
    worse = new.error > old.error
    word = "above" if worse else "not above"
    return Check(name, FAIL if worse else PASS, f"{said} is above {allowed:.3f}, and {word} the champion's {old.error:.3f}.")


def _detector(candidate: EvaluationReport, champion: EvaluationReport, rules: Rules) -> Iterator[Check]:
    for name, old in sorted(champion.detector.items()):
        if "contain" in name and known(old):
            yield _not_worse(f"detector {name.replace('_', ' ')}", candidate.detector.get(name), old, rules)


def _missed(new: Interval, old: Interval, rules: Rules) -> Check:
    """What is accepted as regular without anybody seeing it, and is not."""
    if not known(new) or not known(old):
        return Check(MISSED, PASS, "No non-regular image in this split: what would be missed unseen cannot be told.")
    above = new.value > old.most
    word = "above the interval of" if above else "not above the interval of"
    reason = f"{said(new)} is {word} the champion's {said(old)}.{_wider(old, old.most, old.high)}{_weak(new, rules)}"
    return Check(MISSED, FAIL if above else PASS, reason)


def _site(site: str, new: Interval | None, rules: Rules) -> Iterator[Check]:
    if new is None or not known(new):
        return
    below = new.most < rules.site_floor
    word = "surely below" if below else "not surely below"
    reason = f"Sensitivity {said(new)} is {word} {rules.site_floor:.2f}.{_wider(new, new.most, new.high)}{_weak(new, rules)}"
    yield Check(f"floor at {site}", FAIL if below else PASS, reason)


def _wider(figure: Interval, decides: float, by_wilson: float) -> str:
    """Which bound decided, where there are two."""
    if figure.patient_low is None:
        return ""
    return f" The wider of its two intervals decides, {decides:.3f}{' by Wilson' if decides == by_wilson else ' by patient'}."


def known(figure: Interval) -> bool:
    return figure.known


def said(figure: Interval) -> str:
    """A figure as it is said everywhere: value, interval, of a share also the one by patient, images and patients."""
    drawn = "" if figure.patient_low is None else f"; by patient {figure.patient_low:.3f}, {figure.patient_high:.3f}"
    interval = f" [{figure.low:.3f}, {figure.high:.3f}{drawn}]" if figure.sure else ""
    return f"{figure.value:.3f}{interval} ({figure.total} images, {figure.patients} patients)"


def difference(one: Compared) -> str:
    """A difference to the champion as it is said everywhere: with its interval, what it was counted over, and what that tells."""
    over = f"({one.images} images, {one.patients} patients)"
    if not one.known:
        return f"It cannot be told {over}."
    if not one.sure:
        return f"{one.difference:+.3f} {over}: all patients are alike, or there is one, so drawing them says nothing."
    said = f"{one.difference:+.3f} [{one.low:+.3f}, {one.high:+.3f}] {over}"
    if not one.differs:
        return f"{said}: zero is not left out, so the two cannot be told apart."
    return f"{said}: surely {'higher' if one.low > 0 else 'lower'} than the champion's."


def _weak(figure: Interval, rules: Rules) -> str:
    return f" Weak: only {figure.total} images." if figure.total < rules.few else ""
