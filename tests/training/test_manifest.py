"""What is there to train on, and what is refused before time is spent."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from inference.types import Kind
from tests.training import toys
from training import checks, config
from training.manifest import assign_split, parse_box, read_development_data, read_snapshot
from training.types import TrainConfig, TrainingRefused

PARTS = ("resnest", "deep_sad")


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toys.write_snapshot(tmp_path_factory.mktemp("data") / "snap")


def test_a_snapshot_is_read_as_it_was_written(snapshot: Path) -> None:
    data = read_snapshot(snapshot)
    assert Counter(r.split for r in data.records) == {"train": 48, "validation": 12, "calibration": 12, "test": 12}
    assert data.hash == json.loads((snapshot / "snapshot.json").read_text())["hash"]
    assert data.records[0].box is not None
    assert data.records[0].path.parent == snapshot / "images"


def test_patients_keep_their_split_for_ever() -> None:
    assert [assign_split(p) for p in ("a", "b", "c", "d")] == [assign_split(p) for p in ("a", "b", "c", "d")]
    shares = Counter(assign_split(str(n)) for n in range(4000))
    assert 0.67 < shares["train"] / 4000 < 0.73
    assert all(0.08 < shares[s] / 4000 < 0.12 for s in ("validation", "calibration", "test"))
    assert [assign_split(str(n), "other") for n in range(99)] != [assign_split(str(n)) for n in range(99)]


def test_an_unfinished_or_altered_snapshot_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TrainingRefused, match="never finished"):
        read_snapshot(tmp_path)
    folder = toys.write_snapshot(tmp_path / "snap")
    with (folder / "manifest.csv").open("a") as lines:
        lines.write("x\n")
    with pytest.raises(TrainingRefused, match="changed after it was frozen"):
        read_snapshot(folder)


def test_a_picture_that_is_gone_is_named(tmp_path: Path) -> None:
    folder = toys.write_snapshot(tmp_path / "snap")
    next((folder / "images").iterdir()).unlink()
    with pytest.raises(TrainingRefused, match="is not in the snapshot"):
        read_snapshot(folder)


def test_boxes_are_parsed_or_unknown() -> None:
    assert parse_box(["", "", "", ""]) is None
    assert parse_box(["5", "5", "5", "9"]) is None
    box = parse_box(["1.5", "2", "3", "4"])
    assert box is not None
    assert (box.x0, box.y1) == (1.5, 4)


def refused(tmp_path: Path, change: str) -> str:
    records = toys.records(tmp_path / "made")
    if change == "patient":
        records[0] = replace(records[0], split="test")
    elif change == "class":
        records = [r for r in records if not (r.split == "train" and r.kind is Kind.GREEN_FILTER)]
    elif change == "tuning":
        records = toys.relabelled(
            toys.relabelled(records, "validation", Kind.GREEN_FILTER, Kind.REGULAR), "calibration", Kind.GREEN_FILTER, Kind.REGULAR
        )
        records = [r for r in records if r.split in ("train", "test") or r.kind is Kind.REGULAR]
    elif change == "test":
        records = [r for r in records if r.split != "test" or r.kind is Kind.REGULAR]
    elif change == "automatic":
        records = [replace(r, provenance="automatic") if r.split == "test" else r for r in records]
    elif change == "duplicate":
        records.append(replace(records[0], split="test", patient="another"))
    data = read_snapshot(toys.write_snapshot(tmp_path / "snap", records))
    with pytest.raises(TrainingRefused) as caught:
        checks.before(data, PARTS)
    return str(caught.value)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("patient", "in both"),
        ("class", "0 pictures of green_filter"),
        ("tuning", "validation and calibration splits together have no green-filter or iodine"),
        ("test", "test split has no green-filter or iodine"),
        ("automatic", "labelled by people"),
        ("duplicate", "remove the duplicate"),
    ],
)
def test_bad_data_is_refused_with_its_reason(tmp_path: Path, change: str, said: str) -> None:
    assert said in refused(tmp_path, change)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (TrainConfig(preset="huge"), "no preset 'huge'"),
        (TrainConfig(parts=("wheels",)), "wheels cannot be trained"),
        (TrainConfig(parts=()), "No part"),
        (TrainConfig(start=None, parts=PARTS), "Without a start bundle"),
    ],
)
def test_settings_that_cannot_be_trained_are_refused(given: TrainConfig, said: str) -> None:
    with pytest.raises(TrainingRefused, match=said):
        config.preset_of(given)


def test_the_development_data_keeps_patients_apart(real_data: Path) -> None:
    records = read_development_data(real_data / "manifest.csv")
    sides: dict[str, set[str]] = {}
    for record in records:
        sides.setdefault(record.patient, set()).add(record.split)
    assert max(map(len, sides.values())) == 1
    assert len({r.sha256 for r in records}) == len(records)
    assert all(r.measurable for r in records if r.site in ("iarc-colposcopy", "iarc-via", "annocerv"))
    assert sum(not r.measurable for r in records) > 1000


def test_a_held_out_source_is_seen_by_nothing_else(real_data: Path) -> None:
    records = read_development_data(real_data / "manifest.csv", hold_out="iarc-colposcopy")
    test = {r.patient for r in records if r.split == "test"}
    assert {r.site for r in records if r.split == "test"} == {"iarc-colposcopy"}
    assert not test & {r.patient for r in records if r.split != "test"}
