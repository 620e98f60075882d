"""What reads cost and what they are worth: simulated studies, read by the portal's own rules of consensus and its own fit of readers.

`.venv/bin/python -m benchmarks.reads_simulation [--studies 40]`. Needs no database. A study: 600 images, 6 readers, 15 % of them hard.
Every rule sees the same answers of the same readers in the same order. An adjudicator settles what three readers leave open.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from portal.ml import Kind
from portal.reviews.consensus import CANNOT_TELL, MOST_READERS, ReadFact, Rule, Step, decide
from portal.reviews.quality.reliability import Answers, Said, fit
from portal.reviews.skill import Skill

SHARES = {
    Kind.REGULAR: 0.75, Kind.GREEN_FILTER: 0.12, Kind.LUGOL_IODINE: 0.06, Kind.NOT_CERVIX: 0.03, Kind.POST_TREATMENT: 0.02,
    Kind.UNUSABLE: 0.02,
}  # fmt: skip
MISTAKEN = {
    Kind.REGULAR: {Kind.GREEN_FILTER: 5, Kind.LUGOL_IODINE: 1, Kind.POST_TREATMENT: 2, Kind.UNUSABLE: 2},
    Kind.GREEN_FILTER: {Kind.REGULAR: 8, Kind.UNUSABLE: 1, Kind.LUGOL_IODINE: 1},
    Kind.LUGOL_IODINE: {Kind.REGULAR: 6, Kind.POST_TREATMENT: 3, Kind.GREEN_FILTER: 1},
    Kind.NOT_CERVIX: {Kind.UNUSABLE: 6, Kind.REGULAR: 4},
    Kind.POST_TREATMENT: {Kind.REGULAR: 7, Kind.LUGOL_IODINE: 2, Kind.NOT_CERVIX: 1},
    Kind.UNUSABLE: {Kind.NOT_CERVIX: 4, Kind.REGULAR: 5, Kind.GREEN_FILTER: 1},
}
"""What is said instead, and how often against one another."""
REFIT_EVERY = 100
ADJUDICATOR = 0


@dataclass(frozen=True, slots=True)
class Study:
    """`right`: of each reader, the share of right answers on easy and on hard images. `cannot_tell`, `unsure`: likewise, of all readers.
    Whether they are right and whether they feel unsure hang together by the image alone."""

    images: int = 600
    hard: float = 0.15
    right: Mapping[int, tuple[float, float]] = field(
        default_factory=lambda: {1: (0.99, 0.8), 2: (0.985, 0.75), 3: (0.98, 0.75), 4: (0.98, 0.7), 5: (0.97, 0.65), 6: (0.96, 0.6)}
    )
    adjudicator: tuple[float, float] = (0.99, 0.85)
    cannot_tell: tuple[float, float] = (0.01, 0.06)
    unsure: tuple[float, float] = (0.05, 0.4)


@dataclass(frozen=True, slots=True)
class Case:
    """An image: what it shows, and what its first three readers and the adjudicator would say of it."""

    kind: Kind
    answers: tuple[ReadFact, ...]
    adjudicated: str


def drawn(study: Study, seed: int) -> list[Case]:
    """The images of one study in the order of their reading."""
    chance = random.Random(seed)
    return [_case(study, chance) for _ in range(study.images)]


def _case(study: Study, chance: random.Random) -> Case:
    kind, hard = chance.choices(list(SHARES), list(SHARES.values()))[0], chance.random() < study.hard
    readers = chance.sample(sorted(study.right), MOST_READERS)
    answers = [
        ReadFact(
            _said(kind, study.right[reader][hard], study.cannot_tell[hard], chance),
            unsure=chance.random() < study.unsure[hard], reader=reader,
        )
        for reader in readers
    ]  # fmt: skip
    return Case(kind, tuple(answers), _said(kind, study.adjudicator[hard], 0.0, chance))


def _said(kind: Kind, right: float, cannot_tell: float, chance: random.Random) -> str:
    if chance.random() < cannot_tell:
        return CANNOT_TELL
    wrong = MISTAKEN[kind]
    return kind if chance.random() < right else chance.choices(list(wrong), list(wrong.values()))[0]


@dataclass(frozen=True, slots=True)
class Outcome:
    """Of one study under one rule: wrong labels, readers' answers and adjudications, each by image."""

    wrong: float
    reads: float
    adjudicated: float


