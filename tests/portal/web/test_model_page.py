"""What a model's page tells before anything was measured here: what its bundle brings along."""

from __future__ import annotations

import re
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


def test_plain_numbers_of_the_training_stand_apart_and_promise_no_interval(cast: Cast) -> None:
    metrics = {
        "validation": {
            "resnest": {"loss": 0.118, "auroc": 0.99758},
            "calibration": {"resnest_auroc": 0.98968, "deep_sad_auroc": 0.96512, "images": 447.0, "patients": 225.0},
            "detector": {"iou": interval(0.836)},
        },
        "refit": {
            "calibration": {"images": 447.0, "patients": 225.0},
            "context": {
                "images": 243.0, "patients": 1.0, "made_up_images": 2579.0, "log_loss_beside": 0.306, "real_log_loss_beside": 0.079,
                "clinic: log loss alone": 0.183,
            },
        },
    }  # fmt: skip
    text = page(cast, metrics)
    figures, checks = text.split("The training's own checks")
    assert "Value, 95 % interval" in figures
    assert "0.786 to 0.886" in figures
    assert "interval</th>" not in checks
    assert "they carry no interval" in checks
    assert "0.836" not in checks
    rows = {cells[:2]: cells[2:] for cells in (tuple(re.findall(r"<t[dh][^>]*>([^<]*)<", row)) for row in checks.split("<tr>"))}
    assert rows["validation / calibration", "resnest auroc"] == ("0.9897", "447 images, 225 patients")
    assert rows["validation / calibration", "deep sad auroc"] == ("0.9651", "447 images, 225 patients")
    assert rows["validation / resnest", "auroc"] == ("0.9976", "not told")
    assert rows["refit / calibration", "counted"] == ("447 images, 225 patients", "not told")
    assert rows["refit / context", "real log loss beside"] == ("0.079", "243 images, 1 patient")
    for name in ("log loss beside", "made up images", "clinic: log loss alone"):
        assert rows["refit / context", name][1] == "not told", name


def test_without_a_figure_that_has_an_interval_none_is_promised(cast: Cast) -> None:
    text = page(cast, {"validation": {"resnest": {"auroc": 0.99758}}})
    assert "The training's own checks" in text
    assert "95 % interval" not in text
    assert "Intervals are 95 %" not in text


def test_both_intervals_of_a_siblings_share_are_shown_and_an_older_ones_only_wilsons(cast: Cast) -> None:
    told = {
        "images": 492,
        "patients": 112,
        "specificity": interval(0.7),
        "sensitivity": {**interval(0.8), "patient_low": 0.71, "patient_high": 0.9},
    }
    text = page(cast, {"leave_one_source_out": {"far-clinic": told}})
    assert "0.750 to 0.850; by patient 0.710 to 0.900" in text
    assert "0.650 to 0.750</span>" in text
    assert text.count("Of a share the first is Wilson's") == 1


def test_a_bundle_that_brings_nothing_says_nothing_of_sources(cast: Cast) -> None:
    text = page(cast, {"validation": {"auroc": interval(0.9)}})
    assert "There is no report of this model yet." in text
    assert 'id="left-out"' not in text
