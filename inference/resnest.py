"""ResNeSt (paper, section 3; METHODS 4): tells regular from green-filter and iodine crops, and gives the portal's embedding."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from itertools import accumulate
from typing import Any, cast

import timm
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from inference.members import FRAME, Member, further
from inference.types import CLASSIFIED_KINDS

MOST_TEXTURE = 128
"""Channels of the first levels that tell how sharp a crop is, together: later ones know what is seen rather than how."""


@dataclass(frozen=True, slots=True)
class ResNeStConfig:
    """Everything that rebuilds the network; stored in bundle.json. `backbone`: any timm name. `size`: side of the crop in pixels.

    `more`: further networks that are asked too; of those that see the crop none is larger than `size`.
    """

    backbone: str = "resnest14d"
    size: int = 96
    classes: int = len(CLASSIFIED_KINDS)
    more: tuple[Member, ...] = ()

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "more": [[one.backbone, one.size, one.view] for one in self.more]}

    @staticmethod
    def from_json(values: Mapping[str, Any]) -> ResNeStConfig:
        return ResNeStConfig(**{**values, "more": further(values)})

    @property
    def members(self) -> tuple[Member, ...]:
        """Every network, the first one first."""
        return (Member(self.backbone, self.size), *self.more)

    @property
    def frame_size(self) -> int:
        """Side in pixels of the frames that the classifier asks for; 0 where no network sees the frame."""
        return max((one.size for one in self.more if one.view == FRAME), default=0)


class CropClassifier(nn.Module):
    """A timm network over cervix crops (N, 3, size, size), RGB in [0, 1]. Never `channels_last`: 2.6 times slower for ResNeSt.

    With further networks the logits are the mean of all of theirs: each has outliers of its own, and those decide what is found where few
    regular images may be called otherwise. A filter lies on the whole frame, and a faint one shows on speculum and shadows before it does
    on the cervix: so a network may see `frames` (N, 3, frame_size, frame_size), the pictures squeezed to a square. Embedding and places
    are the first one's.
    """

    config: ResNeStConfig

    def __init__(self, config: ResNeStConfig) -> None:
        super().__init__()
        self.config = config
        self.net: Any = timm.create_model(config.backbone, pretrained=False, num_classes=config.classes)
        # As the backbone's own start weights were trained: 0.5 for one family, ImageNet's mean for another
        known = cast(Any, self.net).pretrained_cfg
        for name in ("mean", "std"):
            self.register_buffer(name, torch.tensor(known[name]).view(1, 3, 1, 1), persistent=False)
        further = (ResNeStConfig(backbone=one.backbone, size=one.size, classes=config.classes) for one in config.more)
        self.more = nn.ModuleList(CropClassifier(one) for one in further)

    def forward(self, crops: Tensor, frames: Tensor | None = None) -> Tensor:
        """Logits (N, classes) in the order of CLASSIFIED_KINDS. Raises ValueError where a network needs the frames and there are none."""
        return self.both(crops, frames)[0]

    def both(self, crops: Tensor, frames: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Logits (N, classes) and the average-pool vector (N, D), which is the paper's t-SNE feature (D = 2,048 for ResNeSt)."""
        logits, embedding, _ = self._whole(crops)
        return self._agreed(logits, crops, frames), embedding

    def _agreed(self, own: Tensor, crops: Tensor, frames: Tensor | None) -> Tensor:
        """The mean of this network's logits (N, classes) and those of the further ones, which see crops or frames at their own sizes."""
        said = [own]
        for member, net in zip(self.config.more, self.more, strict=True):
            shown = frames if member.view == FRAME else crops
            if shown is None:
                raise ValueError(f"{member} cannot be asked without the frames")
            side = member.size
            said.append(net(shown if side == shown.shape[-1] else F.interpolate(shown, size=(side, side), mode="bilinear", antialias=True)))
        return torch.stack(said).mean(dim=0)

    def with_places(self, crops: Tensor, frames: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor | None]:
        """As `both`, and the logits (N, h, w, classes) of each place of the crops by itself, whose mean is the whole's (class activation
        mapping: Zhou et al. 2016). None where the backbone's embedding is not the mean over places.

        What further networks say moves all places alike: where a kind is seen is the first one's word.
        """
        own, embedding, features = self._whole(crops)
        logits = self._agreed(own, crops, frames)
        # timm's networks keep the channels second, or last
        if features.ndim == 4 and features.shape[1] == embedding.shape[1]:
            features = features.permute(0, 2, 3, 1)
        if features.ndim != 4 or features.shape[-1] != embedding.shape[1]:
            return logits, embedding, None
        mean_of_places = torch.allclose(features.mean(dim=(1, 2)), embedding, rtol=1e-3, atol=1e-4)
        return logits, embedding, self._classified(features) + (logits - own)[:, None, None] if mean_of_places else None

    def texture(self, crops: Tensor) -> Tensor:
        """(N, D): how finely crops (N, 3, S, S) of any size are drawn, as the first levels of the first network see them: of each channel
        the mean, and the logarithms of spread and of the highest magnitude. D is 0 where the backbone has no such levels.

        Filters that tell edges apart tell blur better than any one Laplacian, and cost a fraction of the network.
        """
        widths = accumulate(level["num_chs"] for level in getattr(self.net, "feature_info", ()))
        levels = tuple(number for number, total in enumerate(widths) if total <= MOST_TEXTURE)
        none = crops.new_zeros(len(crops), 0)
        if not levels or not hasattr(self.net, "forward_intermediates"):
            return none
        seen = (crops - self.get_buffer("mean")) / self.get_buffer("std")
        try:
            maps = self.net.forward_intermediates(seen, indices=list(levels), stop_early=True, intermediates_only=True)
        except (AssertionError, IndexError, RuntimeError) as error:
            # timm says so in as many ways when a network, mostly one with windows, takes no other size than its own
            if isinstance(error, torch.OutOfMemoryError):
                raise
            return none
        return torch.cat([part for one in maps for part in _strength(one.float())], dim=1)

    def _whole(self, crops: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        features = self.net.forward_features((crops - self.get_buffer("mean")) / self.get_buffer("std"))
        embedding = self.net.forward_head(features, pre_logits=True)
        return self._classified(embedding), embedding, features

    def _classified(self, embedding: Tensor) -> Tensor:
        return cast(Tensor, self.net.get_classifier()(embedding))


def _strength(maps: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    return maps.mean((2, 3)), (maps.std((2, 3)) + 0.01).log(), (maps.abs().amax((2, 3)) + 0.01).log()


def non_regular_logit(logits: Tensor) -> Tensor:
    """Of logits (..., classes): log odds (...) of not being regular: logsumexp(green, iodine) - regular, the logit of 1 - p(regular)."""
    return torch.logsumexp(logits[..., 1:], dim=-1) - logits[..., 0]
