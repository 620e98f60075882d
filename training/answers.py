"""What a bundle says of the labelled images of a split, one by one, and what saying it took. Every figure of a report is counted here."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from numpy.typing import NDArray

from inference.api import Analyzer
from inference.assessment import Assessor, evidence
from inference.preprocess import DecodeError, Picture, crop_to, decode, with_margin
from inference.types import NON_REGULAR_KINDS, Analysis, Assessed, Box, DetectorState, Kind, Route
from training.manifest import Record, count_patients
from training.metrics import box_iou, by_patient, covered, proportion
from training.types import Cost, Interval, TrainingRefused

CONTAINED = 0.95
FAINT_GREEN_SHARE = 0.40
"""A green-filter picture is faint when G / (R + G + B) of its crop is below this. White light lies near 0.28, the mild optical filter near
0.33, the strong digital one above 0.9."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One record with what the bundle says of it. `green_share` of the crop in [0, 1]; `iou` of the best box, None where no box is known.

    `p`, `said`, `route` and `reasons` are what the report judges; they come from here alone.
    """

    record: Record
    analysis: Analysis
    green_share: float
    iou: float | None
    contained: bool | None
    assessed: Assessed | None = None
    """What it amounts to beside the other images of its exam; None where images are judged alone."""

    @property
    def p(self) -> float:
        return self.assessed.p_non_regular if self.assessed else self.analysis.p_non_regular

    @property
    def said(self) -> Kind:
        return self.assessed.kind if self.assessed else self.analysis.kind

    @property
    def route(self) -> Route:
        return self.assessed.route if self.assessed else self.analysis.route

    @property
    def reasons(self) -> tuple[str, ...]:
        return self.assessed.reasons if self.assessed else self.analysis.reasons

    @property
    def positive(self) -> bool:
        return self.record.kind in NON_REGULAR_KINDS

    @property
    def says_positive(self) -> bool:
        return self.said in NON_REGULAR_KINDS

    @property
    def right(self) -> bool:
        return self.record.kind is self.said

    @property
    def faint_green(self) -> bool:
        return self.record.kind is Kind.GREEN_FILTER and self.green_share < FAINT_GREEN_SHARE

    @property
    def found(self) -> bool:
        return self.analysis.detector_state is DetectorState.FOUND


def answer_all(analyzer: Analyzer, records: Sequence[Record], batch: int, watch: Watch | None = None) -> list[Answer]:
    """Analyse every record. Raises TrainingRefused for a picture that cannot be read: a snapshot holds clean ones."""
    answers: list[Answer] = []
    watch = watch or Watch()
    with ThreadPoolExecutor(2) as pool:
        for first in range(0, len(records), batch):
            group = records[first : first + batch]
            with watch.decoding():
                pictures = list(pool.map(_open, group))
            with watch.analysing(len(group)):
                analyses = analyzer.analyse(pictures, batch=batch)
            answers += [_answer(*one) for one in zip(group, pictures, analyses, strict=True)]
    return answers


def beside_others(assessor: Assessor, answers: Sequence[Answer], *, known_devices_only: bool = False) -> list[Answer]:
    """The same answers, each assessed beside the others of its exam (site, patient and exam of its record), in order.

    known_devices_only: what comes from a device without calibration goes to people, as an installation may have it.
    """
    exams: dict[tuple[str, str, str], list[int]] = {}
    for row, answer in enumerate(answers):
        exams.setdefault(exam_of(answer.record), []).append(row)
    made = list(answers)
    for rows in exams.values():
        exam = [evidence(answers[row].analysis, device=answers[row].record.device) for row in rows]
        judged = assessor.assess(exam, known_devices_only=known_devices_only)
        for row, assessed in zip(rows, judged, strict=True):
            made[row] = replace(answers[row], assessed=assessed)
    return made


def judge_all(
    analyzer: Analyzer, records: Sequence[Record], counts: Callable[[Record], bool], batch: int, watch: Watch | None = None, *,
    context: bool, known_devices_only: bool = False,
) -> list[Answer]:  # fmt: skip
    """Answers of the records that count, in order; with `context` beside every other image of their exam that the snapshot holds.

    The others are analysed as well, whatever is known of them: the portal compares before anybody has looked.
    """
    exams = {exam_of(record) for record in records if counts(record)}
    shown = [record for record in records if counts(record) or (context and exam_of(record) in exams)]
    answers = answer_all(analyzer, shown, batch, watch)
    if context:
        answers = beside_others(Assessor.of(analyzer.about), answers, known_devices_only=known_devices_only)
    return [answer for answer in answers if counts(answer.record)]


def exam_of(record: Record) -> tuple[str, str, str]:
    """Site, patient and exam: images that have these in common are compared."""
    return record.site, record.patient, record.exam


def _open(record: Record) -> Picture:
    try:
        return decode(record.path)
    except DecodeError as error:
        raise TrainingRefused(f"{record.path.name} cannot be evaluated: {error}") from error


def _answer(record: Record, picture: Picture, analysis: Analysis) -> Answer:
    crop_box = analysis.box if analysis.detector_state is DetectorState.FOUND else None
    mean = crop_to(picture, crop_box, 32).reshape(-1, 3).mean(axis=0) + 1e-6
    iou, contained = None, None
    if record.box is not None:
        truth = corners(record.box)
        iou = box_iou(corners(analysis.box), truth) if analysis.box else 0.0
        region = with_margin(crop_box, picture.width, picture.height) if crop_box else (0.0, 0.0, picture.width, picture.height)
        contained = covered(truth, region) >= CONTAINED
    return Answer(record, analysis, float(mean[1] / mean.sum()), iou, contained)


def corners(box: Box) -> tuple[float, float, float, float]:
    return (box.x0, box.y0, box.x1, box.y1)


@dataclass(slots=True)
class Watch:
    """Takes the time of the parts of an evaluation."""

    decode: float = 0.0
    per_image: list[float] = field(default_factory=list)
    """Seconds an image, once for each image of a batch."""

    @contextmanager
    def decoding(self) -> Iterator[None]:
        began = time.perf_counter()
        yield
        self.decode += time.perf_counter() - began

    @contextmanager
    def analysing(self, images: int) -> Iterator[None]:
        began = time.perf_counter()
        yield
        self.per_image += [(time.perf_counter() - began) / images] * images

    def cost(self, device: str, batch: int) -> Cost | None:
        """None when nothing was analysed. The first batch, which warms the networks up, counts too."""
        if not self.per_image:
            return None
        median, p95 = np.percentile(self.per_image, [50, 95]) * 1000
        seconds = self.decode + sum(self.per_image)
        card = torch.cuda.max_memory_allocated() / 2**20 if device.startswith("cuda") else 0.0
        return Cost(
            device=device, threads=torch.get_num_threads(), batch=batch, images=len(self.per_image), seconds=seconds,
            decode_ms=1000 * self.decode / len(self.per_image), median_ms=float(median), p95_ms=float(p95), memory_mib=_peak(),
            gpu_memory_mib=card,
        )  # fmt: skip


def _peak() -> float:
    """The most memory that this process has held, in MiB. macOS counts in bytes, Linux in KiB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 2**10


