"""Several processes that train one model: `torchrun --nproc-per-node N -m training train ...` (nccl on GPUs, gloo on CPUs).

Alone, every function here does nothing or gives back what it was given.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel


def join(device: str) -> str:
    """Join the processes that torchrun started, if it did; returns this process's own device."""
    if int(os.environ.get("WORLD_SIZE", "1")) < 2 or dist.is_initialized():
        return device
    if device.startswith("cuda"):
        device = f"cuda:{os.environ.get('LOCAL_RANK', '0')}"
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if device.startswith("cuda") else "gloo")
    return device


def leave() -> None:
    """Part from the others at the end."""
    if dist.is_initialized():
        dist.destroy_process_group()


def together() -> bool:
    return dist.is_available() and dist.is_initialized()


def size() -> int:
    """How many processes train."""
    return dist.get_world_size() if together() else 1


def leads() -> bool:
    """Whether this process writes files and reports progress."""
    return not together() or dist.get_rank() == 0


def barrier() -> None:
    """Wait until all have come here."""
    if together():
        dist.barrier()


def mine(chosen: Tensor) -> Tensor:
    """This process's part of a batch's indices (N,): every size()-th one. Raises ValueError when there are too few for all."""
    if not together():
        return chosen
    if len(chosen) < 2 * size():
        raise ValueError(f"A batch of {len(chosen)} cannot be shared by {size()} processes: each needs two or more. Enlarge the batch.")
    return chosen[dist.get_rank() :: size()]


def agreed(value: float) -> float:
    """The mean of what all processes say."""
    if not together():
        return value
    device = "cuda" if dist.get_backend() == "nccl" else "cpu"
    told = torch.tensor([value], dtype=torch.float64, device=device)
    dist.all_reduce(told)
    return float(told) / size()


@torch.no_grad()
def share_buffers(model: nn.Module) -> None:
    """Give all the first one's buffers: each has seen other pictures, so the batch norms' statistics differ."""
    if together():
        for buffer in model.buffers():
            dist.broadcast(buffer, 0)


class Objective(nn.Module):
    """A model with its loss as one module, so that DistributedDataParallel can watch the whole step."""

    def __init__(self, model: nn.Module, loss_of: Callable[[Any], Tensor]) -> None:
        super().__init__()
        self.model, self.loss_of = model, loss_of

    def forward(self, batch: Any) -> Tensor:
        return self.loss_of(batch)


def objective(model: nn.Module, loss_of: Callable[[Any], Tensor]) -> Callable[[Any], Tensor]:
    """`loss_of`, with gradients averaged over the processes where there are several. Starts all from the first one's weights."""
    if not together():
        return loss_of
    return cast(Callable[[Any], Tensor], DistributedDataParallel(Objective(model, loss_of)))
