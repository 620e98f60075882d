"""A site's rule makes the bundle's route stricter, and never looser."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portal.ml import Kind, Route
from portal.reviews.triage import Facts, Rules, priority, route

share = st.floats(0, 1)
facts = st.builds(
    Facts,
    route=st.sampled_from(Route),
    kind=st.sampled_from([Kind.REGULAR, Kind.GREEN_FILTER, Kind.LUGOL_IODINE, Kind.NOT_CERVIX, Kind.UNUSABLE]),
    p_non_regular=share,
    reasons=st.lists(st.sampled_from(["between_thresholds", "detector_low"]), max_size=2).map(tuple),
)
rules = st.builds(Rules, reads_needed=st.sampled_from([1, 2]), t_lo=st.none() | share, t_hi=st.none() | share)


@given(facts, rules)
def test_a_route_is_kept_or_becomes_a_review(given_facts: Facts, given_rules: Rules) -> None:
    routed = route(given_facts, given_rules)
    assert routed.route in (given_facts.route, Route.REVIEW)
    assert set(given_facts.reasons) <= set(routed.reasons)
    assert 0 <= routed.priority <= 1


def test_a_clear_regular_image_is_accepted() -> None:
    assert route(Facts(Route.AUTO_REGULAR, Kind.REGULAR, 0.02), Rules()).route is Route.AUTO_REGULAR


@pytest.mark.parametrize(
    ("given_facts", "given_rules", "reason"),
    [
        (Facts(Route.AUTO_REGULAR, Kind.REGULAR, 0.08), Rules(t_lo=0.05), "above_site_t_lo"),
        (Facts(Route.AUTO_NON_REGULAR, Kind.GREEN_FILTER, 0.9), Rules(t_hi=0.95), "below_site_t_hi"),
        (Facts(Route.AUTO_NON_REGULAR, Kind.REGULAR, 0.9), Rules(), "kind_contradicts_route"),
        (Facts(Route.AUTO_REGULAR, Kind.NOT_CERVIX, 0.02), Rules(), "kind_contradicts_route"),
        (Facts(Route.AUTO_REGULAR, Kind.UNUSABLE, 0.02), Rules(), "kind_contradicts_route"),
        (Facts(Route.AUTO_NON_REGULAR, Kind.UNUSABLE, 0.98), Rules(), "kind_contradicts_route"),
    ],
)
def test_the_reason_names_the_rule(given_facts: Facts, given_rules: Rules, reason: str) -> None:
    routed = route(given_facts, given_rules)
    assert routed.route is Route.REVIEW
    assert routed.reasons == (reason,)


@pytest.mark.parametrize(("kind", "code"), [(Kind.NOT_CERVIX, "not_a_cervix"), (Kind.UNUSABLE, "blurred")])
def test_a_flawed_picture_stays_in_review_with_its_reason_and_is_not_read_last(kind: Kind, code: str) -> None:
    routed = route(Facts(Route.REVIEW, kind, 0.001, (code,)), Rules(t_lo=0.5))
    assert (routed.route, routed.reasons, routed.priority) == (Route.REVIEW, (code,), 0.5)


def test_the_unsure_are_read_first() -> None:
    sure, unsure = (Facts(Route.REVIEW, Kind.REGULAR, p, ("between_thresholds",)) for p in (0.1, 0.5))
    assert priority(unsure) == 1.0
    assert priority(sure) == pytest.approx(0.2)
    assert priority(Facts(Route.REVIEW, Kind.REGULAR, 0.01, ("detector_low",))) == 0.5


@pytest.mark.parametrize(
    ("reasons", "expected"),
    [
        (("classifiers_disagree",), 0.75),
        (("out_of_distribution",), 0.75),
        (("classifiers_disagree", "out_of_distribution", "beyond_training_distances"), 0.875),
    ],
)
def test_disagreement_and_novelty_are_read_sooner(reasons: tuple[str, ...], expected: float) -> None:
    assert priority(Facts(Route.REVIEW, Kind.REGULAR, 0.02, reasons)) == expected
