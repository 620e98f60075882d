"""A bundle is complete and unchanged, or it is refused with the reason."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from inference import bundle as bundles
from inference.api import Analyzer
from tests.inference import toys


@pytest.fixture
def copied(tiny_bundle: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_bundle, tmp_path / "copied"))


def refused(folder: Path) -> str:
    with pytest.raises(bundles.BundleError) as caught:
        bundles.describe(folder)
    return str(caught.value)


def test_describe_says_what_the_manifest_says(tiny_bundle: Path) -> None:
    info = bundles.describe(tiny_bundle)
    assert info.name == "tiny"
    assert info.thresholds == {"t_lo": 0.1, "t_hi": 0.9}
    assert info.hash == bundles.sha256(tiny_bundle / "bundle.json")


def test_describing_loads_no_torch(tiny_bundle: Path) -> None:
    path = f"pathlib.Path({str(tiny_bundle)!r})"
    code = f"import sys, pathlib; from inference import bundle; bundle.describe({path}); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_changed_weight_file_is_refused(copied: Path) -> None:
    raw = bytearray((copied / "resnest.safetensors").read_bytes())
    raw[-1] ^= 1
    (copied / "resnest.safetensors").write_bytes(raw)
    assert "resnest.safetensors is damaged" in refused(copied)


def test_a_missing_weight_file_is_refused(copied: Path) -> None:
    (copied / "detector.safetensors").unlink()
    assert "detector.safetensors is missing" in refused(copied)


def test_a_folder_without_its_manifest_is_unfinished(copied: Path) -> None:
    (copied / "bundle.json").unlink()
    assert "never finished" in refused(copied)


@pytest.mark.parametrize(
    ("text", "said"), [("{", "not valid JSON"), ("[]", "format None"), ('{"format": 9}', "format 9"), ('{"format": 1}', "lacks")]
)
def test_a_manifest_that_is_none_is_refused(copied: Path, text: str, said: str) -> None:
    (copied / "bundle.json").write_text(text)
    assert said in refused(copied)


def test_a_name_that_reaches_outside_is_refused(copied: Path) -> None:
    about = json.loads((copied / "bundle.json").read_text())
    about["files"]["../outside.safetensors"] = "0"
    (copied / "bundle.json").write_text(json.dumps(about))
    assert "not a weight file" in refused(copied)


def test_nothing_is_there_is_refused(tmp_path: Path) -> None:
    assert "not a folder" in refused(tmp_path / "nothing")


def test_weights_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    parts = toys.about()["parts"]
    folder = toys.write_bundle(tmp_path / "odd", parts={**parts, "resnest": {**parts["resnest"], "backbone": "resnest14d"}})
    with pytest.raises(bundles.BundleError, match="do not fit"):
        Analyzer.open(folder)


def test_a_card_is_written_from_the_manifest_and_its_hash_and_a_bundle_without_one_is_whole(copied: Path, tmp_path: Path) -> None:
    digest = bundles.amend(copied, tmp_path / "carded", {"name": "x"}, card=lambda about, digest: f"{about['name']} {digest}")
    assert bundles.card_of(tmp_path / "carded") == f"x {digest}"
    assert bundles.describe(tmp_path / "carded").hash == digest
    # Without another it stays, and changes no hash
    assert bundles.amend(copied, tmp_path / "kept", {"name": "x"}) == digest
    assert bundles.card_of(tmp_path / "kept") == "# A toy\n"
    (tmp_path / "kept" / bundles.CARD).unlink()
    assert bundles.card_of(tmp_path / "kept") == ""
    assert bundles.describe(tmp_path / "kept").hash == digest


def test_a_bundle_is_never_overwritten(copied: Path) -> None:
    with pytest.raises(bundles.BundleError, match="never overwritten"):
        toys.write_bundle(copied)


def test_a_write_that_fails_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON"):
        toys.write_bundle(tmp_path / "broken", metrics={"x": float("nan")})
    assert list(tmp_path.iterdir()) == []


def test_weights_come_back_at_half_precision_and_vectors_whole() -> None:
    halved = bundles.halved({"kernel": torch.rand(3, 3), "centre": torch.rand(3), "count": torch.tensor(5)})
    assert [t.dtype for t in halved.values()] == [torch.float16, torch.float32, torch.int64]


@pytest.mark.skipif(not bundles.BASELINE.is_dir(), reason="the baseline bundle is not in this checkout")
def test_the_shipped_bundle_is_whole_and_small_and_has_a_card() -> None:
    info = bundles.describe(bundles.BASELINE)
    assert sum(file.stat().st_size for file in bundles.BASELINE.iterdir()) <= 48e6
    assert "esearch use only" in info.licence_note
    card = (bundles.BASELINE / bundles.CARD).read_text(encoding="utf-8")
    assert info.snapshot_hash in card
    Analyzer.open(bundles.BASELINE)
