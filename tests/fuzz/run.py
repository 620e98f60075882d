"""One process that has mutants judged as a worker does, and counts what became of them."""

from __future__ import annotations

import itertools
import resource
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from PIL import Image as Picture

from portal.images import child, sanitise
from portal.images.sanitise import Cleaned, Limits
from tests.fuzz.mutations import mutants

BATCH = 8
LIMITS = Limits(cpu=5, wall=20)


@dataclass
class Tally:
    """Memory in megabytes: how much the parent grew, and the most that any child had in hand."""

    judged: int = 0
    outcomes: dict[str, int] = field(default_factory=dict)
    seconds: float = 0
    slowest: float = 0
    parent_grew_mb: float = 0
    largest_child_mb: float = 0
    left_behind: int = 0
    unreadable: int = 0
    """Clean pictures that are none: always 0."""

    def lines(self) -> list[str]:
        return [f"{name.replace('_', ' '):<20} {value}" for name, value in asdict(self).items()]


def judge(sources: Sequence[bytes], count: int, *, seed: int, say: Callable[[Tally], None] = lambda _: None) -> Tally:
    """Judge so many mutants. Whatever they hold, this returns."""
    tally, outcomes, began = Tally(), Counter[str](), time.monotonic()
    before = child.address_space("VmRSS")
    with tempfile.TemporaryDirectory(prefix="fuzz-") as name:
        folder, out = Path(name), Path(name) / "out"
        out.mkdir()
        made = mutants(sources, seed=seed)
        while tally.judged < count:
            batch = list(itertools.islice(made, min(BATCH, count - tally.judged)))
            started = time.monotonic()
            outcomes.update(_judge_batch(batch, folder, out, tally))
            tally.slowest = round(max(tally.slowest, time.monotonic() - started), 1)
            tally.judged += len(batch)
            tally.seconds, tally.outcomes = round(time.monotonic() - began, 1), dict(sorted(outcomes.items()))
            say(tally)
    tally.parent_grew_mb = round((child.address_space("VmRSS") - before) / 1e6, 1)
    tally.largest_child_mb = round(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024 / 1e6, 1)
    return tally


def _judge_batch(batch: Sequence[bytes], folder: Path, out: Path, tally: Tally) -> list[str]:
    paths = [folder / str(number) for number in range(len(batch))]
    for path, data in zip(paths, batch, strict=True):
        path.write_bytes(data)
    together = sanitise.clean_together(paths, out, limits=LIMITS)
    answers = [together.get(path) or sanitise.clean(path, out, limits=LIMITS) for path in paths]
    for answer in answers:
        if isinstance(answer, Cleaned):
            tally.unreadable += not _is_picture(answer)
            answer.picture.unlink()
            answer.thumb.unlink()
    tally.left_behind += sum(1 for _ in out.iterdir())
    return ["clean" if isinstance(answer, Cleaned) else answer.code for answer in answers]


def _is_picture(made: Cleaned) -> bool:
    with Picture.open(made.picture, formats=["JPEG", "PNG"]) as picture:
        return picture.mode == "RGB" and picture.size == (made.width, made.height) and not picture.getexif()
