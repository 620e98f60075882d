"""One bundle, opened: from pictures to Analyses, in batches. Loads torch."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from timm.models import FeatureHookNet
from torch import Tensor

from inference import bundle as bundles
from inference import context, exact, novelty, quality
from inference import fusion as fusing
from inference.deep_sad import SIZE as DEEP_SAD_SIZE
from inference.deep_sad import DeepSAD
from inference.detector import OTHERS_SCORE, CervixDetector, DetectorConfig, state_of, to_file_pixels
from inference.preprocess import DecodeError, Picture, Pixels, crop_to, decode, letterbox, region_of
from inference.resnest import CropClassifier, ResNeStConfig, non_regular_logit
from inference.threads import use as use_threads
from inference.types import CLASSIFIED_KINDS, Analysis, Box, DetectorState, Route, Unreadable

BATCH = 16
DECODERS = 2

_opened: dict[tuple[str, str, str], Analyzer] = {}
_opening = threading.Lock()


def analyse(
    paths: Sequence[Path], bundle: Path, *, device: str = "cpu", batch: int = BATCH, threads: int | None = None
) -> list[Analysis | Unreadable]:
    """Analyse pictures with one bundle, in order; an unreadable file gives Unreadable and stops no other.

    The opened bundle is kept for the life of the process, keyed by path, hash and device. `threads`: of torch, for what this thread
    asks; None leaves them as they are. Raises BundleError.
    """
    if threads is not None:
        use_threads(threads)
    return list(iterate(paths, bundle, device=device, batch=batch))


Answers = Generator[Analysis | Unreadable, None, None]


def iterate(paths: Sequence[Path], bundle: Path, *, device: str = "cpu", batch: int = BATCH) -> Answers:
    """As `analyse`, but giving answers in order as batches are done. Work that was begun ends first where the caller stops early."""
    analyzer = opened(bundle, device)
    return (side_by_side if analyzer.device.type == "cpu" else decoded_ahead)(analyzer, paths, batch)


def side_by_side(analyzer: Analyzer, paths: Sequence[Path], batch: int) -> Answers:
    """On processors: each worker decodes and judges batches of its own on its share of torch's threads. Threads that share a batch wait for
    one another after every layer, and the networks wait for a decoder. At most two batches of pictures are open at once.
    """
    threads = torch.get_num_threads()
    workers = max(1, min(threads, 2 * batch, len(paths)))
    size = max(1, min(batch, 2 * batch // workers, -(-len(paths) // workers)))
    parts = [paths[first : first + size] for first in range(0, len(paths), size)]
    workers = max(1, min(workers, len(parts)))
    groups = iter(parts)

    def work(group: Sequence[Path]) -> list[Analysis | Unreadable]:
        return _answers(analyzer, [_decode(path) for path in group], size)

    with ThreadPoolExecutor(workers, initializer=use_threads, initargs=(max(1, threads // workers),)) as pool:
        waiting = deque(pool.submit(work, group) for group in islice(groups, 2 * workers))
        try:
            while waiting:
                done = waiting.popleft().result()
                waiting.extend(pool.submit(work, group) for group in islice(groups, 1))
                yield from done
        finally:
            for future in waiting:
                future.cancel()
            # Threads that ask torch their first question from here on start with what was set last
            use_threads(threads)


def decoded_ahead(analyzer: Analyzer, paths: Sequence[Path], batch: int) -> Answers:
    """On a device of its own: the next batch is decoded while the networks run."""
    groups = [paths[first : first + batch] for first in range(0, len(paths), batch)]
    with ThreadPoolExecutor(DECODERS) as pool:
        waiting = [pool.submit(_decode, path) for path in (groups[0] if groups else ())]
        for number in range(len(groups)):
            read = [future.result() for future in waiting]
            following = groups[number + 1] if number + 1 < len(groups) else ()
            waiting = [pool.submit(_decode, path) for path in following]
            yield from _answers(analyzer, read, batch)


def _answers(analyzer: Analyzer, read: Sequence[Picture | Unreadable], batch: int) -> list[Analysis | Unreadable]:
    answers = iter(analyzer.analyse([one for one in read if isinstance(one, Picture)], batch=batch))
    return [next(answers) if isinstance(one, Picture) else one for one in read]


def _decode(path: Path) -> Picture | Unreadable:
    try:
        return decode(path)
    except DecodeError as error:
        return Unreadable(code=error.code, message=str(error))


def opened(bundle: Path, device: str = "cpu") -> Analyzer:
    """The analyzer of a bundle, opened at most once in this process as long as its bundle.json stays the same."""
    _, digest = bundles.read_manifest(bundle)
    key = (str(bundle.resolve()), digest, device)
    with _opening:
        if key not in _opened:
            _opened[key] = Analyzer.open(bundle, device)
    return _opened[key]


@dataclass(frozen=True, slots=True)
class Found:
    """What the detector says of one picture, in pixels of the upright file; `box` is used for the crop only when the state is FOUND."""

    state: DetectorState
    box: Box | None
    others: tuple[Box, ...]

    @property
    def crop(self) -> Box | None:
        return self.box if self.state is DetectorState.FOUND else None


class Analyzer:
    """An opened bundle. The same picture gets the same answer whatever else is in its batch (|dp| < 1e-3), on any device.

    Several threads may ask at once.
    """

    def __init__(
        self, about: dict[str, Any], digest: str, nets: tuple[CervixDetector, CropClassifier, DeepSAD], device: str,
        known: novelty.Novelty | None = None,
    ) -> None:  # fmt: skip
        self.about, self.hash, self.device = about, digest, torch.device(device)
        exact.on(device)
        self.detector, self.resnest, self.deep_sad = nets
        for net in nets:
            net.to(self.device).eval()
        self.fusion, self.known = fusing.Fusion.from_json(about["fusion"]), known
        self.judge = quality.Judge.from_json(about["quality"]) if "quality" in about else None
        self.textured = self.judge is not None and self.judge.by_texture
        # Of some backbones (xception, pit) timm takes the features by hooks, into one place for all threads
        hooked = any(isinstance(module, FeatureHookNet) for module in self.detector.modules())
        self._detecting: AbstractContextManager[object] = threading.Lock() if hooked else nullcontext()

    @classmethod
    def open(cls, path: Path, device: str = "cpu") -> Analyzer:
        """Verify and load a bundle. Raises BundleError, also when the weights do not fit the architecture or there is no such device."""
        if device.startswith("cuda") and not torch.cuda.is_available():
            raise bundles.BundleError("There is no CUDA device here; use --device cpu.")
        about, digest = bundles.verify(path)
        try:
            nets = build(about["parts"])
            for part, net in zip(bundles.PARTS, nets, strict=True):
                net.load_state_dict(bundles.load_tensors(path, part))
            known = novelty.load(path, about)
        except (RuntimeError, TypeError, KeyError) as error:
            raise bundles.BundleError(f"{path.name}: the weights do not fit what bundle.json says of them ({error}).") from error
        return cls(about, digest, nets, device, known)

    def analyse(self, pictures: Sequence[Picture], *, batch: int = BATCH) -> list[Analysis]:
        """Analyses of decoded pictures, in order."""
        done: list[Analysis] = []
        for first in range(0, len(pictures), batch):
            done += self._batch(pictures[first : first + batch])
        return done

    @torch.inference_mode()
    def find(self, pictures: Sequence[Picture]) -> list[Found]:
        """The detector alone."""
        squares = [letterbox(picture, self.detector.config.size) for picture in pictures]
        with self._detecting:
            answers = self.detector.detect(self.tensor([pixels for pixels, _ in squares]))
        return [
            _found([to_file_pixels(box, factor, picture.width, picture.height) for box in boxes])
            for picture, boxes, (_, factor) in zip(pictures, answers, squares, strict=True)
        ]

    @torch.inference_mode()
    def _batch(self, pictures: Sequence[Picture]) -> list[Analysis]:
        if not pictures:
            return []
        found = self.find(pictures)
        pairs = list(zip(pictures, found, strict=True))
        crops = self.tensor([crop_to(picture, one.crop, self.resnest.config.size) for picture, one in pairs])
        logits, embeddings, places = self.resnest.with_places(crops, self.frames(pictures))
        heat = torch.sigmoid(non_regular_logit(places)).tolist() if places is not None else [[]] * len(pairs)
        distances = self.deep_sad(self.tensor([crop_to(picture, one.crop, DEEP_SAD_SIZE) for picture, one in pairs]))
        squares = [crop_to(picture, one.crop, quality.SIDE) for picture, one in pairs]
        textures = self.resnest.texture(self.tensor(squares)).tolist() if self.textured else [[]] * len(pairs)
        rows = zip(
            pairs,
            non_regular_logit(logits).tolist(),
            torch.softmax(logits, 1).tolist(),
            distances.tolist(),
            embeddings.tolist(),
            heat,
            squares,
            textures,
            strict=True,
        )
        return [self._analysis(picture, one, *numbers) for (picture, one), *numbers in rows]

    def _analysis(
        self, picture: Picture, found: Found, logit: float, shares: list[float], distance: float, embedding: list[float],
        heat: list[list[float]], square: Pixels, texture: list[float],
    ) -> Analysis:  # fmt: skip
        probabilities = {kind.value: share for kind, share in zip(CLASSIFIED_KINDS, shares, strict=True)}
        score = found.box.score if found.box else 0.0
        neighbours = float(self.known.distances(np.array([embedding]))[0]) if self.known else None
        ood = self.known.rank(neighbours) if self.known and neighbours is not None else None
        p = self.fusion.probability(logit, distance, neighbours=neighbours or 0.0, detector=score)
        route, reasons = fusing.route(self.fusion, p, logit, distance, found.state, ood=ood)
        measures = {**quality.measure(square), quality.NATIVE: _native(picture, found.crop)}
        kind = fusing.likeliest(fusing.fused_probabilities(p, probabilities))
        if self.judge:
            measures = self.judge.scored(measures, quality.Seen(score, distance, embedding, texture))
            flaws = quality.findings(measures, self.judge.limits)
            kind = quality.kind_of(flaws, kind)
            # Never sorted out by a machine alone: people see every picture that has a flaw
            route, reasons = (Route.REVIEW, (*flaws, *reasons)) if flaws else (route, reasons)
        return Analysis(
            bundle_hash=self.hash, width=picture.width, height=picture.height, detector_state=found.state, box=found.box,
            other_boxes=found.others, probabilities=probabilities, p_non_regular=p,
            kind=kind, deep_sad_distance=distance,
            deep_sad_rank=self.fusion.rank(distance), embedding=tuple(embedding),
            quality=measures, route=route, reasons=reasons, logit=logit, neighbours=neighbours, ood=ood,
            colour=colours(picture, found.crop), region=region_of(picture, found.crop), heat=tuple(tuple(row) for row in heat),
            look=self.known.look(embedding) if self.known else None, texture=tuple(texture),
        )  # fmt: skip

    def frames(self, pictures: Sequence[Picture]) -> Tensor | None:
        """The whole frames (N, 3, S, S) for the classifier; None where it sees none."""
        side = self.resnest.config.frame_size
        return self.tensor([crop_to(picture, None, side) for picture in pictures]) if side else None

    def tensor(self, pixels: Sequence[Pixels]) -> Tensor:
        """Pictures of one size (N, S, S, 3) of bytes as the networks take them: (N, 3, S, S), RGB in [0, 1], on their device."""
        return torch.from_numpy(np.stack(pixels)).to(self.device).permute(0, 3, 1, 2).float().div_(255.0)


def _native(picture: Picture, crop: Box | None) -> float:
    x0, y0, x1, y1 = region_of(picture, crop)
    return quality.native(x1 - x0, y1 - y0)


def colours(picture: Picture, crop: Box | None) -> tuple[float, ...]:
    """What images of one exam are compared by: the colours of the crop and of the whole frame."""
    return context.describe(crop_to(picture, crop, context.SIDE), crop_to(picture, None, context.SIDE))


def build(parts: dict[str, Any]) -> tuple[CervixDetector, CropClassifier, DeepSAD]:
    """The three networks of bundle.json's `parts`, with random weights."""
    return CervixDetector(DetectorConfig(**parts["detector"])), CropClassifier(ResNeStConfig.from_json(parts["resnest"])), DeepSAD()


def _found(boxes: list[Box]) -> Found:
    best = boxes[0] if boxes else None
    return Found(state_of(boxes), best, tuple(box for box in boxes[1:] if box.score >= OTHERS_SCORE))
