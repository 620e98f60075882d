"""The way over a graphics card, where there is none: nothing lies in the wrong place, and the answers are the processor's to the last bit.

What only a real card can show (rounding, speed, memory, bfloat16) is shown by the tests that need one.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from inference import api
from inference.types import Analysis, Progress
from portal import ml
from tests import pretend_card
from tests.pretend_card import Lent, Misplaced
from tests.training import toys
from tests.training.test_reproduce import ROLES, collection, rows_of, tiny
from training import config
from training.reproduction.run import Order, reproduce
from training.types import Cancelled, TrainConfig

pytestmark = pytest.mark.skipif(torch.cuda.is_available(), reason="there is a real CUDA device")


def test_the_pretended_card_refuses_what_a_card_would(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    here, whole = torch.ones(2, 3), torch.arange(2)
    with pretend_card.inserted(monkeypatch, at=1):
        there = here.to("cuda:1")
        assert isinstance(there, Lent)
        assert (there.device, (there * 2 + 1).device) == (torch.device("cuda:1"), torch.device("cuda:1"))
        assert float((there @ there.T).sum()) == 12
        assert (there.cpu() + here).numpy().tolist() == [[2.0] * 3] * 2
        assert there[whole].tolist() == there.cpu().tolist() == here.tolist()
        for wrong in (
            lambda: there + here, lambda: there + torch.ones(3, device="cuda"), lambda: here[whole.to("cuda:1")], lambda: there.numpy(),
            lambda: torch.cat([there, here]), lambda: torch.nn.Linear(3, 1)(there), lambda: there.to("cuda:0") + there,
        ):  # fmt: skip
            with pytest.raises(Misplaced):
                wrong()
        torch.save({"weights": there}, tmp_path / "one")
        assert torch.load(tmp_path / "one")["weights"].device == torch.device("cuda:1")
        assert torch.load(tmp_path / "one", map_location="cpu")["weights"].tolist() == here.tolist()


def test_a_run_over_two_cards_ends_with_the_weights_and_answers_of_a_processor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Broken off in the middle on one card and gone on with on another, as a process of torchrun that did not write the checkpoint does."""
    monkeypatch.setitem(config.PRESETS, "tiny", toys.TINY)
    snap = toys.write_snapshot(tmp_path / "snap")
    given = TrainConfig(preset="tiny", parts=config.PARTS, threads=1, name="toy")
    one = ml.train(given, snap, tmp_path / "processor", report=lambda _: None, cancelled=lambda: False)
    seen: list[Progress] = []
    half, rest = replace(given, device="cuda"), replace(given, device="cuda:1")
    with monkeypatch.context() as lent, pretend_card.inserted(lent), pytest.raises(Cancelled):
        ml.train(half, snap, tmp_path / "card", report=seen.append, cancelled=lambda: bool(seen) and seen[-1].message == "epoch 3 of 4")
    assert seen[-1].stage == "resnest"
    with monkeypatch.context() as lent, pretend_card.inserted(lent, at=1):
        two = ml.train(rest, snap, tmp_path / "card", report=lambda _: None, cancelled=lambda: False)
        assert {"aten::convolution", "aten::convolution_backward"} <= pretend_card.used
        pictures = sorted((snap / "images").iterdir())[:3]
        there = api.analyse(pictures, two, device="cuda:1")
        report = ml.evaluate(two, snap, device="cuda:1")
    for part in ("detector", "resnest", "deep_sad"):
        assert (one / f"{part}.safetensors").read_bytes() == (two / f"{part}.safetensors").read_bytes()
    here = api.analyse(pictures, one)
    for said, same in zip(there, here, strict=True):
        assert isinstance(said, Analysis)
        assert isinstance(same, Analysis)
        assert replace(said, bundle_hash="") == replace(same, bundle_hash="")
    assert report.cost is not None
    assert report.cost.device == "cuda:1"


def test_the_papers_experiment_runs_over_a_card(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Heads stand on an embedding that lies on the card, and t-SNE is drawn of it."""
    methods = tuple(f"{name}:default" for name in ("retinanet_lite", "resnest_224", "deep_sad", "deep_sad_224", "hypersphere_224"))
    order = Order(collection(tmp_path), ROLES, tmp_path / "card", methods=methods, quick=True, shrink=tiny, device="cuda")
    with monkeypatch.context() as lent, pretend_card.inserted(lent):
        reproduce(order, report=lambda _: None, cancelled=lambda: False)
    reproduce(replace(order, out=tmp_path / "processor", device="cpu"), report=lambda _: None, cancelled=lambda: False)
    for table in ("table-5", "detectors"):
        assert rows_of(tmp_path / "card", table) == rows_of(tmp_path / "processor", table)
