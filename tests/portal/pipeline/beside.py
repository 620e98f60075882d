"""A bundle that compares, and pictures of one exam by what is said of them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from inference.context import Context, Weights, describe
from portal.accounts.models import Site
from portal.images.models import Image
from portal.jobs import services as jobs
from portal.ml import Analysis, Kind, Route
from portal.pipeline import runner
from portal.pipeline.handlers import HANDLERS
from portal.registry.models import ModelVersion
from tests.cast import make_image, make_version
from tests.portal.pipeline.conftest import Toy, said

COMPARE = Weights((0.0, 1.0, 0.5, -6.0, 0.0, 0.0, -2.0, 0.0, 0.0), (0.0, 1.0, 0.5, 0.0, -6.0, 0.0, 0.0, -2.0, 0.0))
PINK = np.full((64, 64, 3), (200, 120, 120), dtype=np.uint8)
GREEN = np.full((64, 64, 3), (105, 150, 150), dtype=np.uint8)
RED = np.full((64, 64, 3), (235, 118, 138), dtype=np.uint8)
BROWNISH = np.full((64, 64, 3), (200, 120, 60), dtype=np.uint8)


def comparing(
    state: str = "champion", *, weights: Weights | None = COMPARE, devices: dict[str, Weights | None] | None = None
) -> ModelVersion:
    """A version whose bundle compares the images of every device but those given as None."""
    return make_version(state, context=Context(weights, devices or {}).as_json(), fusion={"t_lo": 0.1, "t_hi": 0.9})


def looks(p: float, pixels: Any = PINK) -> Analysis:
    """What the bundle says of a picture of these colours, alone."""
    route = Route.AUTO_REGULAR if p < 0.1 else Route.AUTO_NON_REGULAR if p > 0.9 else Route.REVIEW
    shares = {"regular": 1 - p, "green_filter": 0.65 * p, "lugol_iodine": 0.35 * p}
    return replace(said(p, route=route), colour=describe(pixels, pixels), probabilities=shares)


PLAIN = looks(0.05)
PALE = looks(0.08)
FAINT = looks(0.08, GREEN)
"""Alone regular beyond doubt; beside plain ones a green filter."""
UNSURE = looks(0.12, RED)
"""Alone between the thresholds; beside plain ones regular."""
STAINED = looks(0.95, BROWNISH)
"""Alone a green filter; beside plain ones iodine."""


def arrive(site: Site, toy: Toy, *pictures: Analysis, exam: str = "E1", **about: Any) -> list[Image]:
    """Images that wait for their analysis."""
    images = [make_image(site, state="clean", exam=exam, **about) for _ in pictures]
    for image, picture in zip(images, pictures, strict=True):
        toy.answers[f"{image.clean_sha256}.{image.clean_format}"] = picture
    jobs.enqueue_many(kind="analyse", subject_ids=[image.pk for image in images])
    return images


def drain(*kinds: str) -> None:
    for kind in kinds or ("analyse", "assess"):
        runner.drain(kind, HANDLERS[kind])


def settle_in(site: Site, toy: Toy, *pictures: Analysis, **about: Any) -> list[Image]:
    """The same, analysed and judged beside each other."""
    images = arrive(site, toy, *pictures, **about)
    drain()
    for image in images:
        image.refresh_from_db()
    return images


def kinds_of(images: list[Image]) -> list[Kind]:
    return [Kind(image.assessments.get(current=True).kind) for image in images]
