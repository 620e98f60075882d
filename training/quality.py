"""Fits and measures the quality part of a bundle: two small heads and the limits of `inference.quality`. Loads torch.

Clean pictures of a cervix are set against the same ones spoilt on purpose, and against drawings of anything else. Heads are fitted on
the train split, limits on validation and calibration, figures on the split that is asked for: never a patient on two sides.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from inference import bundle as bundles
from inference.api import Analyzer
from inference.preprocess import DecodeError, Picture, decode
from inference.quality import (
    BLURRED,
    GLARE,
    NOT_A_CERVIX,
    TOO_BRIGHT,
    TOO_DARK,
    Floats,
    Head,
    Judge,
    Limits,
    Seen,
    blur_features,
    content_features,
)  # fmt: skip
from inference.types import CLASSIFIED_KINDS, Analysis, Kind
from training import own_card, scenes
from training.config import QualityRecipe
from training.degrade import FINDING_OF, sensed, spoilt
from training.engine import Reporter
from training.manifest import Record, Snapshot
from training.types import TrainingRefused

CLEAN = "clean"
LONG_SIDE = 800
"""Pictures are reduced to this before they are spoilt: what is measured is smaller still."""
BATCH = 16
PLAIN_C = 1.0
"""Inverse strength of the ridge of the head for blur where a backbone has no texture to give: so few measures need little holding."""
LEAST_LABELLED = 20
"""A site's pictures that people called not a cervix train the head from this many on; fewer are kept to test it."""
LEAST_GROUP = 25
"""A site has a say in the limits from this many clean held-out pictures on."""
BUDGET = {BLURRED: 0.02, GLARE: 0.01, TOO_DARK: 0.005, TOO_BRIGHT: 0.005, NOT_A_CERVIX: 0.01}
"""Share of a site's clean pictures that each finding may flag; together at most one in twenty."""
SPOIL = ("defocus", "shake", "defocus", "too_dark", "shake", "too_bright", "defocus", "glare")
"""The faults in turn; blur is the frequent one and the hard one."""


@dataclass(frozen=True, slots=True)
class Specimen:
    """One picture as the bundle saw it. `fault`: CLEAN, one of FAULTS, or a sort of `scenes` where there is no cervix."""

    record: Record | None
    fault: str
    analysis: Analysis

    @property
    def cervix(self) -> bool:
        return self.record is not None and self.record.kind in CLASSIFIED_KINDS

    @property
    def site(self) -> str:
        return self.record.site if self.record else "drawn"

    def blur_features(self, *, by_size: bool = True, by_texture: bool = True) -> Floats:
        return blur_features(self.analysis.quality, by_size=by_size, texture=self.analysis.texture if by_texture else ())

    @property
    def content_features(self) -> Floats:
        return content_features(self.analysis.quality, seen_of(self.analysis))


def seen_of(analysis: Analysis) -> Seen:
    score = analysis.box.score if analysis.box else 0.0
    return Seen(score, analysis.deep_sad_distance, analysis.embedding, analysis.texture)


# --- pictures ---------------------------------------------------------------------------------------------------------------------


def chosen(records: Sequence[Record], count: int, seed: int) -> list[Record]:
    """At most `count` pictures of a cervix, from every site alike as far as it has them; the same for the same seed."""
    rng = np.random.default_rng(seed)
    sites: dict[str, list[Record]] = {}
    for record in records:
        if record.kind in CLASSIFIED_KINDS:
            sites.setdefault(record.site, []).append(record)
    shuffled = [[sites[site][i] for i in rng.permutation(len(sites[site]))] for site in sorted(sites)]
    dealt = (record for row in itertools.zip_longest(*shuffled) for record in row if record is not None)
    return list(itertools.islice(dealt, count))


def _opened(record: Record) -> Image.Image:
    try:
        image = decode(record.path).image
    except DecodeError as error:
        raise TrainingRefused(f"{record.path.name} ({record.site}) cannot be used for the quality part: {error}") from error
    image.thumbnail((LONG_SIDE, LONG_SIDE), Image.Resampling.BILINEAR, reducing_gap=2.0)
    return image


def _picture(image: Image.Image) -> Picture:
    return Picture(image, image.width, image.height)


Raw = tuple[Record | None, str, Picture]


