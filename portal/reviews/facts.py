"""What consensus is asked about: the answers that count, and the rule of their question."""

from __future__ import annotations

from collections.abc import Iterable

from portal.reviews.consensus import UNSURE, ReadFact, Rule
from portal.reviews.models import Read, ReviewTask
from portal.reviews.quality import evidence


def blind_words(given: Iterable[Read]) -> list[Read]:
    """Of each person whose answer counts, the last version before they were shown the model's opinion, in the order of their first: no
    model's opinion enters a label that may calibrate or test a model (METHODS 7). `given`: every version, by number."""
    given = list(given)
    counting = {read.reader_id for read in given if read.current}
    blind = [read for read in given if read.reader_id in counting and not (read.undone or read.revealed)]
    return list({read.reader_id: read for read in blind}.values())


def fact(read: Read) -> ReadFact:
    """What consensus asks of an answer."""
    return ReadFact(read.kind, read.role == "adjudicator", read.confidence == UNSURE, read.reader_id)


def rule_of(task: ReviewTask) -> Rule:
    """The rule that a question began with, and how many answers it asks for by now."""
    rules = task.rules
    asked, unsure_asks = (rules.reads_needed, rules.unsure_asks) if rules else (1, False)
    return Rule(task.reads_needed, asked, unsure_asks, evidence.skill_of(task))
