"""How well each reader reads, without the truth: as Dawid and Skene published it, as plain loops say it, and as simulated readers are."""

from __future__ import annotations

import math
import random
from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np
import pytest

from portal.reviews.quality.reliability import NO_PRIOR, Answers, Prior, Said, figures, fit, share
from portal.reviews.skill import CORRECT, SURE, Skill

ANAESTHESIA = (
    "1111111 3334334 1122122 2223121 2223222 2223322 1222111 3333433 2222223 2322223 4444444 2223343 1111111 2223212 1211111"
    " 1112111 1111111 1111111 2222221 2221322 2222222 2222221 2223222 2212222 1111111 1111111 2322222 1111111 1111111 1121121"
    " 1111111 3333233 1111111 2222222 2223232 4334343 2212232 2323233 3333432 1111111 1111111 1212111 2322222 1211111 2222222"
)
"""Dawid and Skene 1979, table 1: 45 patients, three answers of the first anaesthetist and one of each of four others."""
GRADES = ("1", "2", "3", "4")
OBSERVERS = (1, 1, 1, 2, 3, 4, 5)


def anaesthesia() -> list[Said]:
    rows = enumerate(ANAESTHESIA.split())
    return [Said(patient, who, grade) for patient, row in rows for who, grade in zip(OBSERVERS, row, strict=True)]


def by_loops(
    rows: Sequence[Said], kinds: Sequence[str], rounds: int, prior: Prior
) -> tuple[dict[str, float], dict[tuple[int, str, str], float], dict[int, dict[str, float]]]:
    """The same method in plain loops over dictionaries: the equations (2.3) to (2.5) of the paper, with pseudo-answers."""
    images, readers = sorted({row.image for row in rows}), sorted({row.reader for row in rows})
    said: dict[int, list[tuple[int, str]]] = defaultdict(list)
    for row in rows:
        said[row.image].append((row.reader, row.kind))
    truth = {i: {k: sum(kind == k for _, kind in said[i]) / len(said[i]) for k in kinds} for i in images}
    for _ in range(rounds):
        shares = {k: (sum(truth[i][k] for i in images) + prior.images) / (len(images) + prior.images * len(kinds)) for k in kinds}
        table = {}
        for r in readers:
            for k in kinds:
                presumed = {s: prior.correct if s == k else (1 - prior.correct) / (len(kinds) - 1) for s in kinds}
                counted = {s: sum(truth[i][k] * said[i].count((r, s)) for i in images) for s in kinds}
                for s in kinds:
                    table[r, k, s] = (counted[s] + prior.weight * SURE * presumed[s]) / ((sum(counted.values()) + prior.weight) or 1)
        for i in images:
            odds = {k: shares[k] * math.prod(table[r, k, s] for r, s in said[i]) for k in kinds}
            truth[i] = {k: odds[k] / sum(odds.values()) for k in kinds}
    return shares, table, truth


def test_the_anaesthetists_are_what_was_published() -> None:
    answers = Answers.of(anaesthesia(), GRADES)
    fitted = fit(answers, prior=NO_PRIOR, rounds=2000, near=1e-12)
    assert fitted.shares.round(2).tolist() == [0.40, 0.42, 0.11, 0.07], "the marginals of the paper"
    first = [[0.89, 0.11, 0, 0], [0.07, 0.88, 0.05, 0], [0, 0.34, 0.66, 0], [0, 0, 0.56, 0.44]]
    assert fitted.tables[0, :, :4].round(2).tolist() == first, "the error rates of the first anaesthetist"


@pytest.mark.parametrize("prior", [NO_PRIOR, Prior()])
def test_all_at_once_is_what_the_loops_say(prior: Prior) -> None:
    rows = anaesthesia()
    shares, table, truth = by_loops(rows, GRADES, 30, prior)
    answers = Answers.of(rows, GRADES)
    fitted = fit(answers, prior=prior, rounds=30, near=0.0)
    assert fitted.truth == pytest.approx(np.array([[truth[i][k] for k in GRADES] for i in answers.image_ids]), abs=1e-8)
    again, tables, _ = by_loops(rows, GRADES, 31, prior)
    assert fitted.shares.tolist() == pytest.approx([again[k] for k in GRADES])
    expected = np.array([[[tables[r, k, s] for s in GRADES] for k in GRADES] for r in answers.reader_ids])
    assert fitted.tables[:, :, : len(GRADES)] == pytest.approx(expected, abs=1e-8), "all of them are sure"
    assert shares != again
    assert table != tables


# ---- simulated readers ------------------------------------------------------------------------------------------------
KINDS = ("regular", "green_filter", "lugol_iodine")


