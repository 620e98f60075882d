"""The cervix detector: RetinaNet (paper, section 3; METHODS 2) on a fixed square canvas: `retinanet_lite` and `retinanet_v2`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, cast

import timm
import torch
from torch import Tensor, nn
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.retinanet import RetinaNet, retinanet_resnet50_fpn_v2
from torchvision.ops import FeaturePyramidNetwork, box_iou, clip_boxes_to_image
from torchvision.ops.feature_pyramid_network import LastLevelP6P7

from inference.types import Box, DetectorState

CERVIX = 1
"""The single class; 0 is never predicted, so that label files may keep the usual meaning of 0 as background."""
FOUND_SCORE = 0.5
OTHERS_SCORE = 0.3
MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True, slots=True)
class DetectorConfig:
    """Everything that rebuilds the network; stored in bundle.json. `size`: side of the canvas in pixels.

    `arch`: `retinanet_lite` (any timm `backbone`, P4-P7, `channels` wide) or `retinanet_v2` (torchvision's, whose ResNet-50, P3-P7 and 256
    channels are fixed).

    `score_scale`, `score_shift`: the score is sigmoid(scale * logit + shift), fitted on validation so that it is the probability that the
    best box overlaps the cervix by half: focal loss alone leaves scores far too low for FOUND at 0.5 to mean anything.

    `vote_iou`: a box that is kept becomes the mean of all that overlap it by so much, by their scores (box voting: Gidaris and Komodakis
    2015): neighbouring anchors each see the cervix a little otherwise. 0 keeps it as it is.
    """

    arch: str = "retinanet_lite"
    backbone: str = "resnet10t"
    size: int = 224
    channels: int = 64
    score_threshold: float = 0.05
    nms_iou: float = 0.5
    score_scale: float = 1.0
    score_shift: float = 0.0
    vote_iou: float = 0.0

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


class PyramidBackbone(nn.Module):
    """A timm feature extractor (strides 16 and 32) under a feature pyramid: P4, P5 and, by strided convolutions, P6, P7."""

    def __init__(self, backbone: str, channels: int) -> None:
        super().__init__()
        self.body = cast(Any, timm.create_model(backbone, pretrained=False, features_only=True, out_indices=(3, 4)))
        widths = self.body.feature_info.channels()
        self.pyramid = FeaturePyramidNetwork(widths, channels, extra_blocks=LastLevelP6P7(channels, channels))
        self.out_channels = channels

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        levels = self.body(images)
        return cast(dict[str, Tensor], self.pyramid({str(i): level for i, level in enumerate(levels)}))


def _lite(config: DetectorConfig) -> RetinaNet:
    octave = tuple(2 ** (k / 3) for k in range(3))
    bases = [config.size * share for share in (0.15, 0.3, 0.5, 0.85)]
    anchors = AnchorGenerator(
        sizes=tuple(tuple(int(base * step) for step in octave) for base in bases), aspect_ratios=((0.7, 1.0, 1.4),) * len(bases)
    )
    net = RetinaNet(
        PyramidBackbone(config.backbone, config.channels), num_classes=2, anchor_generator=anchors,
        score_thresh=config.score_threshold, nms_thresh=config.nms_iou, detections_per_img=20,
    )  # fmt: skip
    # Overlap, not coordinates, is what the crop needs: generalised IoU as regression loss
    net.head.regression_head._loss_type = "giou"
    return net


def _v2(config: DetectorConfig) -> RetinaNet:
    """The paper's size of network in torchvision's second form: group norm in the heads, generalised IoU as regression loss."""
    return retinanet_resnet50_fpn_v2(
        weights=None, weights_backbone=None, num_classes=2, score_thresh=config.score_threshold, nms_thresh=config.nms_iou,
        detections_per_img=20,
    )  # fmt: skip


ARCHITECTURES: dict[str, Callable[[DetectorConfig], RetinaNet]] = {"retinanet_lite": _lite, "retinanet_v2": _v2}


class CervixDetector(nn.Module):
    """RetinaNet over square canvases of one size. Images are (N, 3, size, size) RGB in [0, 1]."""

    config: DetectorConfig

    def __init__(self, config: DetectorConfig) -> None:
        super().__init__()
        self.config = config
        self.net = ARCHITECTURES[config.arch](config)
        # As the backbone's own start weights were trained; torchvision's ResNet-50 by ImageNet's
        known = getattr(self.net.backbone.body, "pretrained_cfg", {"mean": MEAN, "std": STD})
        for name in ("mean", "std"):
            self.register_buffer(name, torch.tensor(known[name]).view(1, 3, 1, 1), persistent=False)

    def heads(self, images: Tensor) -> tuple[dict[str, Tensor], list[Tensor], ImageList, list[int]]:
        """Raw outputs (float32), anchors for each image, the image list, and how many anchors each level has."""
        images = (images - self.get_buffer("mean")) / self.get_buffer("std")
        sizes = [(images.shape[-2], images.shape[-1])] * len(images)
        listed = ImageList(images, sizes)
        levels = list(self.net.backbone(images).values())
        outputs = {name: value.float() for name, value in self.net.head(levels).items()}
        per_location = outputs["cls_logits"].shape[1] // sum(level.shape[2] * level.shape[3] for level in levels)
        counts = [level.shape[2] * level.shape[3] * per_location for level in levels]
        return outputs, self.net.anchor_generator(listed, levels), listed, counts

    def losses(self, images: Tensor, targets: list[dict[str, Tensor]]) -> dict[str, Tensor]:
        """Focal and generalised-IoU loss. A target holds `boxes` (K, 4) in canvas pixels and `labels` (K,); K = 0 is a negative."""
        outputs, anchors, _, _ = self.heads(images)
        return cast(dict[str, Tensor], self.net.compute_loss(targets, outputs, anchors))

    @torch.inference_mode()
    def detect(self, images: Tensor) -> list[list[Box]]:
        """Boxes of every image in canvas pixels, best first, after score threshold and non-maximum suppression."""
        outputs, anchors, listed, counts = self.heads(images)
        outputs["cls_logits"] = self.config.score_scale * outputs["cls_logits"] + self.config.score_shift
        split = {name: list(torch.split(value, counts, dim=1)) for name, value in outputs.items()}
        split_anchors = [list(torch.split(a, counts)) for a in anchors]
        found = self.net.postprocess_detections(split, split_anchors, listed.image_sizes)
        if self.config.vote_iou > 0:
            for number, one in enumerate(found):
                scores = torch.sigmoid(outputs["cls_logits"][number, :, CERVIX])
                likely = scores > self.config.score_threshold
                boxes = self.net.box_coder.decode_single(outputs["bbox_regression"][number, likely], anchors[number][likely])
                one["boxes"] = voted(
                    one["boxes"], clip_boxes_to_image(boxes, listed.image_sizes[number]), scores[likely], self.config.vote_iou
                )
        return [_boxes(one) for one in found]


def voted(kept: Tensor, candidates: Tensor, scores: Tensor, least: float) -> Tensor:
    """Boxes (K, 4), each the mean of the candidates (N, 4) that overlap it by `least` or more, weighted by their scores (N,)."""
    weights = scores * (box_iou(kept, candidates) >= least)
    total = weights.sum(dim=1, keepdim=True)
    return torch.where(total > 0, weights @ candidates / total.clamp(min=1e-9), kept)


def _boxes(found: dict[str, Tensor]) -> list[Box]:
    keep = found["labels"] == CERVIX
    rows = zip(found["boxes"][keep].tolist(), found["scores"][keep].tolist(), strict=True)
    return sorted((Box(x0, y0, x1, y1, score) for (x0, y0, x1, y1), score in rows), key=lambda b: -b.score)


def to_file_pixels(box: Box, factor: float, width: int, height: int) -> Box:
    """From canvas pixels to pixels of the upright file, clipped to it."""
    return Box(
        min(max(box.x0 / factor, 0.0), float(width)), min(max(box.y0 / factor, 0.0), float(height)),
        min(max(box.x1 / factor, 0.0), float(width)), min(max(box.y1 / factor, 0.0), float(height)), box.score,
    )  # fmt: skip


def state_of(boxes: list[Box]) -> DetectorState:
    """FOUND from a score of 0.5; LOW below; NONE without a box."""
    if not boxes:
        return DetectorState.NONE
    return DetectorState.FOUND if boxes[0].score >= FOUND_SCORE else DetectorState.LOW
