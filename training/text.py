"""The recipe of `inference/text.safetensors`: `python -m training.text FOLDER ... --out FILE`. Pictures without text in, weights out."""

from __future__ import annotations

import argparse
import io
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch.nn import functional as F

from inference.text import STRIDE, TextNet
from training.overlays import Rng, overlay

CROP = 224
BATCH = 8
STEPS = 2600
RATE = 3e-3
WEIGHT = 1.5
"""Of points with text: there are few of them."""


def cut(picture: Image.Image, rng: Rng) -> Image.Image:
    """A square of a picture at a random size, often with a hard edge or a change of light and colour."""
    scale = CROP / min(picture.size) * float(np.exp(rng.uniform(0, np.log(3.0))))
    across, down = (max(CROP, round(side * scale)) for side in picture.size)
    resized = picture.resize((across, down), Image.Resampling.BILINEAR)
    x, y = int(rng.integers(0, across - CROP + 1)), int(rng.integers(0, down - CROP + 1))
    out = resized.crop((x, y, x + CROP, y + CROP))
    if rng.random() < 0.5:
        gain, lift = rng.uniform(0.6, 1.4, 3), rng.uniform(-30, 30)
        out = Image.fromarray((np.asarray(out) * gain + lift).clip(0, 255).astype(np.uint8))
    return out


def example(pictures: Sequence[Image.Image], rng: Rng) -> tuple[np.ndarray, np.ndarray]:
    """(pixels (CROP, CROP, 3), share of text at each point): half of them hold one to three lines."""
    picture = cut(pictures[int(rng.integers(len(pictures)))], rng)
    truth = np.zeros((CROP // STRIDE, CROP // STRIDE), np.float32)
    for _ in range(int(rng.integers(1, 4)) if rng.random() < 0.5 else 0):
        picture, box = overlay(picture, rng)
        x0, y0, x1, y1 = (edge / STRIDE for edge in box)
        truth[int(y0) : int(np.ceil(y1)), int(x0) : int(np.ceil(x1))] = 1
    sink = io.BytesIO()
    picture.save(sink, "JPEG", quality=int(rng.integers(50, 96)))
    return np.asarray(Image.open(sink).convert("RGB")), truth


def batches(pictures: Sequence[Image.Image], seed: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    rng = np.random.default_rng(seed)
    while True:
        pixels, truth = zip(*(example(pictures, rng) for _ in range(BATCH)), strict=True)
        yield torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2).float() / 255, torch.from_numpy(np.stack(truth))


def train(
    pictures: Sequence[Image.Image],
    *,
    steps: int = STEPS,
    seed: int = 7,
    start: Path | None = None,
    report: Callable[[int, float], None] = lambda step, loss: None,  # noqa: ARG005
) -> TextNet:
    """Cross-entropy, one rise and fall of the rate. `report`: the step and the mean loss, every 100 steps."""
    torch.manual_seed(seed)
    net = TextNet().train()
    if start:
        net.load_state_dict(load_file(start))
    optimiser = torch.optim.AdamW(net.parameters(), RATE, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, total_steps=steps)
    weight, mean = torch.tensor(WEIGHT), 0.0
    for step, (pixels, truth) in zip(range(steps), batches(pictures, seed), strict=False):
        loss = F.binary_cross_entropy_with_logits(net(pixels), truth, pos_weight=weight)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        schedule.step()
        mean = 0.98 * mean + 0.02 * float(loss.detach())
        if step % 100 == 99:
            report(step + 1, mean / (1 - 0.98 ** (step + 1)))
    return net.eval()


def opened(folders: Sequence[Path], most: int = 900) -> list[Image.Image]:
    """Pictures of folders, at most 960 pixels long, `most` of each."""
    found = []
    for folder in folders:
        paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in (".jpg", ".jpeg", ".png"))
        for path in paths[:: max(1, len(paths) // most)]:
            with Image.open(path) as picture:
                picture.thumbnail((960, 960))
                found.append(picture.convert("RGB"))
    return found


def _say(step: int, loss: float) -> None:
    sys.stdout.write(f"{step} loss {loss:.4f}\n")


def main(argv: Sequence[str]) -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("folders", nargs="+", type=Path, help="pictures in which nothing is written")
    options.add_argument("--out", type=Path, required=True)
    options.add_argument("--steps", type=int, default=STEPS)
    options.add_argument("--start", type=Path, help="weights to go on from")
    given = options.parse_args(argv)
    net = train(opened(given.folders), steps=given.steps, start=given.start, report=_say)
    save_file({name: value.contiguous() for name, value in net.state_dict().items()}, given.out)


if __name__ == "__main__":
    main(sys.argv[1:])
