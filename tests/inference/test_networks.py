"""The networks against what the papers say of them."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from inference.deep_sad import DeepSAD, Encoder, away_from_zero
from inference.detector import CervixDetector, state_of, to_file_pixels
from inference.members import Member
from inference.quality import SIDE, measure
from inference.resnest import CropClassifier, ResNeStConfig, non_regular_logit
from inference.types import Box, DetectorState
from tests.inference.toys import DETECTOR


def test_the_encoder_has_the_papers_parameters_and_no_bias() -> None:
    encoder = Encoder()
    assert sum(p.numel() for p in encoder.parameters()) == 520_544
    assert not [name for name, _ in encoder.named_parameters() if "bias" in name or "norm" in name]
    assert encoder(torch.rand(2, 3, 32, 32)).shape == (2, 128)


def test_a_distance_is_the_squared_length_from_the_centre() -> None:
    model = DeepSAD().eval()
    model.settle(torch.full((4, 128), 2.0))
    crops = torch.rand(3, 3, 32, 32)
    expected = ((model.encoder(crops) - 2.0) ** 2).sum(1)
    assert torch.allclose(model(crops), expected)


def test_a_centre_keeps_away_from_zero() -> None:
    centre = away_from_zero(torch.tensor([0.0, -0.0, 0.05, -0.05, 0.1, -0.3, 2.0]))
    assert centre.tolist() == pytest.approx([0.1, 0.1, 0.1, -0.1, 0.1, -0.3, 2.0])


def test_the_resnest_embedding_has_2048_numbers() -> None:
    model = CropClassifier(ResNeStConfig(backbone="resnest14d", size=64)).eval()
    logits, embedding = model.both(torch.rand(2, 3, 64, 64))
    assert (logits.shape, embedding.shape) == ((2, 3), (2, 2048))


def test_the_non_regular_logit_is_that_of_one_minus_p_regular() -> None:
    logits = torch.tensor([[1.0, 2.0, -1.0], [3.0, 0.0, 0.5]])
    p = 1 - torch.softmax(logits, 1)[:, 0]
    assert torch.allclose(torch.sigmoid(non_regular_logit(logits)), p)


def test_detector_losses_fall_where_there_is_something_to_learn() -> None:
    torch.manual_seed(0)
    model = CervixDetector(DETECTOR).train()
    images = torch.zeros(4, 3, 64, 64)
    images[:2, :, 16:48, 16:48] = 1
    box = {"boxes": torch.tensor([[16.0, 16, 48, 48]]), "labels": torch.tensor([1])}
    nothing = {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.long)}
    optimizer = torch.optim.AdamW(model.parameters(), 3e-3)
    seen = []
    for _ in range(30):
        loss = torch.stack(list(model.losses(images, [box, box, nothing, nothing]).values())).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        seen.append(float(loss.detach()))
    assert math.isfinite(seen[-1])
    assert seen[-1] < 0.6 * seen[0]


def test_boxes_go_back_to_pixels_of_the_file() -> None:
    box = to_file_pixels(Box(-2, 5, 30, 70, 0.7), 0.5, 100, 120)
    assert (box.x0, box.y0, box.x1, box.y1, box.score) == (0, 10, 60, 120, 0.7)


def test_the_state_follows_the_best_score() -> None:
    assert state_of([Box(0, 0, 1, 1, 0.5)]) is DetectorState.FOUND
    assert state_of([Box(0, 0, 1, 1, 0.49)]) is DetectorState.LOW
    assert state_of([]) is DetectorState.NONE


def test_quality_of_known_pictures() -> None:
    flat = measure(np.full((SIDE, SIDE, 3), 51, dtype=np.uint8))
    assert {name: flat[name] for name in ("sharpness", "glare", "exposure", "light")} == pytest.approx(
        {"sharpness": 0.0, "glare": 0.0, "exposure": 0.2, "light": 0.2}, abs=1e-6
    )
    half = np.zeros((SIDE, SIDE, 3), dtype=np.uint8)
    half[:, : SIDE // 2] = 255
    white = measure(half)
    assert white["glare"] == pytest.approx(0.5)
    # One column on either side of the edge answers with +-255, of 254 columns
    assert white["sharpness"] == pytest.approx(2 * 255**2 / 254, rel=1e-3)


@pytest.mark.parametrize(("backbone", "places"), [("resnest14d", 3), ("resnet18", 3)])
def test_the_answers_of_the_places_average_to_the_whole(backbone: str, places: int) -> None:
    torch.manual_seed(3)
    model = CropClassifier(ResNeStConfig(backbone=backbone, size=96)).eval()
    crops = torch.rand(2, 3, 96, 96)
    with torch.inference_mode():
        logits, embedding, each = model.with_places(crops)
        alone = model.both(crops)
    assert each is not None
    assert each.shape == (2, places, places, 3)
    torch.testing.assert_close(each.mean(dim=(1, 2)), logits, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close((logits, embedding), alone)


def test_a_backbone_whose_answer_is_no_average_has_no_places() -> None:
    model = CropClassifier(ResNeStConfig(backbone="mobilenetv3_small_050", size=64)).eval()
    with torch.inference_mode():
        logits, _, each = model.with_places(torch.rand(1, 3, 64, 64))
    assert each is None
    assert logits.shape == (1, 3)


def test_further_networks_are_asked_too_and_the_answer_is_the_mean_of_their_logits() -> None:
    torch.manual_seed(3)
    more = (Member("test_resnet", 32), Member("resnet10t", 64), Member("test_resnet", 48, "frame"))
    model = CropClassifier(ResNeStConfig(backbone="resnet18", size=64, more=more)).eval()
    crops, frames = torch.rand(2, 3, 64, 64), torch.rand(2, 3, 48, 48)
    assert model.config.frame_size == 48
    first, (second, third, fourth) = CropClassifier(ResNeStConfig(backbone="resnet18", size=64)).eval(), model.more
    first.load_state_dict({name: value for name, value in model.state_dict().items() if not name.startswith("more.")})
    with torch.inference_mode():
        logits, embedding, each = model.with_places(crops, frames)
        own, seen = first.both(crops)
        smaller = F.interpolate(crops, size=(32, 32), mode="bilinear", antialias=True)
        expected = (own + second(smaller) + third(crops) + fourth(frames)) / 4
    torch.testing.assert_close(logits, expected)
    torch.testing.assert_close(model(crops, frames), expected)
    torch.testing.assert_close(embedding, seen)
    assert each is not None
    torch.testing.assert_close(each.mean(dim=(1, 2)), logits, rtol=1e-3, atol=1e-4)
    with pytest.raises(ValueError, match="without the frames"):
        model(crops)


@pytest.mark.parametrize(
    ("backbone", "channels"), [("tf_efficientnet_lite0", 16 + 24 + 40), ("resnest14d", 64), ("vit_tiny_patch16_224", 0)]
)
def test_texture_is_of_the_first_levels_alone_and_loses_strength_with_detail(backbone: str, channels: int) -> None:
    torch.manual_seed(3)
    size = 224 if backbone.startswith("vit") else 64
    model = CropClassifier(ResNeStConfig(backbone=backbone, size=size)).eval()
    sharp = torch.rand(2, 3, 256, 256)
    soft = F.interpolate(F.avg_pool2d(sharp, 8), size=(256, 256), mode="bilinear")
    with torch.inference_mode():
        found = model.texture(sharp)
        assert found.shape == (2, 3 * channels)
        torch.testing.assert_close(model.texture(sharp[:1])[0], found[0], rtol=1e-4, atol=1e-4)
        if channels:
            assert model.texture(soft).mean() < found.mean()


def test_a_network_that_takes_no_other_size_has_no_texture() -> None:
    model = CropClassifier(ResNeStConfig(backbone="swin_tiny_patch4_window7_224", size=224)).eval()
    with torch.inference_mode():
        assert model.texture(torch.rand(1, 3, 256, 256)).shape == (1, 0)


def test_what_rebuilds_a_classifier_goes_through_json_and_older_bundles_are_read() -> None:
    config = ResNeStConfig(backbone="resnet18", size=64, more=(Member("test_resnet", 32), Member("test_resnet", 48, "frame")))
    assert ResNeStConfig.from_json(json.loads(json.dumps(config.as_json()))) == config
    one = {"backbone": "resnet18", "size": 64, "classes": 3}
    assert ResNeStConfig.from_json(one).members == (Member("resnet18", 64),)
    assert ResNeStConfig.from_json(one).frame_size == 0
    assert ResNeStConfig.from_json({**one, "more": [["test_resnet", 32]]}).members[1:] == (Member("test_resnet", 32, "crop"),)
