"""From one snapshot to one bundle, and from one bundle to its report. Loads torch."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from inference import bundle as bundles
from inference import exact
from inference.api import Analyzer
from inference.deep_sad import SIZE as DEEP_SAD_SIZE
from inference.deep_sad import DeepSAD
from inference.detector import CervixDetector, DetectorConfig
from inference.fusion import Fusion
from inference.members import FRAME, Member
from inference.preprocess import Pixels
from inference.resnest import CropClassifier, non_regular_logit
from inference.types import CLASSIFIED_KINDS, Box, Kind, Progress
from training import beginnings, calibrate, checks, deep_sad, detector, files, parallel, quality, refit, resnest
from training.beginnings import Beginnings
from training.config import PARTS, Preset, ResNeStRecipe, trains
from training.crops import Crops, find_boxes, read_crops, read_frames, read_wide_frames
from training.engine import Reporter
from training.evaluation import evaluate
from training.manifest import Record, Snapshot, count_patients, read_snapshot
from training.methods import begin_anew, recipes_of
from training.metrics import auroc
from training.types import TrainConfig, TrainingRefused

__all__ = ["evaluate", "train"]

BUNDLE = "bundle"
LICENCE_NOTE = (
    "Research use only. The weights were trained on pictures of which most carry no open licence (see MODEL_CARD.md); "
    "no picture is part of the bundle."
)
WEIGHTS = {
    "reading": 0.2, "detector": 40.0, "crops": 4.0, "resnest": 12.0, "autoencoder": 1.5, "deep_sad": 3.0, "calibration": 1.0,
    "quality": 8.0,
}  # fmt: skip
"""How long the stages take, compared with one another; those that are left out of a run are left out of its progress."""


def train(
    config: TrainConfig, snapshot: Path, out: Path, *, report: Callable[[Progress], None], cancelled: Callable[[], bool],
    recipes: Preset | None = None,
) -> Path:  # fmt: skip
    """Train a complete bundle on a snapshot folder and return its folder, `out/bundle`.

    A killed run continues from the checkpoints in `out` and ends with the weights it would have had. Raises TrainingRefused for data or
    settings that cannot be trained on, BundleError for a broken start bundle, Cancelled when asked to stop.
    `recipes` replaces those of the preset.
    """
    torch.set_num_threads(config.threads)
    exact.on(config.device)
    known, data = recipes_of(config), read_snapshot(snapshot)
    preset = known if recipes is None else recipes
    checks.before(data, config.parts)
    checks.settings(config, preset)
    begun = beginnings.of_run(config, preset)
    checks.networks(config, preset, begun)
    claim(out, config, data, preset)
    target = out / BUNDLE
    if target.is_dir():
        bundles.verify(target)
        return target
    reporter = Reporter(report, cancelled, _stages(config, preset, begun))
    for line in (*begun.as_lines(), f"{len(data.records)} pictures of {count_patients(data.records)} patients"):
        reporter.at("reading", 0.0, line)
    run = _Run(config, preset, data, out, reporter, begun)
    return run.to_bundle(target)


def _stages(config: TrainConfig, preset: Preset, begun: Beginnings) -> dict[str, float]:
    left_out = {part for part in PARTS if part not in config.parts}
    if "deep_sad" in begun.states or not preset.deep_sad.ae_init:
        left_out.add("autoencoder")
    return {name: weight for name, weight in WEIGHTS.items() if name not in left_out}


def claim(out: Path, config: TrainConfig, data: Snapshot, preset: Preset) -> None:
    """Mark `out` as this run's, or refuse when it holds another run's checkpoints."""
    mine = json.loads(json.dumps({**asdict(config), "snapshot": data.hash, "recipes": trains(asdict(preset)), "anew": begin_anew(config)}))
    # Threads and the device change the speed and the last digits, not what is trained; what methods changed stands in the recipes
    for name in ("threads", "device", "name", "methods"):
        mine.pop(name)
    # Runs of before there was a choice of these have checkpoints too
    if config.weights_from is None:
        mine.pop("weights_from")
    if config.fresh or not (config.start or config.weights_from) or not mine["anew"]:
        mine.pop("anew")
    mark = out / "run.json"
    out.mkdir(parents=True, exist_ok=True)
    theirs = json.loads(mark.read_text(encoding="utf-8")) if mark.exists() else mine
    if {**theirs, "recipes": trains(theirs["recipes"])} != mine:
        raise TrainingRefused(f"{out.name} holds the checkpoints of another run (other data or settings). Choose an empty folder.")
    if parallel.leads():
        files.write_text(mark, json.dumps(mine, indent=1))
    parallel.barrier()


@dataclass(slots=True)
class _Run:
    config: TrainConfig
    preset: Preset
    data: Snapshot
    out: Path
    reporter: Reporter
    begun: Beginnings

    def to_bundle(self, target: Path) -> Path:
        figures: dict[str, Any] = {}
        finder, figures["detector"] = self._detector()
        train_set = classified(self.data.split("train"))
        held = classified(self.data.split("validation"))
        tuning = [record for record in held + classified(self.data.split("calibration")) if record.measurable]
        size = self._known("resnest").get("size", self.preset.resnest.size)
        everything = [*train_set, *held, *tuning]
        boxes = self._boxes(finder, everything)
        crops = read_crops(everything, boxes, size, cancelled=self.reporter.cancelled)
        rows = np.cumsum([0, len(train_set), len(held), len(tuning)])
        in_train, in_held, in_tuning = (slice(int(a), int(b)) for a, b in itertools.pairwise(rows))
        sorter, frames, figures["resnest"] = self._resnest(
            everything, boxes, crops, (in_train, in_held), (targets_of(train_set), targets_of(held))
        )
        measure, figures["deep_sad"] = self._deep_sad(crops, in_train, train_set)
        logits = resnest.logits_of(sorter, crops.resnest[in_tuning], frames[in_tuning] if frames is not None else None)
        fusion, figures["calibration"] = self._calibrate(logits, measure, crops, in_train, in_tuning, tuning)
        architectures = {"detector": finder.config.as_json(), "resnest": sorter.config.as_json(), "deep_sad": {"size": DEEP_SAD_SIZE}}
        about = self._about(architectures, fusion, figures)
        about["quality"] = self._quality(Analyzer(about, "", (finder, sorter, measure), self.config.device))
        nets: dict[str, nn.Module] = {"detector": finder, "resnest": sorter, "deep_sad": measure}
        made = refit.fit(
            about, (finder, sorter, measure), self.data, device=self.config.device, seed=self.config.seed, cancelled=self.reporter.cancelled
        )
        about = {**about, **made.about, "metrics": {**about["metrics"], "refit": made.figures}}
        if parallel.leads():
            bundles.write(target, about, {name: net.state_dict() for name, net in nets.items()}, arrays=made.arrays)
        parallel.barrier()
        self.reporter.at("quality", 1.0, "bundle written")
        return target

    def _known(self, part: str) -> Mapping[str, Any]:
        """The architecture of a part that a bundle gives weights to; empty for one that begins anew."""
        return self.begun.architectures.get(part, {})

    def _detector(self) -> tuple[CervixDetector, dict[str, float]]:
        states, known = self.begun.states.get("detector"), self._known("detector")
        if states is not None and "detector" not in self.config.parts:
            kept = CervixDetector(DetectorConfig(**known))
            kept.load_state_dict(states)
            return kept.to(self.config.device).eval(), {}
        return detector.train(
            self.data.split("train"), self.data.split("validation"), self.preset.detector, start=states, network=known,
            out=self.out, seed=self.config.seed, device=self.config.device, reporter=self.reporter,
        )  # fmt: skip

    def _boxes(self, finder: CervixDetector, records: Sequence[Record]) -> list[Box | None]:
        """Where to crop: at the detector's boxes, as inference will; training pictures at the true box where it is known."""
        self.reporter.at("crops", 0.0, "finding and cropping the cervix")
        unknown = [record for record in records if record.split != "train" or record.box is None]
        boxes = find_boxes(finder, unknown, self.config.device, cancelled=self.reporter.cancelled)
        found = {id(record): box for record, box in zip(unknown, boxes, strict=True)}
        self.reporter.at("crops", 0.7, "cropping the cervix")
        return [found.get(id(record), record.box) for record in records]

    def _resnest(
        self, records: Sequence[Record], boxes: Sequence[Box | None], crops: Crops, rows: tuple[slice, slice],
        targets: tuple[NDArray[np.int64], NDArray[np.int64]],
    ) -> tuple[CropClassifier, Pixels | None, dict[str, float]]:  # fmt: skip
        """The classifier, every network of it by itself on what it sees; and all frames, where it asks for them."""
        in_train, in_held = rows
        known = self._known("resnest")
        members = resnest.members_of(known, self.preset.resnest if "resnest" in self.config.parts else ResNeStRecipe())
        model = CropClassifier(resnest.config_of([member for member, _ in members]))
        start, side = self.begun.states.get("resnest"), model.config.frame_size
        frames: Pixels | None = None
        if "resnest" not in self.config.parts:
            model.load_state_dict(start or {})
        else:
            trained = []
            for number, (member, weights) in enumerate(members):
                large, shown = self._shown(member, records, boxes, crops)
                frames = shown if member.view == FRAME and member.size == side else frames
                one, _ = resnest.train(
                    large[in_train], targets[0], shown[in_held], targets[1],
                    replace(self.preset.resnest, backbone=member.backbone, size=member.size, weights=weights, more="", more_weights=""),
                    start=resnest.own_of(start, number) if start else None, out=self.out / f"member-{number}" if number else self.out,
                    seed=self.config.seed + number, device=self.config.device, reporter=self.reporter.part_of(number, len(members)),
                    of_frames=member.view == FRAME,
                )  # fmt: skip
                trained.append(one.state_dict())
            model.load_state_dict(resnest.together(trained))
            round_as_saved(model)
        model.to(self.config.device).eval()
        if side and frames is None:
            frames = read_frames(records, side, cancelled=self.reporter.cancelled)
        return model, frames, resnest.figures_on(model, crops.resnest[in_held], targets[1], frames[in_held] if frames is not None else None)

    def _shown(self, member: Member, records: Sequence[Record], boxes: Sequence[Box | None], crops: Crops) -> tuple[Pixels, Pixels]:
        """What a network sees of each record: with room for augmentation, and as inference shows it."""
        if member.view == FRAME:
            shown, large = read_wide_frames(records, member.size, cancelled=self.reporter.cancelled)
            return large, shown
        if member.size != crops.resnest.shape[1]:
            crops = read_crops(records, boxes, member.size, cancelled=self.reporter.cancelled)
        return crops.wide, crops.resnest

    def _deep_sad(self, crops: Crops, in_train: slice, train_set: Sequence[Record]) -> tuple[DeepSAD, dict[str, float]]:
        if "deep_sad" not in self.config.parts:
            model = DeepSAD()
            model.load_state_dict(self.begun.states["deep_sad"])
            return model.to(self.config.device).eval(), {}
        targets = targets_of(train_set)
        labels = np.array([deep_sad.label_of(int(t), expert=r.measurable) for t, r in zip(targets, train_set, strict=True)])
        material = deep_sad.Material(crops.wide_small[in_train], targets, labels, crops.deep_sad[in_train])
        model, figures = deep_sad.train(
            material, self.preset.deep_sad, start=self.begun.states.get("deep_sad"), out=self.out, seed=self.config.seed,
            device=self.config.device, reporter=self.reporter,
        )  # fmt: skip
        round_as_saved(model)
        return model, figures

    def _calibrate(
        self, said: Tensor, measure: DeepSAD, crops: Crops, in_train: slice, in_tuning: slice, tuning: Sequence[Record]
    ) -> tuple[Fusion, dict[str, float]]:
        self.reporter.at("calibration", 0.0, f"calibrating on {len(tuning)} pictures")
        logits = non_regular_logit(said).double().numpy()
        distances = deep_sad.distances_of(measure, crops.deep_sad[in_tuning])
        positive = targets_of(tuning) > 0
        figures = {
            "resnest_auroc": auroc(logits, positive), "deep_sad_auroc": auroc(distances, positive),
            "images": float(len(tuning)), "patients": float(count_patients(tuning)),
        }  # fmt: skip
        checks.healthy(logits, distances, positive, self.preset)
        fusion = calibrate.fit(logits, distances, positive, deep_sad.distances_of(measure, crops.deep_sad[in_train]))
        return fusion, figures

    def _quality(self, analyzer: Analyzer) -> dict[str, Any]:
        self.reporter.at("quality", 0.0, "looking at clean, spoilt and drawn pictures")
        return quality.fit(analyzer, self.data, self.preset.quality, seed=self.config.seed, reporter=self.reporter).as_json()

    def _about(self, architectures: dict[str, Any], fusion: Fusion, figures: dict[str, Any]) -> dict[str, Any]:
        before = list(self.begun.learned)
        sites = sorted({record.site for record in self.data.records if record.split != "test"} | set(before))
        return {
            "name": self.config.name, "created": datetime.now(UTC).isoformat(timespec="seconds"), "code_version": bundles.CODE_VERSION,
            "snapshot_hash": self.data.hash, "snapshot_name": self.data.name, "preset": self.config.preset,
            "trained_parts": list(self.config.parts), "start": self.begun.start, "seed": self.config.seed,
            "weights_from": self.begun.weights_from, "methods": list(self.config.methods),
            "begins": dict(self.begun.said), "recipes": self._recipes(),
            "classes": [kind.value for kind in CLASSIFIED_KINDS], "parts": architectures,
            "fusion": fusion.as_json(), "metrics": {"validation": _finite(figures)}, "sources": sites, "start_sources": before,
            "licence_note": LICENCE_NOTE,
        }  # fmt: skip

    def _recipes(self) -> dict[str, Any]:
        """All numbers of the recipes and the networks that were trained; of files their names, as where they lay is nobody's business."""
        recipes = asdict(self.preset)
        for part in set(self.config.parts) & set(self.begun.architectures):
            recipes[part].update(beginnings.network_of(part, self._known(part)))
        for part in ("detector", "resnest"):
            recipes[part]["weights"] = Path(recipes[part]["weights"]).name
        further = recipes["resnest"]["more_weights"].split(",")
        recipes["resnest"]["more_weights"] = ",".join(Path(one.strip()).name for one in further)
        return recipes


def classified(records: Sequence[Record]) -> list[Record]:
    """Those of the three kinds that the classifiers know."""
    return [record for record in records if record.kind in CLASSIFIED_KINDS]


def targets_of(records: Sequence[Record]) -> NDArray[np.int64]:
    """Indices into CLASSIFIED_KINDS."""
    order: dict[Kind, int] = {kind: index for index, kind in enumerate(CLASSIFIED_KINDS)}
    return np.array([order[record.kind] for record in records], dtype=np.int64)


def round_as_saved(model: nn.Module) -> None:
    """Give the weights the precision they will have in the bundle, so that what is calibrated is what ships."""
    saved = bundles.halved(model.state_dict())
    model.load_state_dict({name: t.float() if t.is_floating_point() else t for name, t in saved.items()})


def _finite(figures: dict[str, Any]) -> dict[str, Any]:
    """JSON has no NaN."""
    return {k: _finite(v) if isinstance(v, dict) else (v if v == v else None) for k, v in figures.items()}