def read(cases: Sequence[Case], *, asked: int, adaptive: bool = False, unsure_asks: bool = False) -> Outcome:
    """Read a study by one rule. Adaptive: what is known of readers is fitted anew every REFIT_EVERY images, from nothing at first."""
    wrong = reads = adjudicated = 0
    said: list[Said] = []
    known: dict[int, str] = {}
    skill = Skill() if adaptive else None
    for number, case in enumerate(cases):
        if adaptive and number and number % REFIT_EVERY == 0:
            answers = Answers.of(said)
            skill = fit(answers, known=known).skill(answers)
        given, kind, by_adjudicator = settle(case, Rule(asked, asked, unsure_asks, skill))
        wrong += kind != case.kind
        reads += len(given)
        adjudicated += by_adjudicator
        said += [Said(number, fact.reader, fact.kind, unsure=fact.unsure) for fact in given]
        if by_adjudicator:
            known[number] = kind
    return Outcome(wrong / len(cases), reads / len(cases), adjudicated / len(cases))


def settle(case: Case, rule: Rule) -> tuple[list[ReadFact], str, bool]:
    """The answers that were asked for, the label, and whether an adjudicator gave it."""
    facts: list[ReadFact] = []
    while (decision := decide(facts, rule)).step is Step.FURTHER_READER:
        rule = replace(rule, reads_needed=decision.reads_needed)
        facts.append(case.answers[len(facts)])
    label = decision.kind if decision.step is Step.SETTLE and decision.kind else case.adjudicated
    return facts, label, decision.step is Step.ADJUDICATE


RULES: dict[str, dict[str, bool | int]] = {
    "one read": {"asked": 1},
    "two reads, a third on disagreement": {"asked": 2},
    "two reads, a third on doubt too": {"asked": 2, "unsure_asks": True},
    "three reads": {"asked": 3},
    "adaptive, from one read": {"asked": 1, "adaptive": True},
    "adaptive, from two reads": {"asked": 2, "adaptive": True},
}


def studies(count: int, *, study: Study | None = None, rules: Sequence[str] = tuple(RULES)) -> dict[str, list[Outcome]]:
    """Every rule on the same studies."""
    cases = [drawn(study or Study(), seed) for seed in range(count)]
    return {name: [read(one, **RULES[name]) for one in cases] for name in rules}  # type: ignore[arg-type]


def interval(values: Sequence[float], *, draws: int = 2000, seed: int = 7) -> tuple[float, float, float]:
    """The mean and its 95 % interval: studies drawn with replacement."""
    array = np.asarray(values)
    means = array[np.random.default_rng(seed).integers(0, len(array), (draws, len(array)))].mean(axis=1)
    low, high = np.percentile(means, [2.5, 97.5])
    return float(array.mean()), float(low), float(high)


def _cell(values: Sequence[float], digits: int, scale: float = 1.0) -> str:
    return "{:.{d}f} [{:.{d}f}, {:.{d}f}]".format(*(scale * value for value in interval(values)), d=digits)


WORLDS = {
    "doubt: 5 % of easy, 40 % of hard": Study(),
    "doubt tells nothing": Study(unsure=(0.1, 0.1)),
    "weaker readers": Study(right={reader: (0.95, 0.6 + 0.02 * reader) for reader in range(1, 7)}),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=40)
    count = parser.parse_args().studies
    print(f"{count} studies of {Study().images} images, {len(Study().right)} readers, {Study().hard:.0%} hard; mean [95 % over studies]")
    for world, study in WORLDS.items():
        table(world, studies(count, study=study))


def table(world: str, found: Mapping[str, Sequence[Outcome]]) -> None:
    three = found["three reads"]
    print(f"{world:36}{'wrong, %':>20}{'less three reads':>22}{'reads an image':>22}{'adjudicated, %':>20}")
    for name, outcomes in found.items():
        more = [one.wrong - other.wrong for one, other in zip(outcomes, three, strict=True)]
        print(
            f"{name:36}{_cell([one.wrong for one in outcomes], 2, 100):>20}{_cell(more, 2, 100):>22}"
            f"{_cell([one.reads for one in outcomes], 3):>22}{_cell([one.adjudicated for one in outcomes], 2, 100):>20}"
        )


if __name__ == "__main__":
    main()
