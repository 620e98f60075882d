"""What a model's page tells before anything was measured here: what its bundle brings along."""

from __future__ import annotations

from typing import Any

import pytest
from django.urls import reverse

from tests.cast import Cast, make_version

pytestmark = pytest.mark.django_db


def interval(value: float) -> dict[str, Any]:
    return {"value": value, "low": value - 0.05, "high": value + 0.05, "hits": 80, "total": 100, "patients": 40}


def page(cast: Cast, metrics: dict[str, Any]) -> str:
    version = make_version()
    version.metrics = metrics
    version.save()
    return cast.client(cast.max).get(reverse("model", args=[version.pk])).content.decode()


def test_the_bundle_tells_of_the_source_left_out_and_of_its_parts_without_a_report(cast: Cast) -> None:
    told = {"images": 492, "patients": 112, "auroc": interval(0.9), "sensitivity": interval(0.8), "roc": [[0, 0], [0.1, 0.8], [1, 1]]}
    point = {"specificity": 0.98, "sensitivity": interval(0.7), "per_kind": {"green_filter": interval(0.6)}}
    parts = [{"name": "Deep SAD alone", "images": 492, "patients": 112, "auroc": interval(0.85), "points": [point]}]
    text = page(cast, {"leave_one_source_out": {"far-clinic": told}, "ablation": parts})
    assert "There is no report of this model yet." in text
    assert "far-clinic left out: 492 images of 112 patients" in text
    assert 'id="left-out-data"' in text
    assert "Deep SAD alone" in text
    assert "0.850" in text
    assert "kept a part" not in text


def test_a_sibling_that_kept_a_part_of_a_model_that_knows_the_source_is_told(cast: Cast) -> None:
    told = {"images": 492, "patients": 112, "kept_part": True, "auroc": interval(0.9), "roc": [[0, 0], [0.1, 0.8], [1, 1]]}
    text = page(cast, {"leave_one_source_out": {"far-clinic": told, "near-clinic": {**told, "kept_part": False}}})
    assert (
        "The sibling measured on <b>far-clinic</b> kept a part of an earlier model that may have learned from pictures of that source"
        in text
    )
    assert "True" not in text


def test_a_bundle_that_brings_nothing_says_nothing_of_sources(cast: Cast) -> None:
    text = page(cast, {"validation": {"auroc": interval(0.9)}})
    assert "There is no report of this model yet." in text
    assert 'id="left-out"' not in text
