"""Upload accepted -> analysis stored, against bare `Analyzer.analyse` over the same decoded pictures, in one run.

`python -m benchmarks.end_to_end [--images 500] [--sizes 800x600,3264x2448]`. Prints images/s of both and their ratio, and the memory of
the io worker's and gpu worker's processes. The gpu worker has opened the bundle before the clock starts (one image goes first).
"""

from __future__ import annotations

import argparse
import io
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image as Picture

from benchmarks.stack import memory_mb, servers, workers

_DRAWN = 12
_PATIENCE = 1800


def files(count: int, size: tuple[int, int]) -> list[bytes]:
    """`count` different JPEG photographs of `size`: a dozen drawn scenes, each turned and with noise of its own."""
    from training import synthetic

    rng = np.random.default_rng(11)
    styles = ("north-clinic", "river-hospital", "hill-station")
    scenes = [synthetic.draw_scene(rng, kind="regular", style=styles[k % 3], size=(800, 600))[0] for k in range(_DRAWN)]
    made = []
    for number in range(count):
        picture = Picture.fromarray(scenes[number % _DRAWN]).resize(size, Picture.Resampling.BILINEAR)
        if number // _DRAWN % 2:
            picture = picture.transpose(Picture.Transpose.FLIP_LEFT_RIGHT)
        picture.putpixel((0, 0), (number % 256, number // 256, 7))
        sink = io.BytesIO()
        picture.save(sink, "JPEG", quality=90)
        made.append(sink.getvalue() + number.to_bytes(4, "big"))
    return made


def upload(contents: list[bytes], name: str) -> float:
    """Send the files through the ordinary upload path; returns when the first was accepted (monotonic seconds)."""
    from portal.accounts.models import Membership, Role, Site, User
    from portal.images import services

    site, _ = Site.objects.get_or_create(name=name, slug=name)
    user, made = User.objects.get_or_create(email=f"{name}@example.org")
    if made:
        Membership.objects.create(user=user, site=site, role=Role.UPLOADER)
    opened = services.open_upload(site=site, actor=user, expected=len(contents))
    start = time.monotonic()
    for number, content in enumerate(contents):
        services.receive(upload=opened, file=io.BytesIO(content), name=f"{number}.jpg", actor=user)
    services.close_upload(upload=opened, actor=user)
    return start


def wait_for(count: int) -> float:
    """Until `count` analyses are stored (monotonic seconds)."""
    from portal.analyses.models import Analysis

    end = time.monotonic() + _PATIENCE
    while time.monotonic() < end:
        if Analysis.objects.count() >= count:
            return time.monotonic()
        time.sleep(0.1)
    raise SystemExit(f"only {Analysis.objects.count()} of {count} analyses after {_PATIENCE} s")


def bare(paths: list[Path], bundle: Path) -> float:
    """Images/s of the analyzer alone over pictures that are decoded already."""
    import torch

    from inference import api
    from inference.preprocess import decode

    torch.set_num_threads(2)
    analyzer = api.opened(bundle)
    total = 0.0
    for first in range(0, len(paths), 64):
        pictures = [decode(path) for path in paths[first : first + 64]]
        if not first:
            analyzer.analyse(pictures[:16])
        start = time.monotonic()
        analyzer.analyse(pictures)
        total += time.monotonic() - start
    return len(paths) / total


def measure(count: int, size: tuple[int, int], folder: Path) -> dict[str, Any]:
    from django.conf import settings

    from portal.analyses.models import Analysis
    from portal.images.models import Image
    from portal.images.storage import clean_path

    contents = files(count, size)
    known = Analysis.objects.count()
    name = f"bench{size[0]}"
    with workers(folder, ("io", "gpu", "beat")) as running:
        upload(files(1, (320, 240)), f"{name}-first")
        wait_for(known + 1)
        start = upload(contents, name)
        accepted = time.monotonic() - start
        whole = wait_for(known + 1 + count) - start
        memory = {role: round(memory_mb(process.pid)) for role, process in running.items()}
    images = Image.objects.filter(site__slug=name)
    paths = [clean_path(one.site_id, one.clean_sha256, one.clean_format) for one in images]
    alone = bare(paths, settings.BASELINE_BUNDLE)
    return {"accepted": count / accepted, "end_to_end": count / whole, "bare": alone, "ratio": count / whole / alone, "memory": memory}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=500)
    parser.add_argument("--sizes", default="800x600,3264x2448")
    options = parser.parse_args()
    sizes = options.sizes.split(",")
    if len(sizes) > 1:
        # Each in a process of its own: Django is set up once in a process, for one database
        for size in sizes:
            subprocess.run([sys.executable, "-m", "benchmarks.end_to_end", "--images", str(options.images), "--sizes", size], check=True)
        return
    for text in sizes:
        width, height = map(int, text.split("x"))
        with servers() as folder:
            from django.conf import settings

            from portal.registry import services as registry

            registry.ensure_baseline(bundle=settings.BASELINE_BUNDLE)
            figures = measure(options.images, (width, height), folder)
        print(
            f"{text}: {options.images} images; accepted {figures['accepted']:.1f}/s, end to end {figures['end_to_end']:.2f}/s, "
            f"bare analyzer {figures['bare']:.2f}/s, ratio {figures['ratio']:.2f}; largest process MB {figures['memory']}"
        )


if __name__ == "__main__":
    main()
