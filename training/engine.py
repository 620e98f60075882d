"""The one training loop: epochs that can be repeated exactly, a checkpoint after each, an average of the weights, progress and cancel."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Generator, Tensor, nn

from inference.types import Progress
from training import parallel
from training.loader import Ahead
from training.types import Cancelled, TrainingRefused

State = dict[str, Tensor]
PAUSE = 0.5
"""Seconds between progress lines inside an epoch."""


@dataclass(slots=True)
class Reporter:
    """Turns stages of a run into Progress lines; `weights` says how long each stage takes compared with the others."""

    report: Callable[[Progress], None]
    cancelled: Callable[[], bool]
    weights: dict[str, float]
    started: float = field(default_factory=time.monotonic)
    first: float = -1.0
    said: float = -1.0
    part: tuple[int, int] = (0, 1)

    def part_of(self, number: int, count: int) -> Reporter:
        """For the `number`th (from 0) of `count` equal parts of a stage, whose shares are told as shares of the stage."""
        return replace(self, part=(number, count))

    def step(self, stage: str, share: float, message: str, **figures: float) -> None:
        """As `at`, but silent unless some time has passed: whoever listens may write every line to a database."""
        if time.monotonic() - self.said >= PAUSE:
            self.at(stage, share, message, **figures)

    def at(self, stage: str, share: float, message: str, **figures: float) -> None:
        """`share` of the stage is done. Raises Cancelled when the run was asked to stop."""
        self.said = time.monotonic()
        if self.cancelled():
            raise Cancelled
        fraction = self._fraction(stage, share)
        if self.first < 0:
            self.first, self.started = fraction, time.monotonic()
        gained, spent = fraction - self.first, time.monotonic() - self.started
        left = None if gained < 0.01 or spent < 5 else spent / gained * (1 - fraction)
        self.report(Progress(stage=stage, fraction=fraction, seconds_left=left, message=message, figures=figures))

    def continues(self, stage: str, share: float) -> None:
        """The stage goes on from a checkpoint: what was done before this process says nothing about its speed."""
        if share > 0:
            self.first, self.started = self._fraction(stage, share), time.monotonic()

    def _fraction(self, stage: str, share: float) -> float:
        names = list(self.weights)
        before = sum(self.weights[name] for name in names[: names.index(stage)])
        number, count = self.part
        return min(1.0, (before + (number + share) / count * self.weights[stage]) / sum(self.weights.values()))


@dataclass(frozen=True, slots=True)
class Loop:
    """What the loop needs to know. `checkpoint`: the file that a killed run continues from. `ema` 0 means the plain weights.

    `clip`: longest gradient; infinity for the papers' recipes, which cut none.
    """

    stage: str
    epochs: int
    steps: int
    lr: float
    weight_decay: float
    checkpoint: Path
    seed: int
    warmup: float = 0.05
    ema: float = 0.0
    amp: bool = True
    device: str = "cpu"
    schedule: bool = True
    adam: bool = False
    clip: float = 5.0


def generator(seed: int, epoch: int) -> Generator:
    """The generator of one epoch: it depends on seed and epoch alone, so that a resumed run repeats the same draws."""
    return Generator().manual_seed(seed * 100_003 + epoch)


def fast_bfloat16(device: str) -> bool:
    """Whether bfloat16 is worth it: on GPUs, and on CPUs that have it in hardware (there it halved the time of a step)."""
    if device.startswith("cuda"):
        return True
    try:
        return bool(torch.cpu._is_avx512_bf16_supported())
    except AttributeError:
        return False


def fit(
    model: nn.Module,
    batches: Callable[[int, Generator], Iterator[Any]],
    loss_of: Callable[[Any], Tensor],
    loop: Loop,
    reporter: Reporter,
    *,
    score_of: Callable[[nn.Module], float] | None = None,
) -> dict[str, Any]:
    """Train `model` in place, ending with the (averaged) weights, or with the best epoch's by `score_of` (higher is better).

    Returns the history: `losses` of each epoch and `scores`. Raises TrainingRefused when a loss is not finite, Cancelled when asked to.
    Where several processes train, each yields its `parallel.mine` of every batch, and all end with the same weights.
    """
    optimizer = _optimizer(model, loop)
    # First of all, as it gives every process the first one's weights, from which the average starts
    objective = parallel.objective(model, loss_of)
    run = _Run(ema={k: v.detach().clone() for k, v in model.state_dict().items()})
    run.restore(loop.checkpoint, model, optimizer)
    reporter.continues(loop.stage, run.epoch / loop.epochs)
    for epoch in range(run.epoch, loop.epochs):
        loss, waiting = _epoch(model, optimizer, batches, objective, loop, reporter, run, epoch)
        run.losses.append(loss)
        run.epoch = epoch + 1
        figures = {"loss": loss, "waiting": waiting}
        if score_of is not None:
            figures["score"] = run.judge(model, score_of, averaged=loop.ema > 0)
        run.save(loop.checkpoint, model, optimizer)
        reporter.at(loop.stage, run.epoch / loop.epochs, f"epoch {run.epoch} of {loop.epochs}", **figures)
    final = run.best if run.best is not None else run.ema if loop.ema > 0 else None
    if final is not None:
        model.load_state_dict(final)
    model.eval()
    return {"losses": run.losses, "scores": run.scores}


def _optimizer(model: nn.Module, loop: Loop) -> torch.optim.Optimizer:
    if loop.adam:
        return torch.optim.Adam(model.parameters(), lr=loop.lr, weight_decay=loop.weight_decay)
    decayed = [p for p in model.parameters() if p.ndim > 1]
    plain = [p for p in model.parameters() if p.ndim <= 1]
    groups = [{"params": decayed, "weight_decay": loop.weight_decay}, {"params": plain, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=loop.lr, betas=(0.9, 0.999))


def _rate(loop: Loop, step: int) -> float:
    """Cosine with warm-up, as a share of the full rate."""
    total = max(1, loop.epochs * loop.steps)
    warm = max(1, int(loop.warmup * total))
    if not loop.schedule:
        return 1.0
    if step < warm:
        return (step + 1) / warm
    return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, total - warm)))


def _epoch(
    model: nn.Module, optimizer: torch.optim.Optimizer, batches: Callable[[int, Generator], Iterator[Any]],
    objective: Callable[[Any], Tensor], loop: Loop, reporter: Reporter, run: _Run, epoch: int,
) -> tuple[float, float]:  # fmt: skip
    """One epoch; returns its mean loss and the share of the time that was spent waiting for data."""
    model.train()
    total, count = 0.0, 0
    torch.manual_seed(loop.seed * 7919 + epoch)
    with Ahead(batches(epoch, generator(loop.seed, epoch))) as ready:
        for batch in ready:
            step = epoch * loop.steps + count
            for group in optimizer.param_groups:
                group["lr"] = loop.lr * _rate(loop, step)
            value = _step(model, optimizer, objective, batch, loop, epoch)
            total, count = total + value, count + 1
            parallel.share_buffers(model)
            if loop.ema > 0:
                run.average(model, min(loop.ema, (1 + step) / (10 + step)))
            share = (epoch + min(1.0, count / loop.steps)) / loop.epochs
            reporter.step(loop.stage, share, f"epoch {epoch + 1} of {loop.epochs}", loss=value)
        return parallel.agreed(total / max(1, count)), ready.waiting


def _step(
    model: nn.Module, optimizer: torch.optim.Optimizer, objective: Callable[[Any], Tensor], batch: Any, loop: Loop, epoch: int
) -> float:
    with torch.autocast(loop.device.split(":")[0], dtype=torch.bfloat16, enabled=loop.amp and fast_bfloat16(loop.device)):
        loss = objective(batch)
    value = float(loss.detach())
    if not math.isfinite(value):
        raise TrainingRefused(
            f"The loss of {loop.stage} became {value} in epoch {epoch + 1}: lower the learning rate or look for broken labels."
        )
    optimizer.zero_grad(set_to_none=True)
    torch.autograd.backward(loss)
    # oneDNN's bfloat16 convolutions give NaN gradients on 1x1 maps: one such step would turn every weight into NaN
    norm = float(nn.utils.clip_grad_norm_(model.parameters(), loop.clip))
    if not math.isfinite(norm):
        raise TrainingRefused(
            f"The gradients of {loop.stage} became {norm} in epoch {epoch + 1}: lower the learning rate or enlarge the input."
        )
    optimizer.step()
    return value


@dataclass(slots=True)
class _Run:
    """What survives a kill."""

    ema: State
    epoch: int = 0
    losses: list[float] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    best: State | None = None

    @torch.no_grad()
    def average(self, model: nn.Module, decay: float) -> None:
        for name, value in model.state_dict().items():
            mean = self.ema[name]
            if mean.is_floating_point():
                mean.lerp_(value.detach(), 1 - decay)
            else:
                mean.copy_(value)

    def judge(self, model: nn.Module, score_of: Callable[[nn.Module], float], *, averaged: bool) -> float:
        """Score the weights that would be kept, and remember them if they are the best."""
        mine = {k: v.detach().clone() for k, v in model.state_dict().items()}
        judged = {k: v.clone() for k, v in self.ema.items()} if averaged else mine
        model.load_state_dict(judged)
        model.eval()
        score = parallel.agreed(score_of(model))
        if not self.scores or score >= max(self.scores):
            self.best = judged
        self.scores.append(score)
        model.load_state_dict(mine)
        return score

    def save(self, path: Path, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        if not parallel.leads():
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        whole = {
            "model": model.state_dict(), "optimizer": optimizer.state_dict(), "ema": self.ema, "best": self.best,
            "epoch": self.epoch, "losses": self.losses, "scores": self.scores,
        }  # fmt: skip
        fresh = path.with_suffix(".tmp")
        torch.save(whole, fresh)
        os.replace(fresh, path)

    def restore(self, path: Path, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        if not path.exists():
            return
        # It may have been written on another card, or on one where there is none now; of several processes the first one wrote it
        whole = torch.load(path, map_location="cpu", weights_only=True)
        model.load_state_dict(whole["model"])
        optimizer.load_state_dict(whole["optimizer"])
        device, best = next(model.parameters()).device, whole["best"]
        self.ema = {name: value.to(device) for name, value in whole["ema"].items()}
        self.best = None if best is None else {name: value.to(device) for name, value in best.items()}
        self.epoch = whole["epoch"]
        self.losses, self.scores = whole["losses"], whole["scores"]
