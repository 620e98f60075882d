"""Deep SAD at 32 px (paper, sections 3-4; Ruff et al., ICLR 2020): the squared distance of a crop from the centre of the regular ones."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn
from torch.nn import functional as F

SIZE = 32
FILTERS = (32, 64, 128)
DIMENSIONS = 128
LEAST_CENTRE = 0.1


class _Block(nn.Module):
    """conv 5x5 -> batch norm -> leaky ReLU -> max pool, without bias or affine: either would let the network collapse onto the centre."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 5, padding=2, bias=False)
        self.norm = nn.BatchNorm2d(outputs, eps=1e-4, affine=False)

    def forward(self, x: Tensor) -> Tensor:
        return F.max_pool2d(F.leaky_relu(self.norm(self.conv(x)), 0.01), 2)


class Encoder(nn.Module):
    """(N, 3, 32, 32) RGB in [0, 1] -> (N, 128); 520,544 parameters."""

    def __init__(self) -> None:
        super().__init__()
        widths = (3, *FILTERS)
        self.blocks = nn.ModuleList(_Block(a, b) for a, b in itertools.pairwise(widths))
        self.dense = nn.Linear(FILTERS[-1] * (SIZE // 8) ** 2, DIMENSIONS, bias=False)

    def forward(self, crops: Tensor) -> Tensor:
        x = crops
        for block in self.blocks:
            x = block(x)
        out: Tensor = self.dense(x.flatten(1))
        return out


class DeepSAD(nn.Module):
    """The encoder with its centre, which is fixed after `settle` and saved with the weights."""

    centre: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.encoder = Encoder()
        self.register_buffer("centre", torch.zeros(DIMENSIONS))

    def forward(self, crops: Tensor) -> Tensor:
        """Squared distances (N,) from the centre; larger is more anomalous."""
        distances: Tensor = ((self.encoder(crops) - self.centre) ** 2).sum(dim=1)
        return distances

    def settle(self, outputs: Tensor) -> None:
        """Set the centre to the mean of encoder outputs (N, 128)."""
        self.centre.copy_(away_from_zero(outputs.mean(dim=0)))


def away_from_zero(centre: Tensor) -> Tensor:
    """Components below 0.1 become +-0.1 (exact zeros too), as a unit that is always zero would match a zero centre trivially."""
    sign = torch.where(centre < 0, -1.0, 1.0)
    return torch.where(centre.abs() < LEAST_CENTRE, sign * LEAST_CENTRE, centre)
