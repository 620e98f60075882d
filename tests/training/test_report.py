"""The report as data and as one HTML file."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from inference.bundle import BASELINE
from inference.types import Kind
from tests.training import toys
from tests.training.said import GREEN, IODINE, REGULAR, answer, many, report
from training import metrics
from training import report as reports
from training.__main__ import main
from training.report_page import as_html, extremes, wrong
from training.types import FOLDS, EvaluationReport


@pytest.fixture(scope="module")
def whole(few_drawings: None) -> EvaluationReport:
    return report()


@pytest.fixture(autouse=True, scope="module")
def few_drawings() -> Iterator[None]:
    """Intervals have tests of their own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(metrics, "ROUNDS", 60)
        yield


def test_every_part_of_the_report_is_measured(whole: EvaluationReport) -> None:
    assert whole.held_out == ("river",)
    assert {point.site for point in whole.operating_points} == {"", "north", "river"}
    assert [one.site for one in whole.calibration] == ["", "north", "river"]
    assert whole.precision_recall[-1][0] == 1
    assert whole.average_precision is not None
    assert whole.average_precision.low < whole.average_precision.value < whole.average_precision.high
    assert set(whole.repeatability) == {"same_answer", "difference"}
    assert set(whole.per_site_kind["north"]) == {"regular", "green_filter", "lugol_iodine"}
    assert set(whole.site_auroc) == {"north", "river"}
    assert whole.faint_green_by_site["north"].total == 12
    assert {"ap50", "ap50_95", "containment", "recall_green_filter"} <= set(whole.detector)
    assert [p.missed for p in whole.review_points] == [0.0, 0.01, 0.02, 0.05]
    assert sum(int(str(row["images"])) for row in whole.composition) == 96


def test_embeddings_of_one_kind_lie_together_on_the_map(whole: EvaluationReport) -> None:
    places = {kind: [row["map"] for row in whole.images if (row["kind"] != "regular") == kind] for kind in (False, True)}
    regular, other = np.array(places[False]), np.array(places[True])
    assert regular.min() >= 0
    assert regular.max() <= 1
    apart = np.linalg.norm(regular.mean(axis=0) - other.mean(axis=0))
    assert apart > 0.2


def test_only_kinds_that_are_tested_are_judged_but_every_image_is_listed() -> None:
    made = report([answer(REGULAR, 0.1), answer(GREEN, 0.9, patient="P2"), answer(Kind.UNUSABLE, 0.9, patient="P3")])
    assert made.images_total == 2
    assert len(made.images) == 3
    assert wrong(made) == []


def test_one_class_alone_gives_no_curve_and_no_point() -> None:
    made = report([answer(REGULAR, 0.1, patient=str(n)) for n in range(4)])
    assert (made.auroc, made.average_precision, made.precision_recall) == (None, None, ())
    assert (made.operating_points, made.review_points) == ((), ())


def test_a_site_of_the_bundles_own_snapshot_is_held_out_when_it_is_in_the_test_split_alone() -> None:
    assert report(snapshot_hash="snap").held_out == ("north", "river")
    assert report(sources=["north", "river"]).held_out == ()


def test_what_a_start_bundle_learned_from_is_not_held_out() -> None:
    assert report(snapshot_hash="snap", start="hash", start_sources=["river"]).held_out == ("north",)
    assert report(snapshot_hash="snap", start="random").held_out == ("north", "river")
    # older bundles do not say what their start had seen
    assert report(snapshot_hash="snap", start="hash").held_out == ()
    assert report(start="hash").held_out == ("river",)
    assert "No site here is known to be new to the bundle" in as_html(report(sources=["north", "river"]), None)


def test_a_report_over_folds_says_what_it_is_and_that_the_detector_was_kept() -> None:
    made = replace(report(), split=FOLDS)
    page = as_html(made, None)
    assert "each image is judged by the one whose classifiers had not seen its patient" in page
    assert "kept from a start bundle" not in page
    kept = as_html(replace(made, detector={}), None)
    assert "kept from a start bundle" in kept
    assert "<h2>Detector</h2>" in page
    assert "<h2>Detector</h2>" not in kept
    assert "several bundles" not in as_html(report(), None).lower()


