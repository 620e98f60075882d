"""Where an image goes after its analysis. Pure: facts and rules in, a decision out."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from portal.ml import NON_REGULAR_KINDS, UNCALIBRATED, Earned, Kind, Route

DISAGREEMENT = frozenset({"classifiers_disagree", "context_overturned"})
NOVELTY = frozenset({"beyond_training_distances", "out_of_distribution"})
"""Reasons by which a bundle says that its parts say different things, and that it has seen nothing like this."""
AUDIT, NOT_EARNED = "audit", "t_lo_not_earned"
BY_SITE = frozenset({AUDIT, NOT_EARNED})
READ_WHATEVER_IT_SAYS = BY_SITE | {UNCALIBRATED}
"""Reasons that do not depend on what the model says of the image. What is read for one of these may calibrate and measure; what is read
because it was uncertain may not (METHODS 6). Those of BY_SITE earn a site what may pass."""
WHATEVER, CHOSEN, NOBODY = "whatever", "chosen", "nobody"
"""How an image came to be read: for one of those reasons; for another, or because a person asked; or not at all."""
BY_THRESHOLD = frozenset({"between_thresholds", "above_site_t_lo", "above_earned_t_lo", "below_site_t_hi"})
"""Reasons that another threshold would take away."""


CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True)
class Facts:
    """What triage looks at of one Analysis."""

    route: Route
    kind: Kind
    p_non_regular: float
    reasons: tuple[str, ...] = ()
    drawn: float = 1.0
    """From 0 to below 1, by chance and for ever the same for an image (`earning.draw`)."""


@dataclass(frozen=True, slots=True)
class Rules:
    """A site's rule. Thresholds are null where the bundle's own are enough. `version`: its row; null for the built-in rule.

    missed_share: of the site's non-regular images so many may pass unseen; null: not asked. confidence: that it is no more. audit_share:
    of all images so many are read whatever the model says. earned: what the site's readings allow the version that judges; null: not
    asked, or it is trusted without.
    """

    reads_needed: int = 1
    t_lo: float | None = None
    t_hi: float | None = None
    version: int | None = None
    missed_share: float | None = None
    confidence: float = CONFIDENCE
    audit_share: float = 0.0
    earned: Earned | None = None

    def as_json(self) -> dict[str, object]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Routed:
    """`priority` in 0..1: how unsure the models are; higher is read sooner."""

    route: Route
    reasons: tuple[str, ...]
    priority: float


def route(facts: Facts, rules: Rules) -> Routed:
    """The bundle's own route, made stricter where the site's rule says so, and never looser."""
    objections = () if facts.route is Route.REVIEW else _objections(facts, rules)
    # also where it is read for a reason of its own: what is drawn must be all that was drawn, or it would be easier than the rest
    anyway = _whatever_it_says(facts, rules)
    reasons = tuple(dict.fromkeys((*facts.reasons, *objections, *anyway)))
    decided = Route.REVIEW if objections or anyway else facts.route
    return Routed(decided, reasons, priority(facts))


def _whatever_it_says(facts: Facts, rules: Rules) -> tuple[str, ...]:
    found = [NOT_EARNED] if rules.earned is not None and rules.earned.t_lo is None else []
    return (*found, AUDIT) if facts.drawn < rules.audit_share else tuple(found)


def _objections(facts: Facts, rules: Rules) -> tuple[str, ...]:
    """Why an automatic route is not good enough for this site."""
    found = []
    if facts.route is Route.AUTO_REGULAR and rules.t_lo is not None and facts.p_non_regular > rules.t_lo:
        found.append("above_site_t_lo")
    earned = rules.earned.t_lo if rules.earned else None
    if facts.route is Route.AUTO_REGULAR and earned is not None and facts.p_non_regular >= earned:
        found.append("above_earned_t_lo")
    if facts.route is Route.AUTO_NON_REGULAR and rules.t_hi is not None and facts.p_non_regular < rules.t_hi:
        found.append("below_site_t_hi")
    # Of a picture that is no cervix or beyond use no automatic route can be right
    if facts.kind not in (NON_REGULAR_KINDS if facts.route is Route.AUTO_NON_REGULAR else (Kind.REGULAR,)):
        found.append("kind_contradicts_route")
    return tuple(found)


def priority(facts: Facts) -> float:
    """Uncertainty: 1 at p = 0.5, 0 at certainty; what was sent to people for another reason counts as half unsure at least. Disagreement of
    the model's parts, and novelty, each halve what is left to 1."""
    unsure = 1.0 - abs(2.0 * facts.p_non_regular - 1.0)
    reasons = set(facts.reasons)
    least = max(unsure, 0.5) if facts.route is Route.REVIEW and reasons - {"between_thresholds"} else unsure
    return 1.0 - (1.0 - least) * 0.5 ** sum(not reasons.isdisjoint(doubt) for doubt in (DISAGREEMENT, NOVELTY))