def clean_and_spoilt(records: Sequence[Record], seed: int, copies: int = 1, *, saved_again: bool = False) -> Iterator[Raw]:
    """Each picture as it is and `copies` times spoilt, by the faults in turn.

    `saved_again`: every second one also clean with the noise and the JPEG that spoilt ones get, so that these do not give blur away.
    """
    turn = itertools.cycle(SPOIL)
    for number, record in enumerate(records):
        image = _opened(record)
        yield record, CLEAN, _picture(image)
        if saved_again and number % 2:
            yield record, CLEAN, _picture(Image.fromarray(sensed(np.asarray(image), np.random.default_rng((seed, number)))))
        for copy in range(copies):
            fault = next(turn)
            rng = np.random.default_rng((seed, number, copy))
            yield record, fault, _picture(Image.fromarray(spoilt(np.asarray(image), fault, rng)))


def drawn(count: int, seed: int) -> Iterator[Raw]:
    for pixels, sort in scenes.draw(np.random.default_rng(seed), count):
        yield None, sort, _picture(Image.fromarray(pixels))


def strips(records: Sequence[Record], *, least: float = 0.25) -> Iterator[Raw]:
    """Real pictures without a cervix: the largest strip beside the box (speculum, walls, drape), where it is `least` of the side wide."""
    for record in records:
        if record.box is None:
            continue
        image, box = decode(record.path), record.box
        w, h = float(image.width), float(image.height)
        beside = ((0.0, 0.0, box.x0, h), (box.x1, 0.0, w, h), (0.0, 0.0, w, box.y0), (0.0, box.y1, w, h))
        best = max(beside, key=lambda c: min(c[2] - c[0], c[3] - c[1]))
        if min(best[2] - best[0], best[3] - best[1]) >= least * min(w, h):
            scale = image.image.width / w
            yield None, "strip", _picture(image.image.crop(tuple(round(v * scale) for v in best)))  # type: ignore[arg-type]


def labelled(records: Sequence[Record]) -> list[Record]:
    """Pictures that people called not a cervix, of sites with LEAST_LABELLED of them."""
    others = [record for record in records if record.kind is Kind.NOT_CERVIX and record.by_people]
    sites = [record.site for record in others]
    return [record for record in others if sites.count(record.site) >= LEAST_LABELLED]


def as_they_are(records: Sequence[Record]) -> Iterator[Raw]:
    for record in records:
        yield record, CLEAN, _picture(_opened(record))


def look(analyzer: Analyzer, pictures: Iterator[Raw], reporter: Reporter | None = None) -> list[Specimen]:
    """Everything the bundle says of the pictures, in order."""
    seen: list[Specimen] = []
    while group := list(itertools.islice(pictures, BATCH)):
        if reporter is not None:
            reporter.step("quality", 0.0, f"looking at clean, spoilt and drawn pictures: {len(seen)} of this sort")
        answers = analyzer.analyse([picture for _, _, picture in group])
        seen += [Specimen(record, fault, answer) for (record, fault, _), answer in zip(group, answers, strict=True)]
    return seen


# --- fitting ----------------------------------------------------------------------------------------------------------------------


