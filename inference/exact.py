"""Full precision on a card."""

from __future__ import annotations

import torch


def on(device: str) -> None:
    """Have this process compute with all 24 bits of a float32 where the device is a card; nothing where it is a processor.

    TensorFloat-32 keeps 10 bits of a factor: rounded so, one real picture in four moves p by more than 1e-3 (docs/LOG-ml.md). Asked at the
    begin of whatever uses a card, so that a training is the same whether or not something was analysed before it.
    """
    if device.startswith("cuda"):
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
