"""600 images, 6 readers, 15 % hard, many times: what fewer reads cost in wrong labels. By the portal's own consensus and fit."""

from __future__ import annotations

from functools import cache

from benchmarks.reads_simulation import Outcome, Study, drawn, interval, read, studies

STUDIES = 16


@cache
def found() -> dict[str, list[Outcome]]:
    return studies(STUDIES)


def less(name: str, other: str = "three reads") -> tuple[float, float, float]:
    """How many more labels are wrong than under another rule, of the same studies."""
    return interval([one.wrong - two.wrong for one, two in zip(found()[name], found()[other], strict=True)])


def reads(name: str) -> tuple[float, float, float]:
    return interval([one.reads for one in found()[name]])


def experts(name: str) -> tuple[float, float, float]:
    """Answers of readers and of adjudicators."""
    return interval([one.reads + one.adjudicated for one in found()[name]])


def test_two_reads_and_a_third_on_disagreement_reach_the_error_of_three_with_at_most_2_2_reads() -> None:
    assert less("two reads, a third on disagreement") == (0.0, 0.0, 0.0), "a third reader cannot outvote two who agree"
    assert reads("two reads, a third on disagreement")[2] <= 2.2
    assert less("one read")[1] > 0.02, "one read is not as good: the studies can tell"


def test_adaptive_reads_are_fewer_at_no_more_error() -> None:
    wrong, _, high = less("adaptive, from one read")
    assert wrong < 0.002
    assert high < 0.0025
    assert reads("adaptive, from one read")[2] < 2.0 < reads("two reads, a third on disagreement")[1]
    assert experts("adaptive, from one read")[2] < experts("two reads, a third on disagreement")[1]


def test_from_two_reads_adaptive_errs_less_than_three() -> None:
    assert less("adaptive, from two reads")[2] <= 0.0005
    assert reads("adaptive, from two reads")[2] <= 2.2


def test_readers_who_are_no_good_are_asked_on() -> None:
    """The rule is not a fixed number in disguise."""
    poor = Study(right=dict.fromkeys(range(1, 7), (0.8, 0.5)))
    asked = [read(drawn(poor, seed), asked=1, adaptive=True).reads for seed in range(4)]
    assert min(asked) > reads("adaptive, from one read")[2] + 0.3
