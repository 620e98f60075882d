"""Everything that the answer rests on is stored, so that it can be explained and computed again; of what was analysed before, nothing."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pgtrigger
import pytest
from django.db import IntegrityError, transaction

from inference.bundle import BASELINE, MANIFEST
from inference.fusion import Fusion
from portal import ml
from portal.analyses.models import Analysis
from portal.images.models import Image
from portal.jobs import services
from portal.pipeline import runner
from portal.pipeline.handlers import HANDLERS
from portal.registry.models import ModelVersion
from tests.cast import Cast, make_image, make_version
from tests.portal.pipeline.conftest import Toy

pytestmark = pytest.mark.django_db(transaction=True)
REAL = ml.analyse
PARTS = ("logit", "neighbours", "ood")


def _shipped() -> ModelVersion:
    """A new champion whose folder is that of the shipped bundle."""
    version = make_version("champion")
    ModelVersion.objects.filter(pk=version.pk).update(bundle_path=str(BASELINE))
    version.refresh_from_db()
    return version


def _analyse(*images: Image) -> None:
    services.enqueue_many(kind="analyse", subject_ids=[image.pk for image in images])
    assert runner.drain("analyse", HANDLERS["analyse"]) == len(images)


@pytest.fixture
def said(toy: Toy, monkeypatch: pytest.MonkeyPatch) -> dict[str, ml.Analysis]:
    """The analyzer itself, and what it says of each file, by its name; only text is not looked for."""
    told: dict[str, ml.Analysis] = {}

    def analyse(paths: Sequence[Path], bundle: Path, **how: Any) -> list[ml.Analysis | ml.Unreadable]:
        answers = REAL(paths, bundle, **how)
        told.update({path.name: answer for path, answer in zip(paths, answers, strict=True) if isinstance(answer, ml.Analysis)})
        return answers

    monkeypatch.setattr(ml, "analyse", analyse)
    return told


def test_what_the_analyzer_said_is_stored_and_gives_the_same_probability_again(cast: Cast, said: dict[str, ml.Analysis]) -> None:
    version = _shipped()
    images = [make_image(cast.north, state="clean", patient=f"P{number}") for number in range(2)]
    _analyse(*images)
    fusion = Fusion.from_json(json.loads((BASELINE / MANIFEST).read_text())["fusion"])
    for image in images:
        stored, told = Analysis.objects.get(image=image, version=version), said[f"{image.clean_sha256}.{image.clean_format}"]
        assert [getattr(stored, part) for part in PARTS] == [getattr(told, part) for part in PARTS]
        assert stored.logit is not None
        assert stored.neighbours is not None
        assert stored.ood is not None
        again = fusion.probability(
            stored.logit, stored.deep_sad_distance, neighbours=stored.neighbours, detector=stored.detector_score or 0.0
        )
        assert again == pytest.approx(stored.p_non_regular, abs=1e-12)
        assert ("out_of_distribution" in stored.reasons) == (stored.ood > fusion.far)


def test_an_image_that_is_analysed_again_has_them_of_the_new_model_and_the_earlier_word_stays_as_it_is(
    cast: Cast, said: dict[str, ml.Analysis]
) -> None:
    first = _shipped()
    image = make_image(cast.north, state="clean")
    _analyse(image)
    with pgtrigger.ignore():
        Analysis.objects.update(**dict.fromkeys(PARTS))
    _analyse(image)
    assert Analysis.objects.filter(image=image, version=first).values(*PARTS).get() == dict.fromkeys(PARTS)
    _shipped()
    _analyse(image)
    newer = Analysis.objects.exclude(version=first).get(image=image)
    (told,) = said.values()
    assert [getattr(newer, part) for part in PARTS] == [told.logit, told.neighbours, told.ood]
    assert told.ood is not None
    assert Analysis.objects.filter(image=image, version=first).values(*PARTS).get() == dict.fromkeys(PARTS)


def test_a_model_that_keeps_no_training_embeddings_says_no_rank(cast: Cast, toy: Toy) -> None:
    make_version("champion")
    image = make_image(cast.north, state="clean")
    _analyse(image)
    assert Analysis.objects.filter(image=image).values(*PARTS).get() == {"logit": 0.0, "neighbours": None, "ood": None}


@pytest.mark.parametrize(("part", "value"), [("ood", 1.01), ("ood", -0.01), ("neighbours", -0.01), ("ood", float("nan"))])
def test_the_database_refuses_what_cannot_be(cast: Cast, part: str, value: float) -> None:
    make_image(cast.north, state="analysed")
    with pytest.raises(IntegrityError), pgtrigger.ignore(), transaction.atomic():
        Analysis.objects.update(**{part: value})