def gather(
    analyzer: Analyzer, data: Snapshot, recipe: QualityRecipe, seed: int, reporter: Reporter | None
) -> tuple[list[Specimen], list[Specimen]]:
    """What the heads are fitted on, and what the limits are set on."""
    analyzer.textured = True
    train = data.split("train")
    picked = chosen(train, recipe.images, seed)
    fitted = look(analyzer, clean_and_spoilt(picked, seed + 1, recipe.copies, saved_again=True), reporter)
    fitted += look(analyzer, drawn(recipe.scenes, seed + 2), reporter)
    fitted += look(analyzer, strips(chosen([r for r in train if r.box], recipe.strips, seed + 3)), reporter)
    fitted += look(analyzer, as_they_are(labelled(train)), reporter)
    held = chosen(data.split("validation") + data.split("calibration"), recipe.held, seed + 4)
    kept = look(analyzer, clean_and_spoilt(held, seed + 5, saved_again=True), reporter)
    return fitted, kept + look(analyzer, drawn(recipe.scenes // 2, seed + 6), reporter)


def fit(analyzer: Analyzer, data: Snapshot, recipe: QualityRecipe, *, seed: int, reporter: Reporter | None = None) -> Judge:
    """The quality part for the networks of `analyzer`. Raises TrainingRefused without pictures of a cervix on either side."""
    fitted, kept = gather(analyzer, data, recipe, seed, reporter)
    return judge_of(fitted, kept, recipe)


def judge_of(fitted: Sequence[Specimen], kept: Sequence[Specimen], recipe: QualityRecipe) -> Judge:
    if not any(s.cervix for s in fitted) or not any(s.cervix for s in kept):
        raise TrainingRefused("The quality part needs pictures of a cervix in the train split and in validation or calibration.")
    faces = [s for s in fitted if s.cervix]
    of_blur = [s for s in faces if s.fault in (CLEAN, "glare") or FINDING_OF[s.fault] == BLURRED]
    textured = any(s.analysis.texture for s in faces)
    c = recipe.blur_c if textured else PLAIN_C
    blur = logistic([s.blur_features() for s in of_blur], [s.fault in ("defocus", "shake") for s in of_blur], c)
    content = logistic([s.content_features for s in fitted], [not s.cervix for s in fitted], recipe.content_c)
    return Judge(blur, content, limits_of(blur, content, kept), by_size=True, by_texture=textured)


def logistic(features: Sequence[Sequence[float] | Floats], truth: Sequence[bool], c: float) -> Head:
    """Ridge-penalised logistic regression on standardised features, both classes alike in weight; weights are for the raw features."""
    from sklearn.linear_model import LogisticRegression

    x, y = np.asarray(features, np.float64), np.asarray(truth)
    mean, spread = x.mean(axis=0), x.std(axis=0) + 1e-6
    model = LogisticRegression(C=c, class_weight="balanced", max_iter=2000).fit((x - mean) / spread, y)
    # Rounded as they are stored, so that limits are set on what ships
    weights = tuple(float(f"{w:.6g}") for w in model.coef_[0] / spread)
    return Head(float(model.intercept_[0] - (np.array(weights) * mean).sum()), weights)


def limits_of(blur: Head, content: Head, kept: Sequence[Specimen], *, codes: Sequence[str] = tuple(BUDGET)) -> Limits:
    """From held-out pictures: no site has more clean ones beyond them than BUDGET; half-way to the faults if there is room.

    A finding that is not among `codes` is never made.
    """
    found = {code: _limit(code, np.array([worst(code, s, blur, content) for s in kept]), kept) for code in codes}
    return Limits(
        blurred=squashed(found.get(BLURRED, 60.0)), glare=found.get(GLARE, 1.0), too_dark=float(np.exp(-found.get(TOO_DARK, 60.0))),
        too_bright=found.get(TOO_BRIGHT, 1.0), not_a_cervix=squashed(found.get(NOT_A_CERVIX, 60.0)),
    )  # fmt: skip


def worst(code: str, specimen: Specimen, blur: Head, content: Head) -> float:
    """How strongly a picture has a fault: higher is worse, on a scale on which half-way means something."""
    measures = specimen.analysis.quality
    if code == BLURRED:
        return log_odds(blur.probability(specimen.blur_features()))
    if code == NOT_A_CERVIX:
        return log_odds(content.probability(specimen.content_features))
    if code == TOO_DARK:
        return float(-np.log(measures["light"] + 1e-3))
    return measures["washed"] if code == TOO_BRIGHT else measures["glare_blob"]


def _limit(code: str, scores: Floats, kept: Sequence[Specimen]) -> float:
    clean, faulty = np.array([s.cervix and s.fault == CLEAN for s in kept]), np.array([_has(code, s) for s in kept])
    sites = np.array([s.site for s in kept])
    groups = [clean & (sites == site) for site in np.unique(sites[clean])]
    ends = [
        float(np.quantile(scores[group], 1 - BUDGET[code], method="higher"))
        for group in [clean, *groups]
        if group is clean or group.sum() >= LEAST_GROUP
    ]
    least, most = max(ends), float(np.quantile(scores[faulty], 0.03)) if faulty.any() else max(ends)
    # Above the greatest clean score there is nothing to lose but faults
    return (least + most) / 2 if most > least else float(np.nextafter(least, np.inf))


def _has(code: str, specimen: Specimen) -> bool:
    """Whether a picture was made to have the fault."""
    if code == NOT_A_CERVIX:
        return not specimen.cervix
    return specimen.cervix and FINDING_OF.get(specimen.fault) == code


def log_odds(p: float) -> float:
    """Of a probability, cut at +-20."""
    limited = min(max(p, 1e-9), 1 - 1e-9)
    return float(np.log(limited / (1 - limited)))


def squashed(z: float) -> float:
    return float(1 / (1 + np.exp(-z)))


def add_to(bundle: Path, data: Snapshot, out: Path, recipe: QualityRecipe, *, seed: int, device: str = "cpu") -> str:
    """Write the bundle anew with a quality part fitted on `data` and a card of its own; weights stay as they are. Returns the new hash."""
    if out.exists():
        raise bundles.BundleError(f"{out} exists already; a bundle is never overwritten.")
    judge = fit(Analyzer.open(bundle, device), data, recipe, seed=seed)
    return bundles.amend(bundle, out, {"quality": judge.as_json()}, card=own_card.text)
