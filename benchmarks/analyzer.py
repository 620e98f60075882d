"""What the analyzer costs: every part and the whole, in images a second, and the memory it takes. `python -m benchmarks.analyzer`.

Pictures are drawn, so that it runs anywhere; figures are ratios of one machine and one run.
"""

from __future__ import annotations

import argparse
import os
import resource
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from inference import quality
from inference.api import Analyzer, decoded_ahead, iterate
from inference.bundle import BASELINE
from inference.deep_sad import SIZE as DEEP_SAD_SIZE
from inference.detector import CervixDetector, DetectorConfig
from inference.preprocess import Picture, crop_to, decode, letterbox

SIZES = {"800x600": (800, 600), "8 megapixels": (3264, 2448), "12 megapixels": (4032, 3024)}
REFERENCE = DetectorConfig(arch="retinanet_v2", backbone="resnet50", size=800, channels=256)
"""The paper's detector, on a canvas of its usual size."""


def draw(folder: Path, size: tuple[int, int], count: int) -> list[Path]:
    """Pictures with as much detail as a photograph's, so that decoding costs what it does there."""
    rng = np.random.default_rng(0)
    paths = []
    for number in range(count):
        small = Image.fromarray(rng.integers(60, 200, (size[1] // 8, size[0] // 8, 3), dtype=np.uint8))
        paths.append(folder / f"{size[0]}-{number}.jpg")
        small.resize(size, Image.Resampling.BICUBIC).save(paths[-1], quality=90)
    return paths


def decode_all(paths: Sequence[Path]) -> list[Picture]:
    return [decode(path) for path in paths]


def timed(name: str, count: int, run: Callable[[], object]) -> float:
    """Prints and returns images a second; the better of two runs, as others share the machine."""
    run()  # the first run allocates
    seconds = float("inf")
    for _ in range(2):
        started = time.perf_counter()
        run()
        seconds = min(seconds, time.perf_counter() - started)
    print(f"{name:40s} {count / seconds:8.1f} images/s {1000 * seconds / count:8.1f} ms an image", flush=True)
    return count / seconds


def one_core(name: str, analyzer: Analyzer, pictures: Sequence[Picture], batch: int) -> float:
    """Images a second of the analysis on one core, without threads that wait for one another."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return timed(f"analyse, decoded {name}, one thread", len(pictures), partial(analyzer.analyse, pictures, batch=batch))
    finally:
        torch.set_num_threads(threads)


def share_of_cores(whole: float, read: float, judged: float) -> None:
    """Decoding and analysis of a CPU share its cores, so the slower of the two, measured alone, is out of reach: this is what is in reach.
    read, judged: images a second of each on one core."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    print(f"    {whole * (1 / read + 1 / judged) / cores:.2f} of what {cores} cores can do that are never idle")


def megabytes() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


@torch.inference_mode()
def measure(bundle: Path, device: str, batch: int, count: int) -> None:
    before = megabytes()
    analyzer = Analyzer.open(bundle, device)
    print(
        f"opened the bundle: {megabytes() - before:.0f} MB more ({megabytes():.0f} MB in all), "
        f"{torch.get_num_threads()} threads, batches of {batch}"
    )
    with tempfile.TemporaryDirectory() as folder:
        for name, size in SIZES.items():
            paths = draw(Path(folder), size, count)
            read = timed(f"decode {name}, one thread", count, partial(decode_all, paths))
            pictures = decode_all(paths)
            judged = timed(f"analyse, decoded {name}", count, partial(analyzer.analyse, pictures, batch=batch))
            whole = timed(f"files to answers {name}", count, lambda: list(iterate(paths, bundle, device=device, batch=batch)))  # noqa: B023
            slower, faster = sorted((read, judged))
            print(f"    {whole / slower:.2f} of the slower of the two; one after the other would be {1 / (1 + slower / faster):.2f}")
            if device == "cpu":
                ahead = timed(f"the same, one batch at a time {name}", count, lambda: list(decoded_ahead(analyzer, paths, batch)))  # noqa: B023
                print(f"    side by side is {whole / ahead:.2f} times as fast")
                share_of_cores(whole, read, one_core(name, analyzer, pictures, batch))
    side, crop = analyzer.detector.config.size, analyzer.resnest.config.size
    squares = torch.rand(batch, 3, side, side, device=device)
    crops, small = torch.rand(batch, 3, crop, crop, device=device), torch.rand(batch, 3, DEEP_SAD_SIZE, DEEP_SAD_SIZE, device=device)
    some = pictures[:batch]
    timed(
        "letterbox and crops",
        len(some),
        lambda: [(letterbox(p, side), crop_to(p, None, crop), crop_to(p, None, DEEP_SAD_SIZE)) for p in some],
    )
    timed("quality", len(some), lambda: [quality.measure(crop_to(p, None, quality.SIDE)) for p in some])
    lite = timed(f"detector {side} px", batch, lambda: analyzer.detector.detect(squares))
    shown = analyzer.resnest.config.frame_size
    frames = torch.rand(batch, 3, shown, shown, device=device) if shown else None
    timed(" + ".join(str(member) for member in analyzer.resnest.config.members), batch, lambda: analyzer.resnest.both(crops, frames))
    timed("Deep SAD", batch, lambda: analyzer.deep_sad(small))
    print(f"at most {megabytes():.0f} MB")
    reference, square = CervixDetector(REFERENCE).to(device).eval(), torch.rand(1, 3, REFERENCE.size, REFERENCE.size, device=device)
    print(f"    the detector is {lite / timed(f'RetinaNet v2 {REFERENCE.size} px', 1, lambda: reference.detect(square)):.0f} times as fast")


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--bundle", type=Path, default=BASELINE)
    options.add_argument("--device", default="cpu")
    options.add_argument("--batch", type=int, default=16)
    options.add_argument("--count", type=int, default=32)
    options.add_argument("--threads", type=int, default=0)
    given = options.parse_args()
    if given.threads:
        torch.set_num_threads(given.threads)
    measure(given.bundle, given.device, given.batch, given.count)


if __name__ == "__main__":
    main()
