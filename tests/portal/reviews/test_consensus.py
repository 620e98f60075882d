"""Two who agree settle it; who disagree call a third, then an adjudicator."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portal.ml import Kind
from portal.reviews.consensus import CANNOT_TELL, CLEAR, LIKELY, MOST_READERS, ReadFact, Rule, Step, agreed_box, decide, iou
from portal.reviews.skill import KINDS, Skill

R, G, C = "regular", "green_filter", CANNOT_TELL
answers = st.lists(st.sampled_from([*(k.value for k in Kind), CANNOT_TELL]), min_size=0, max_size=4)


@pytest.mark.parametrize(
    ("given_answers", "needed", "step", "kind", "then_needed"),
    [
        ([R], 1, Step.SETTLE, R, 1),
        ([C], 1, Step.FURTHER_READER, None, 2),
        ([C, R], 2, Step.FURTHER_READER, None, 3),
        ([C, C], 2, Step.ADJUDICATE, None, 2),
        ([], 2, Step.FURTHER_READER, None, 2),
        ([R], 2, Step.FURTHER_READER, None, 2),
        ([R, R], 2, Step.SETTLE, R, 2),
        ([R, G], 2, Step.FURTHER_READER, None, 3),
        ([R, G, R], 3, Step.SETTLE, R, 3),
        ([R, G, C], 3, Step.ADJUDICATE, None, 3),
        ([R, G, "unusable"], 3, Step.ADJUDICATE, None, 3),
    ],
)
def test_the_table_of_decisions(given_answers: list[str], needed: int, step: Step, kind: str | None, then_needed: int) -> None:
    decision = decide([ReadFact(a) for a in given_answers], Rule(needed))
    assert (decision.step, decision.kind, decision.reads_needed) == (step, kind, then_needed)


def test_an_adjudicator_has_the_last_word() -> None:
    decision = decide([ReadFact(R), ReadFact(G), ReadFact(C), ReadFact(G, adjudicator=True)], Rule(3))
    assert (decision.step, decision.kind, decision.adjudicated) == (Step.SETTLE, Kind.GREEN_FILTER, True)


@given(answers, st.integers(1, 3))
def test_what_is_settled_has_a_strict_majority_of_enough_readers(given_answers: list[str], needed: int) -> None:
    decision = decide([ReadFact(a) for a in given_answers], Rule(needed))
    if decision.step is Step.SETTLE:
        assert decision.kind is not None
        assert len(given_answers) >= needed
        assert given_answers.count(decision.kind) * 2 > len(given_answers)
    else:
        assert decision.kind is None


@given(st.lists(st.sampled_from([*(k.value for k in Kind), CANNOT_TELL]), min_size=3, max_size=3), st.integers(1, 2))
def test_reading_one_after_the_other_always_ends(stream: list[str], needed: int) -> None:
    """Whatever they answer, after three readers at most it is settled or with an adjudicator, and nobody is asked in vain."""
    reads: list[ReadFact] = []
    rule = Rule(needed)
    while (decision := decide(reads, rule)).step is Step.FURTHER_READER:
        rule = Rule(decision.reads_needed)
        assert len(reads) < rule.reads_needed <= MOST_READERS
        reads.append(ReadFact(stream[len(reads)]))
    assert decision.step in (Step.SETTLE, Step.ADJUDICATE)


@given(answers, st.integers(1, 3))
def test_the_order_of_answers_does_not_matter(given_answers: list[str], needed: int) -> None:
    forward = decide([ReadFact(a) for a in given_answers], Rule(needed))
    backward = decide([ReadFact(a) for a in reversed(given_answers)], Rule(needed))
    assert forward == backward


def test_boxes_that_overlap_are_averaged_and_others_are_left_out() -> None:
    assert agreed_box([(0, 0, 10, 10), (0, 0, 12, 10)]) == (0, 0, 11, 10)
    assert agreed_box([(0, 0, 10, 10), (20, 20, 30, 30)]) is None
    assert agreed_box([(0, 0, 10, 10), (20, 20, 30, 30), (0, 0, 12, 10)]) == (0, 0, 11, 10), "one of three is off: the other two agree"
    assert agreed_box([(0, 0, 10, 10), (0, 0, 10, 10), (20, 20, 30, 30), (20, 20, 30, 30)]) is None, "half is no majority"
    assert agreed_box([]) is None
    assert iou((0, 0, 2, 1), (1, 0, 3, 1)) == pytest.approx(1 / 3)


# ---- adaptive ---------------------------------------------------------------------------------------------------------
def table(right: float) -> tuple[tuple[float, ...], ...]:
    wrong = (1 - right) / (len(KINDS) - 1)
    rows = [[right if row == column else wrong for column in range(len(KINDS))] for row in range(len(KINDS))]
    return tuple((*(0.8 * cell for cell in row), *(0.2 * cell for cell in row)) for row in rows)


GOOD, POOR, NEW = 1, 2, 3
SKILL = Skill(shares=(0.7, 0.1, 0.1, 0.04, 0.03, 0.03), tables={GOOD: table(0.99), POOR: table(0.6)})


def said(*answers: tuple[int, str], unsure: bool = False) -> list[ReadFact]:
    return [ReadFact(kind, reader=reader, unsure=unsure) for reader, kind in answers]


@pytest.mark.parametrize(
    ("given_answers", "needed", "step", "kind", "then_needed"),
    [
        (said((GOOD, R)), 1, Step.SETTLE, R, 1),
        (said((POOR, R)), 1, Step.FURTHER_READER, None, 2),
        (said((POOR, R), (NEW, R)), 2, Step.SETTLE, R, 2),
        (said((GOOD, R)), 2, Step.FURTHER_READER, None, 2),  # never fewer than it began with
        (said((GOOD, R), (POOR, G)), 2, Step.FURTHER_READER, None, 3),  # however much better the one reads
        (said((GOOD, R), (POOR, G), (NEW, R)), 3, Step.SETTLE, R, 3),
        (said((GOOD, G), (POOR, R), (POOR, R)), 3, Step.ADJUDICATE, None, 3),  # a majority that is not likely
        (said((POOR, G), (NEW, R)), 2, Step.FURTHER_READER, None, 3),
        (said((POOR, G), (POOR, G)), 2, Step.FURTHER_READER, None, 3),  # two who agree, and not clear
        (said((POOR, G), (POOR, G), (NEW, C)), 3, Step.ADJUDICATE, None, 3),
        (said((GOOD, C), (NEW, R), (NEW, R)), 3, Step.SETTLE, R, 3),
        (said((POOR, G), (NEW, R), (NEW, C)), 3, Step.ADJUDICATE, None, 3),
        (said((GOOD, C)), 1, Step.FURTHER_READER, None, 2),
        (said((GOOD, C), (GOOD, C), (GOOD, C)), 3, Step.ADJUDICATE, None, 3),
        ([*said((GOOD, C)), ReadFact(G, adjudicator=True)], 1, Step.SETTLE, G, 1),
    ],
)
def test_the_table_of_adaptive_decisions(
    given_answers: list[ReadFact], needed: int, step: Step, kind: str | None, then_needed: int
) -> None:
    decision = decide(given_answers, Rule(needed, needed, skill=SKILL))
    assert (decision.step, decision.kind, decision.reads_needed) == (step, kind, then_needed)
    if step is Step.SETTLE and not any(read.adjudicator for read in given_answers):
        assert decision.posterior is not None
        assert decision.posterior >= (CLEAR if len(given_answers) < MOST_READERS else LIKELY)


def test_an_unsure_answer_asks_on_although_it_is_clear() -> None:
    assert decide(said((GOOD, R), unsure=True), Rule(1, 1, unsure_asks=True, skill=SKILL)).step is Step.FURTHER_READER
    assert decide(said((GOOD, R), unsure=True), Rule(1, 1, skill=SKILL)).step is Step.SETTLE


def test_of_readers_of_whom_nothing_is_known_one_is_not_enough_and_two_who_agree_are() -> None:
    assert decide(said((7, G)), Rule(skill=Skill())).step is Step.FURTHER_READER
    assert decide(said((7, G), (8, G)), Rule(2, skill=Skill())).step is Step.SETTLE


@given(st.lists(st.tuples(st.integers(1, 3), st.sampled_from([*KINDS, CANNOT_TELL])), min_size=3, max_size=3), st.integers(1, 3))
def test_adaptive_reading_always_ends_and_never_asks_a_fourth(stream: list[tuple[int, str]], needed: int) -> None:
    reads: list[ReadFact] = []
    rule = Rule(needed, needed, skill=SKILL)
    while (decision := decide(reads, rule)).step is Step.FURTHER_READER:
        rule = Rule(decision.reads_needed, needed, skill=SKILL)
        assert len(reads) < rule.reads_needed <= MOST_READERS
        reads += said(stream[len(reads)])
    assert len(reads) >= needed
    assert decide(list(reversed(reads)), rule) == decision
