"""What the reads of one task amount to. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import combinations

from portal.ml import Kind
from portal.reviews.skill import Skill

CANNOT_TELL = "cannot_tell"
UNSURE = 1
"""Of the three steps of confidence the lowest."""
MOST_READERS = 3
"""After as many readers without a majority, an adjudicator settles."""
CLEAR, LIKELY = 0.9925, 0.9
"""Where reads are adaptive: a kind on which all agree and that is as likely as CLEAR, by how well they read, needs no further reader; after
three readers, one that most named and that is LIKELY needs no adjudicator. Chosen by `benchmarks/reads_simulation.py`."""

BoxTuple = tuple[float, float, float, float]
OVERLAP = 0.5
"""Two boxes of which less is shared (intersection over union) are of two minds."""


class Step(StrEnum):
    SETTLE = "settle"
    FURTHER_READER = "further_reader"
    ADJUDICATE = "adjudicate"


@dataclass(frozen=True, slots=True)
class ReadFact:
    """One answer: a Kind's value or `cannot_tell`. `reader`: their id, where it matters how well they read."""

    kind: str
    adjudicator: bool = False
    unsure: bool = False
    reader: int = 0


@dataclass(frozen=True, slots=True)
class Rule:
    """How many readers' answers are asked for; grows by one each time they disagree.

    `asked`: how many it began with. `unsure_asks`: so many of the agreeing must not be unsure, as long as there may be a further reader.
    `skill`: how well readers read, where reads are adaptive: not votes but what they make likely decides whether to ask on.
    """

    reads_needed: int = 1
    asked: int = 1
    unsure_asks: bool = False
    skill: Skill | None = None


@dataclass(frozen=True, slots=True)
class Decision:
    """`kind` where settled. `reads_needed` is the rule from here on. `posterior`: how likely the kind is, where that settled it."""

    step: Step
    kind: Kind | None = None
    adjudicated: bool = False
    reads_needed: int = 1
    posterior: float | None = None


def decide(reads: Sequence[ReadFact], rule: Rule) -> Decision:
    """Enough readers and a strict majority settle it; else one more reader, as long as that one could make a majority of three;
    else an adjudicator, whose word is the last. Adaptive: also a kind that they make clear."""
    for read in reads:
        if read.adjudicator and read.kind != CANNOT_TELL:
            return Decision(Step.SETTLE, Kind(read.kind), adjudicated=True, reads_needed=rule.reads_needed)
    answers = [read.kind for read in reads if not read.adjudicator]
    if len(answers) < rule.reads_needed:
        return Decision(Step.FURTHER_READER, reads_needed=rule.reads_needed)
    if rule.skill:
        return _adaptive(reads, answers, rule, rule.skill)
    kind, votes = _leading(answers)
    if kind is not None and votes * 2 > len(answers):
        if _sure_enough(reads, kind, rule):
            return Decision(Step.SETTLE, kind, reads_needed=rule.reads_needed)
        return Decision(Step.FURTHER_READER, reads_needed=len(answers) + 1)
    if _majority_possible(votes, len(answers)):
        return Decision(Step.FURTHER_READER, reads_needed=len(answers) + 1)
    return Decision(Step.ADJUDICATE, reads_needed=rule.reads_needed)


def _leading(answers: Sequence[str]) -> tuple[Kind | None, int]:
    votes = Counter(answer for answer in answers if answer != CANNOT_TELL)
    if not votes:
        return None, 0
    value, count = votes.most_common(1)[0]
    return Kind(value), count


def _adaptive(reads: Sequence[ReadFact], answers: Sequence[str], rule: Rule, skill: Skill) -> Decision:
    """Of one mind and clear: settled. Of two minds it is never settled by likelihood before the third reader: an image that divides readers
    is harder than those by which they are known, so that they err more often, and alike. Who cannot tell is of another mind: likelihood
    knows nothing of them, so before the third reader they call the next, and of three the other two must be as clear as two must be."""
    said = sorted((read.reader, read.kind, read.unsure) for read in reads if not read.adjudicator and read.kind != CANNOT_TELL)
    kind, votes = _leading(answers)
    early = len(answers) < MOST_READERS
    likely = round(skill.posterior(said)[kind], 4) if kind else 0.0
    agreed = votes == len(answers) if early else votes * 2 > len(answers)
    if kind and agreed and likely >= (CLEAR if early or CANNOT_TELL in answers else LIKELY) and _sure_enough(reads, kind, rule):
        return Decision(Step.SETTLE, kind, reads_needed=rule.reads_needed, posterior=likely)
    if _majority_possible(votes, len(answers)):
        return Decision(Step.FURTHER_READER, reads_needed=len(answers) + 1)
    return Decision(Step.ADJUDICATE, reads_needed=rule.reads_needed)


def _majority_possible(votes: int, answers: int) -> bool:
    """Whether a further reader may still make one, of the most there can be."""
    missing = MOST_READERS - answers
    return missing > 0 and (votes + missing) * 2 > MOST_READERS


def _sure_enough(reads: Sequence[ReadFact], kind: Kind, rule: Rule) -> bool:
    """Whether as many of those who said so are sure as there were to be readers; of three readers, unsure ones are enough."""
    agreeing = [read for read in reads if not read.adjudicator and read.kind == kind]
    answered = sum(not read.adjudicator for read in reads)
    return not rule.unsure_asks or answered >= MOST_READERS or sum(not read.unsure for read in agreeing) >= min(rule.asked, len(agreeing))


def agreed_box(boxes: Sequence[BoxTuple]) -> BoxTuple | None:
    """The mean of the boxes that agree: the most of those drawn of which every two overlap by an IoU of 0.5, if they are more than half."""
    for count in range(len(boxes), len(boxes) // 2, -1):
        for some in combinations(boxes, count):
            if all(iou(a, b) >= OVERLAP for a, b in combinations(some, 2)):
                x0, y0, x1, y1 = (sum(side) / count for side in zip(*some, strict=True))
                return (x0, y0, x1, y1)
    return None


def iou(a: BoxTuple, b: BoxTuple) -> float:
    """Intersection over union of two rectangles."""
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    shared = max(width, 0.0) * max(height, 0.0)
    union = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (a, b)) - shared
    return shared / union if union > 0 else 0.0
