"""The words that cross the door between the portal and the models: frozen, standard library only.

Everything here is plain data, so that the web process and pure decisions can name it without loading torch.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum


class Kind(StrEnum):
    """What an image is. `cannot_tell` belongs to a Read alone and is not a kind."""

    REGULAR = "regular"
    GREEN_FILTER = "green_filter"
    LUGOL_IODINE = "lugol_iodine"
    NOT_CERVIX = "not_cervix"
    POST_TREATMENT = "post_treatment"
    UNUSABLE = "unusable"


CLASSIFIED_KINDS = (Kind.REGULAR, Kind.GREEN_FILTER, Kind.LUGOL_IODINE)
"""The kinds that the classifiers are trained on and tested on, in the order of their outputs."""

NON_REGULAR_KINDS = (Kind.GREEN_FILTER, Kind.LUGOL_IODINE)
"""The positive class of the paper."""


class DetectorState(StrEnum):
    """FOUND: score >= 0.5. LOW: a box below that. NONE: no box of score >= 0.05."""

    FOUND = "found"
    LOW = "low"
    NONE = "none"


class Route(StrEnum):
    """Where an image goes after its analysis."""

    AUTO_REGULAR = "auto_regular"
    AUTO_NON_REGULAR = "auto_non_regular"
    REVIEW = "review"


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle in pixels of the upright image, x1 and y1 exclusive; `score` in [0, 1]."""

    x0: float
    y0: float
    x1: float
    y1: float
    score: float = 1.0


@dataclass(frozen=True, slots=True)
class Analysis:
    """What one bundle says of one image alone. Same bundle and same file: same Analysis."""

    bundle_hash: str
    width: int
    height: int
    detector_state: DetectorState
    box: Box | None
    other_boxes: tuple[Box, ...]
    probabilities: dict[str, float]
    """ResNeSt's share for each of CLASSIFIED_KINDS; sums to 1."""
    p_non_regular: float
    """Calibrated probability of green filter or Lugol's iodine, in [0, 1]."""
    kind: Kind
    """The likeliest of CLASSIFIED_KINDS by the fused, calibrated probability; `not_cervix` or `unusable` where quality findings say so."""
    deep_sad_distance: float
    deep_sad_rank: float
    """Share of the training images whose distance is smaller, in [0, 1]."""
    embedding: tuple[float, ...]
    quality: dict[str, float]
    """The measures of `inference.quality.measure`, and `blur` and `not_a_cervix` in [0, 1] where the bundle judges quality."""
    route: Route
    """The bundle's own route; a site's rule may only make it stricter."""
    reasons: tuple[str, ...]
    """Codes of why the route is REVIEW, e.g. `detector_low`, `between_thresholds`, `classifiers_disagree`, `beyond_training_distances`;
    quality findings first: `not_a_cervix`, `too_dark`, `too_bright`, `blurred`, `glare`."""
    logit: float = 0.0
    """The classifier's own log odds of non-regular, uncalibrated."""
    neighbours: float | None = None
    """Mean distance of the embedding to its nearest training embeddings; None where the bundle keeps none of them."""
    ood: float | None = None
    """Out of distribution: share of new images from the training's sources that lie nearer to it, in [0, 1]; None as above."""
    colour: tuple[float, ...] = ()
    """Colours of crop and frame (`inference.context.describe`), by which images of one exam are compared."""
    region: tuple[float, float, float, float] | None = None
    """What the classifiers were shown: x0, y0, x1, y1 in pixels of the upright file."""
    heat: tuple[tuple[float, ...], ...] = ()
    """Of each place of the region, from the top left, row by row: the classifier's own share of non-regular, uncalibrated, in [0, 1].
    Empty where the backbone's answer is no average over places."""
    look: int | None = None
    """Which of 64 coarse looks it has (`inference.novelty.Novelty.look`): pictures of one look resemble one another. None as `ood`."""
    texture: tuple[float, ...] = ()
    """How finely the crop is drawn (`inference.resnest.CropClassifier.texture`), from which `quality` has its blur. For fitting; the
    portal keeps none of it. Empty where the bundle does not ask for it."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """What of an Analysis counts beside the exam's other images; `device` as its sender named it."""

    probabilities: dict[str, float]
    p_non_regular: float
    kind: Kind
    deep_sad_distance: float
    colour: tuple[float, ...]
    route: Route
    reasons: tuple[str, ...]
    device: str = ""


@dataclass(frozen=True, slots=True)
class Assessed:
    """An Analysis seen with its exam, fused and routed. Same bundle, file and siblings: same Assessed, in whatever order they came."""

    p_non_regular: float
    probabilities: dict[str, float]
    """Over CLASSIFIED_KINDS, fused and calibrated; agrees with `p_non_regular` and `kind`."""
    kind: Kind
    route: Route
    reasons: tuple[str, ...]
    siblings: int
    """How many other images it was seen beside; 0 where there is none, or where the bundle does not compare for this device."""
    p_alone: float
    kind_alone: Kind

    @property
    def overturned(self) -> bool:
        """Whether the other images turned regular into non-regular or back."""
        return (self.kind is Kind.REGULAR) != (self.kind_alone is Kind.REGULAR)


@dataclass(frozen=True, slots=True)
class Unreadable:
    """The outcome for a file that could not be analysed; `message` says what to do."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class BundleInfo:
    """What `bundle.json` says, read without torch. `hash` is the sha256 over bundle.json, which names every weight file's sha256."""

    path: str
    hash: str
    name: str
    created: str
    code_version: str
    snapshot_hash: str
    thresholds: dict[str, float]
    """`t_lo`, `t_hi`."""
    metrics: dict[str, object]
    sources: tuple[str, ...]
    licence_note: str


UNCALIBRATED = "no_calibration_for_device"
"""The reason for which an image of a device is read on which a bundle was not calibrated."""


@dataclass(frozen=True, slots=True)
class Progress:
    """One line of a training run's progress. `fraction` of the whole run in [0, 1]; `seconds_left` is None until it can be told."""

    stage: str
    fraction: float
    seconds_left: float | None
    message: str
    figures: dict[str, float] = field(default_factory=dict)
