"""What is fitted on top of trained networks: novelty, fusion and calibration, context. The end of every run; alone by `training refit`."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence, Set
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from inference import assessment
from inference import bundle as bundles
from inference import context as comparing
from inference.api import Analyzer
from inference.deep_sad import SIZE as DEEP_SAD_SIZE
from inference.fusion import Fusion, fused_probabilities, likeliest
from inference.novelty import PART as NOVELTY
from inference.preprocess import Picture, Pixels, crop_to, region_of
from inference.resnest import non_regular_logit
from inference.types import CLASSIFIED_KINDS, Analysis, Box, DetectorState, Evidence, Kind
from training import calibrate, context, exams, novelty, own_card, own_figures
from training.answers import corners
from training.augment import WIDE_MARGIN
from training.context import Table
from training.data import open_records
from training.manifest import Record, Snapshot, count_patients, read_snapshot
from training.metrics import box_iou
from training.types import TrainingRefused

MOST_TRAINING = 2000
"""So many training images say what is near and what is usual; more would only take longer."""
EXAMS, PER_PICTURE = 800, 4
"""Made-up exams of held-out regular pictures: no more than the first, and no more for each picture than the second."""
BATCH = 32
Nets = tuple[Any, Any, Any]


@dataclass(frozen=True, slots=True)
class Fitted:
    """Entries of bundle.json and arrays beside its weights; `figures` says on how much it was fitted and what context changed."""

    about: dict[str, Any]
    arrays: dict[str, dict[str, Any]]
    figures: dict[str, Any]


@dataclass(frozen=True, slots=True)
class _Seen:
    """One analysed record; `base` only of those that shots of made-up exams show."""

    record: Record
    said: Analysis
    base: exams.Base | None = None


def refit(bundle: Path, snapshot: Path, out: Path, *, device: str = "cpu", seed: int = 7, name: str = "") -> Path:
    """Fit anew what stands on a bundle's networks, on a snapshot none of whose held-out patients they were trained on; a new bundle folder.

    Raises BundleError for a broken bundle or where `out` exists, TrainingRefused where nothing can be fitted.
    """
    if out.exists():
        raise bundles.BundleError(f"{out} exists already; a bundle is never overwritten.")
    about, digest = bundles.verify(bundle)
    analyzer, data = Analyzer.open(bundle, device), read_snapshot(snapshot)
    nets = (analyzer.detector, analyzer.resnest, analyzer.deep_sad)
    made = fit(about, nets, data, device=device, seed=seed, cancelled=lambda: False)
    kept = {key: value for key, value in about.items() if key not in ("format", "files", NOVELTY, "context", "calibrated_devices")}
    fresh = {
        **kept, **made.about, "name": name or about["name"], "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "refitted_from": digest, "calibration_snapshot_hash": data.hash,
        "metrics": {**about["metrics"], "refit": made.figures},
    }  # fmt: skip
    fitted_on = {record.site for record in data.records if record.split != "test"}
    fresh |= {name: sorted({*about[name], *fitted_on}) for name in ("sources", "start_sources") if name in about}
    tensors = {part: bundles.load_tensors(bundle, part) for part in bundles.PARTS}
    # A card names its bundle's hash, and its figures were of other answers
    bundles.write(out, fresh, tensors, card=own_card.text, arrays=made.arrays)
    return out


def fit(about: dict[str, Any], nets: Nets, data: Snapshot, *, device: str, seed: int, cancelled: Callable[[], bool]) -> Fitted:
    """Fit on validation and calibration patients, whose images people labelled; only what is near is asked of training images.

    about: bundle.json as far as it is known; its `fusion` is not looked at.
    """
    tuning = [r for name in ("validation", "calibration") for r in data.split(name) if r.measurable and r.kind in CLASSIFIED_KINDS]
    positive = np.array([r.kind is not Kind.REGULAR for r in tuning])
    if not positive.any() or positive.all():
        raise TrainingRefused(
            "Validation and calibration hold no regular or no non-regular picture labelled by people: nothing can be fitted."
        )
    analyzer = Analyzer({**about, "fusion": _NEUTRAL.as_json()}, "", nets, device)
    known = [r for r in data.split("train") if r.kind in CLASSIFIED_KINDS]
    some = [known[k] for k in sorted(np.random.default_rng(seed).permutation(len(known))[:MOST_TRAINING].tolist())]
    trained = _see(analyzer, some, cancelled)
    regular = np.flatnonzero(~positive)
    plan = exams.plan(["/".join(tuning[k].patient_key) for k in regular.tolist()], min(EXAMS, PER_PICTURE * len(regular)), seed=seed)
    plan = replace(plan, pictures=regular[plan.pictures])
    held = _see(analyzer, tuning, cancelled, keep=set(plan.pictures.tolist()))
    kept = novelty.fit(_embeddings(trained), _embeddings(held), seed=seed)
    distances = np.array([one.said.deep_sad_distance for one in trained])
    invented = _make_up(analyzer, held, plan, seed)
    near, far = kept.distances(_embeddings(held)), kept.distances(_embeddings(invented))
    fusion = calibrate.fit_parts(_parts(held, near), positive, distances, calibrate.Elsewhere(_parts(invented, far), plan.kinds > 0))
    real, made_up = (_table(_judged(seen, fusion, away), [one.record for one in seen]) for seen, away in ((held, near), (invented, far)))
    learned, figures = context.fit(real, made_up)
    own = own_figures.measure(_said(held, fusion, near))
    counts = {"images": float(len(tuning)), "patients": float(count_patients(tuning)), "non_regular": float(positive.sum())}
    return Fitted(
        about={
            "fusion": fusion.as_json(), "context": learned.as_json(), NOVELTY: {"quantiles": list(kept.quantiles)},
            "calibrated_devices": calibrate.devices_of([r.device for r in tuning], positive),
        },
        arrays={NOVELTY: kept.tensors()},
        figures={"calibration": counts, "context": figures, own_figures.NAME: {name: asdict(one) for name, one in own.items()}},
    )  # fmt: skip


_NEUTRAL = Fusion(
    intercept=0.0, w_logit=1.0, w_distance=0.0, t_lo=0.1, t_hi=0.9, deep_sad_threshold=1.0, beyond=1e12, quantiles=(1.0,)
)  # fmt: skip


def _see(
    analyzer: Analyzer, records: Sequence[Record], cancelled: Callable[[], bool], *, keep: Set[int] = frozenset()
) -> list[_Seen]:  # fmt: skip
    """Every record analysed; of those whose numbers are to be kept also what shots are made of."""
    seen: list[_Seen] = []
    side = _side(analyzer)
    for first in range(0, len(records), BATCH):
        group = records[first : first + BATCH]
        pictures = open_records(group, lambda _, picture: picture, cancelled=cancelled)
        for record, picture, said in zip(group, pictures, analyzer.analyse(pictures, batch=BATCH), strict=True):
            seen.append(_Seen(record, said, _base(picture, said, side) if len(seen) in keep else None))
    return seen


def _side(analyzer: Analyzer) -> int:
    """Of the shots, in pixels: what the networks and the comparison see is made smaller, never larger."""
    return max(analyzer.resnest.config.size, analyzer.resnest.config.frame_size, comparing.SIDE)


def _base(picture: Picture, said: Analysis, side: int) -> exams.Base:
    box: Box | None = said.box if said.detector_state is DetectorState.FOUND else None
    crop, frame = exams.sides(side)
    place = exams.place_of(region_of(picture, box), region_of(picture, box, WIDE_MARGIN))
    return exams.Base(crop_to(picture, box, crop, margin=WIDE_MARGIN), crop_to(picture, None, frame), place)


def _embeddings(seen: Sequence[_Seen]) -> NDArray[np.float64]:
    return np.array([one.said.embedding for one in seen], dtype=np.float64)


def _parts(seen: Sequence[_Seen], near: NDArray[np.float64]) -> calibrate.Parts:
    return calibrate.Parts(
        logits=np.array([one.said.logit for one in seen]), distances=np.array([one.said.deep_sad_distance for one in seen]),
        neighbours=near, detector=np.array([_score(one.said) for one in seen]),
        sites=exams.texts([one.record.site for one in seen]), patients=exams.texts(["/".join(one.record.patient_key) for one in seen]),
    )  # fmt: skip


def _score(said: Analysis) -> float:
    return said.box.score if said.box else 0.0


def _judged(seen: Sequence[_Seen], fusion: Fusion, near: NDArray[np.float64]) -> list[Evidence]:
    """As the finished bundle will say it."""
    return [_evidence(one.said, fusion, float(distance), one.record.device) for one, distance in zip(seen, near, strict=True)]


def _evidence(said: Analysis, fusion: Fusion, near: float, device: str) -> Evidence:
    p = fusion.probability(said.logit, said.deep_sad_distance, neighbours=near, detector=_score(said))
    kind = likeliest(fused_probabilities(p, said.probabilities))
    return replace(assessment.evidence(said, device=device), p_non_regular=p, kind=kind)


def _said(held: Sequence[_Seen], fusion: Fusion, near: NDArray[np.float64]) -> own_figures.Said:
    judged = _judged(held, fusion, near)
    return own_figures.Said(
        kinds=[one.record.kind for one in held], answers=[one.kind for one in judged],
        p=np.array([one.p_non_regular for one in judged]), logits=np.array([one.said.logit for one in held]),
        distances=np.array([one.said.deep_sad_distance for one in held]), overlaps=np.array([_overlap(one) for one in held]),
        patients=[one.record.patient_key for one in held],
    )  # fmt: skip


def _overlap(one: _Seen) -> float:
    """Of the best box with the one that people drew; NaN where they drew none."""
    if one.record.box is None:
        return math.nan
    return box_iou(corners(one.said.box), corners(one.record.box)) if one.said.box else 0.0


def _table(judged: Sequence[Evidence], records: Sequence[Record]) -> Table:
    return Table(
        signals=np.array([comparing.signals(one) for one in judged]),
        targets=np.array([CLASSIFIED_KINDS.index(r.kind) for r in records], dtype=np.int64),
        exams=exams.texts(["/".join((*r.patient_key, r.exam)) for r in records]),
        patients=exams.texts(["/".join(r.patient_key) for r in records]), devices=exams.texts([r.device for r in records]),
        weights=np.ones(len(records)),
    )  # fmt: skip


@torch.inference_mode()
def _make_up(analyzer: Analyzer, held: Sequence[_Seen], plan: exams.Plan, seed: int) -> list[_Seen]:
    """The shots of the plan as if somebody had sent them; of the detector, what it said of the picture that a shot shows."""
    bases = {number: one.base for number, one in enumerate(held) if one.base is not None}
    shown, said = [held[picture] for picture in plan.pictures.tolist()], []
    for rows, crops, frames in exams.shots(plan, bases, _side(analyzer), batch=BATCH, seed=seed):
        said += _said_of_shots(analyzer, crops, frames, [one.said for one in shown[rows]])
    return [
        _Seen(replace(one.record, kind=CLASSIFIED_KINDS[kind], exam=f"made-up-{exam}", device=""), answer)
        for one, kind, exam, answer in zip(shown, plan.kinds.tolist(), plan.exams.tolist(), said, strict=True)
    ]


def _said_of_shots(analyzer: Analyzer, crops: Pixels, frames: Pixels, originals: Sequence[Analysis]) -> list[Analysis]:
    """Analyses of crops and frames (N, S, S, 3) as such; of the detector, what it said of the original."""
    config = analyzer.resnest.config
    shown = analyzer.tensor(_sized(frames, config.frame_size)) if config.frame_size else None
    logits, embeddings = analyzer.resnest.both(analyzer.tensor(_sized(crops, config.size)), shown)
    distances = analyzer.deep_sad(analyzer.tensor(_sized(crops, DEEP_SAD_SIZE))).tolist()
    odds, shares = non_regular_logit(logits).tolist(), torch.softmax(logits, 1).tolist()
    colours = [
        comparing.describe(crop, frame) for crop, frame in zip(_sized(crops, comparing.SIDE), _sized(frames, comparing.SIDE), strict=True)
    ]
    return [
        replace(
            original, logit=odds[k], deep_sad_distance=distances[k], embedding=tuple(embeddings[k].tolist()), colour=colours[k],
            probabilities={kind.value: share for kind, share in zip(CLASSIFIED_KINDS, shares[k], strict=True)},
        )
        for k, original in enumerate(originals)
    ]  # fmt: skip


def _sized(pixels: Pixels, side: int) -> list[Pixels]:
    if pixels.shape[1] == side:
        return list(pixels)
    return [np.asarray(Image.fromarray(one).resize((side, side), Image.Resampling.BILINEAR)) for one in pixels]