def read_by(skills: Mapping[int, tuple[float, float]], images: int, seed: int, doubt: float = 0.05) -> tuple[list[Said], dict[int, str]]:
    """`skills`: sensitivity and specificity of each reader; three of them read an image. `doubt`: how often they are unsure where wrong."""
    chance = random.Random(seed)
    truth = {image: chance.choices(KINDS, (7, 2, 1))[0] for image in range(images)}
    rows = []
    for image, kind in truth.items():
        for reader in chance.sample(sorted(skills), 3):
            sensitivity, specificity = skills[reader]
            right = chance.random() < (specificity if kind == "regular" else sensitivity)
            said = kind if right else "regular" if kind != "regular" else chance.choice(KINDS[1:])
            unsure = chance.random() < (0.05 if right else doubt)
            rows.append(Said(image, reader, said, image // 2, unsure))
    return rows, truth


SKILLS = {1: (0.95, 0.98), 2: (0.9, 0.95), 3: (0.7, 0.97), 4: (0.97, 0.85), 5: (0.85, 0.9), 6: (0.93, 0.93)}


def test_what_readers_are_like_is_found_and_the_intervals_hold_it() -> None:
    held = 0
    for seed in range(10):
        rows, truth = read_by(SKILLS, 600, seed)
        answers = Answers.of(rows)
        fitted = fit(answers)
        for reader, found in figures(answers, fitted).items():
            for figure, is_so in zip((found.sensitivity, found.specificity), SKILLS[reader], strict=True):
                held += figure.low <= is_so <= figure.high
                assert abs(figure.value - is_so) < 0.15
                assert 0 < figure.patients <= figure.total
        right = [fitted.truth[at].argmax() == answers.kinds.index(truth[pk]) for at, pk in enumerate(answers.image_ids)]
        assert np.mean(right) > 0.97
    assert held >= 0.88 * 10 * 12, f"{held} of 120 intervals of 95 % hold what is so"


def test_a_known_truth_is_believed() -> None:
    rows = [Said(1, 1, "regular"), Said(1, 2, "regular"), Said(2, 1, "green_filter"), Said(2, 2, "green_filter")]
    answers = Answers.of(rows)
    fitted = fit(answers, known={1: "green_filter", 99: "regular", 2: "cannot_tell"})
    assert fitted.truth[0, answers.kinds.index("green_filter")] == 1.0
    assert 0.9 < fitted.truth[1, answers.kinds.index("green_filter")] < 1.0


def test_cannot_tell_is_no_answer_and_few_answers_leave_a_reader_as_presumed() -> None:
    answers = Answers.of([Said(1, 1, "cannot_tell"), Said(2, 1, "regular")])
    assert (answers.image_ids, len(answers.said)) == ((2,), 1)
    table = fit(answers).skill(answers).tables[1]
    assert abs(table[0][0] + table[0][6] - CORRECT) < 0.1
    assert table[1][1] + table[1][7] == pytest.approx(CORRECT, abs=0.02)
    assert fit(Answers.of([])).truth.shape == (0, 6)


def test_an_interval_never_closes_over_a_reader_without_error_and_counts_patients() -> None:
    right, weight = np.ones(40, dtype=bool), np.ones(40)
    alone, few = share(right, weight, np.arange(40)), share(right, weight, np.arange(40) // 10)
    assert (alone.value, alone.high, alone.hits, alone.total, alone.patients) == (1.0, 1.0, 40, 40, 40)
    assert 0.9 < alone.low < 0.95
    assert 0.4 < few.low < 0.65
    assert few.patients == 4
    assert math.isnan(share(right[:0], weight[:0], np.arange(0)).value)


def test_what_answers_make_of_an_image_is_the_same_by_hand_and_by_the_fit() -> None:
    answers = Answers.of(read_by(SKILLS, 200, 3)[0])
    fitted = fit(answers)
    skill = fitted.skill(answers)
    for place in range(0, 200, 17):
        mine = answers.images == place
        said = [
            (answers.reader_ids[r], answers.kinds[s % 6], s >= 6) for r, s in zip(answers.readers[mine], answers.said[mine], strict=True)
        ]
        assert list(skill.posterior(said).values()) == pytest.approx(fitted.truth[place].tolist(), abs=1e-3)
    assert Skill.of_json(skill.as_json() | {"tables": {str(r): [list(row) for row in t] for r, t in skill.tables.items()}}) == skill
    assert Skill().posterior([(1, "cannot_tell", True), (2, "green_filter", False)])["green_filter"] == pytest.approx(CORRECT)


@pytest.mark.parametrize(("doubt", "weaker"), [(0.05, False), (0.6, True)])
def test_an_unsure_answer_weighs_less_where_doubt_has_told_something(doubt: float, weaker: bool) -> None:
    answers = Answers.of(read_by(SKILLS, 900, 11, doubt)[0])
    skill = fit(answers).skill(answers)
    sure, unsure = (skill.posterior([(3, "regular", one)])["regular"] for one in (False, True))
    assert (unsure < sure - 0.15) is weaker
    assert unsure > 0.5