class _Page(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.headings: list[str] = []
        self.sources: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.sources += [value or "" for name, value in attrs if name == "src"]

    def handle_data(self, data: str) -> None:
        if self.tags[-1:] == ["h2"] and data.strip():
            self.headings.append(data.strip())


def test_the_files_are_written_and_the_page_shows_no_patient(whole: EvaluationReport, tmp_path: Path) -> None:
    page = reports.write(whole, tmp_path / "out")
    data = json.loads((tmp_path / "out" / "report.json").read_text(), parse_constant=lambda name: pytest.fail(name))
    assert set(data) == set(asdict(whole))
    assert data["roc"][0] == [0.0, 0.0, None]
    assert sorted(path.name for path in page.parent.iterdir()) == ["report.html", "report.json"]
    seen = _Page(page.read_text())
    assert seen.headings[:2] == ["Leave one source out", "At the bundle's own answer"]
    # Two curves, confusion, box plot, three reliability diagrams, two maps
    assert seen.tags.count("svg") == 9
    assert {"script", "img"} & set(seen.tags) == set()


def test_the_page_leads_with_the_left_out_source_shows_given_pictures_and_escapes_names(whole: EvaluationReport, tmp_path: Path) -> None:
    hostile = "<img src=x onerror=alert(1)>"
    first = extremes(whole, "green_filter")[0][0]
    (tmp_path / "images").mkdir()
    Image.new("RGB", (800, 600), (30, 160, 40)).save(tmp_path / "images" / f"{first['sha256']}.png")
    left_out = {hostile: reports.digest(asdict(whole), hostile)}
    text = as_html(replace(whole, per_site={hostile: whole.per_site["north"]}, held_out=(hostile,), left_out=left_out), tmp_path)
    seen = _Page(text)
    assert seen.tags.count("svg") == 10
    assert seen.tags.count("img") >= 1
    assert all(source.startswith("data:image/jpeg;base64,") for source in seen.sources)
    assert hostile not in text
    assert "&lt;img src=x" in text


def test_a_digest_holds_intervals_and_a_short_curve(whole: EvaluationReport) -> None:
    told = reports.digest(asdict(whole), "river")
    json.dumps(told, allow_nan=False)
    assert told["sensitivity at 98% specificity"]["total"] == 48
    assert {"auroc", "sensitivity at 99% specificity, green_filter", "faint green found"} <= set(told)
    assert len(told["roc"]) <= reports.DIGEST_POINTS + 1
    assert report(metrics={"leave_one_source_out": {"river": told}}).left_out["river"]["images"] == 96


def test_extremes_are_the_ends_and_never_the_same_image() -> None:
    made = report([answer(IODINE, p, patient=str(p)) for p in (0.2, 0.9, 0.5, 0.7, 0.1)] + [answer(REGULAR, 0.3, patient="R")])
    low, high = extremes(made, "lugol_iodine", 2)
    assert [row["p_non_regular"] for row in low] == [0.1, 0.2]
    assert [row["p_non_regular"] for row in high] == [0.9, 0.7]
    low, high = extremes(made, "regular")
    assert (len(low), len(high)) == (0, 1)


def test_what_passed_unseen_comes_first_among_the_wrong() -> None:
    made = report([answer(REGULAR, 0.95, patient="A"), answer(GREEN, 0.05, patient="B"), answer(GREEN, 0.4, patient="C")])
    assert [row["patient"] for row in wrong(made)] == ["B", "C", "A"]


def test_equal_answers_make_equal_reports() -> None:
    assert report(many(6)) == report(many(6))


def test_the_shell_writes_the_report_of_the_shipped_bundle(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = [record for record in toys.records(tmp_path / "made") if record.split == "test"]
    snapshot = toys.write_snapshot(tmp_path / "snapshot", made)
    assert main(["evaluate", str(BASELINE), str(snapshot), "--out", str(tmp_path / "out"), "--pictures"]) == 0
    data = json.loads((tmp_path / "out" / "report.json").read_text())
    assert data["held_out"] == ["site-0", "site-1"]
    assert data["cost"]["images"] == 12
    assert 0 < data["cost"]["median_ms"] <= data["cost"]["p95_ms"]
    assert data["cost"]["memory_mib"] > 50
    assert data["detector"]["ap50"]["total"] == 12
    assert "data:image/jpeg;base64," in (tmp_path / "out" / "report.html").read_text()
    assert "12 images, 3 patients" in capsys.readouterr().out
