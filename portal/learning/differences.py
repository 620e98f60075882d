"""What a candidate and the champion differ by on the same images. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from portal import ml
from portal.ml import Compared, EvaluationReport, TrainingRefused


@dataclass(frozen=True, slots=True)
class Differences:
    """Candidate minus champion, figure by figure; or none, and why."""

    rows: tuple[Compared, ...] = ()
    why_not: str = ""


def between(candidate: EvaluationReport, champion: EvaluationReport) -> Differences:
    """Of two reports of one split of one snapshot."""
    try:
        return Differences(tuple(ml.differences(champion, candidate)))
    except TrainingRefused as error:
        return Differences(why_not=str(error))
