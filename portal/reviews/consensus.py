"""What the reads of one task amount to. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import combinations

from portal.ml import Kind

CANNOT_TELL = "cannot_tell"
MOST_READERS = 3
"""After as many readers without a majority, an adjudicator settles."""

BoxTuple = tuple[float, float, float, float]


class Step(StrEnum):
    SETTLE = "settle"
    FURTHER_READER = "further_reader"
    ADJUDICATE = "adjudicate"


@dataclass(frozen=True, slots=True)
class ReadFact:
    """One answer: a Kind's value or `cannot_tell`."""

    kind: str
    adjudicator: bool = False
    unsure: bool = False


@dataclass(frozen=True, slots=True)
class Rule:
    """How many readers' answers are asked for; grows by one each time they disagree.

    `asked`: how many it began with. `unsure_asks`: so many of the agreeing must not be unsure, as long as there may be a further reader.
    """

    reads_needed: int = 1
    asked: int = 1
    unsure_asks: bool = False


@dataclass(frozen=True, slots=True)
class Decision:
    """`kind` where settled. `reads_needed` is the rule from here on."""

    step: Step
    kind: Kind | None = None
    adjudicated: bool = False
    reads_needed: int = 1


def decide(reads: Sequence[ReadFact], rule: Rule) -> Decision:
    """Enough readers and a strict majority settle it; else one more reader, as long as that one could make a majority of three;
    else an adjudicator, whose word is the last."""
    for read in reads:
        if read.adjudicator and read.kind != CANNOT_TELL:
            return Decision(Step.SETTLE, Kind(read.kind), adjudicated=True, reads_needed=rule.reads_needed)
    answers = [read.kind for read in reads if not read.adjudicator]
    if len(answers) < rule.reads_needed:
        return Decision(Step.FURTHER_READER, reads_needed=rule.reads_needed)
    kind, votes = _leading(answers)
    if kind is not None and votes * 2 > len(answers):
        if rule.unsure_asks and len(answers) < MOST_READERS and _sure(reads, kind) < min(rule.asked, votes):
            return Decision(Step.FURTHER_READER, reads_needed=len(answers) + 1)
        return Decision(Step.SETTLE, kind, reads_needed=rule.reads_needed)
    missing = MOST_READERS - len(answers)
    if missing > 0 and (votes + missing) * 2 > MOST_READERS:
        return Decision(Step.FURTHER_READER, reads_needed=len(answers) + 1)
    return Decision(Step.ADJUDICATE, reads_needed=rule.reads_needed)


def _leading(answers: Sequence[str]) -> tuple[Kind | None, int]:
    votes = Counter(answer for answer in answers if answer != CANNOT_TELL)
    if not votes:
        return None, 0
    value, count = votes.most_common(1)[0]
    return Kind(value), count


def _sure(reads: Sequence[ReadFact], kind: Kind) -> int:
    return sum(read.kind == kind and not read.unsure for read in reads if not read.adjudicator)


def agreed_box(boxes: Sequence[BoxTuple]) -> BoxTuple | None:
    """The mean of the boxes that were drawn, if every two of them overlap by an IoU of 0.5; else none."""
    if not boxes or any(iou(a, b) < 0.5 for a, b in combinations(boxes, 2)):
        return None
    x0, y0, x1, y1 = (sum(side) / len(boxes) for side in zip(*boxes, strict=True))
    return (x0, y0, x1, y1)


def iou(a: BoxTuple, b: BoxTuple) -> float:
    """Intersection over union of two rectangles."""
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    shared = max(width, 0.0) * max(height, 0.0)
    union = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (a, b)) - shared
    return shared / union if union > 0 else 0.0