def grouped(answers: Iterable[Answer], key: Callable[[Answer], str]) -> list[tuple[str, list[Answer]]]:
    groups: dict[str, list[Answer]] = {}
    for answer in answers:
        groups.setdefault(key(answer), []).append(answer)
    return sorted(groups.items())


def by_site(answers: Iterable[Answer]) -> list[tuple[str, list[Answer]]]:
    return grouped(answers, lambda a: a.record.site)


def by_kind(answers: Iterable[Answer]) -> list[tuple[str, list[Answer]]]:
    return grouped(answers, lambda a: a.record.kind.value)


def share(answers: Sequence[Answer], holds: Callable[[Answer], bool]) -> Interval:
    """The share of the answers for which something holds, with its intervals by Wilson and by patient."""
    return proportion([holds(a) for a in answers], [a.record.patient_key for a in answers])


def resampled(answers: Sequence[Answer], figure: Callable[[NDArray[np.int64]], float], hits: int) -> Interval:
    """Any figure of rows of the answers, with its interval by bootstrap over patients."""
    value = figure(np.arange(len(answers)))
    low, high = by_patient(figure, [a.record.patient_key for a in answers])
    return Interval(value, low, high, hits, len(answers), patients_of(answers))


def scores_of(answers: Sequence[Answer]) -> NDArray[np.float64]:
    return np.array([a.p for a in answers], dtype=np.float64)


def truth_of(answers: Sequence[Answer]) -> NDArray[np.bool_]:
    return np.array([a.positive for a in answers], dtype=bool)


def patients_of(answers: Iterable[Answer]) -> int:
    return count_patients(a.record for a in answers)
