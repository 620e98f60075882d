"""Whether images of one kind, taken in one exam, get the same answer (METHODS 8)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from training.answers import Answer, patients_of
from training.metrics import by_patient
from training.types import Interval


def figures(answers: Sequence[Answer]) -> dict[str, Interval]:
    """`same_answer`: share of pairs that are both called regular or both not. `difference`: mean |p - p'| of a pair.

    Pairs are of one exam and one kind; every exam and kind counts once, however many images it has. Intervals by bootstrap over patients;
    images and patients are those of the groups of two or more. Empty where there is no such group.
    """
    groups = [group for group in _groups(answers).values() if len(group) > 1]
    if not groups:
        return {}
    same = np.array([_mean_of_pairs([float(a.says_positive) for a in group]) for group in groups])
    apart = np.array([_mean_of_pairs([a.p for a in group]) for group in groups])
    return {"same_answer": _figure(1 - same, groups), "difference": _figure(apart, groups)}


def _groups(answers: Sequence[Answer]) -> dict[tuple[object, ...], list[Answer]]:
    groups: dict[tuple[object, ...], list[Answer]] = {}
    for answer in answers:
        groups.setdefault((*answer.record.patient_key, answer.record.exam, answer.record.kind), []).append(answer)
    return groups


def _mean_of_pairs(values: Sequence[float]) -> float:
    """Mean absolute difference over all pairs."""
    return float(np.mean([abs(one - other) for one, other in combinations(values, 2)]))


def _figure(values: NDArray[np.float64], groups: Sequence[Sequence[Answer]]) -> Interval:
    low, high = by_patient(lambda rows: float(values[rows].mean()), [group[0].record.patient_key for group in groups])
    every = [answer for group in groups for answer in group]
    return Interval(float(values.mean()), low, high, len(groups), len(every), patients_of(every))
