"""A clean picture from an untrusted file: decoded in a limited child process, upright, rebuilt from pixels. Pure: no Django.

A fork of an io worker costs 20 ms of processor time, so a batch is first given to one child (`portal.images.child`); whatever does
not come out of it well is judged alone, in a child of its own.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import select
import signal
import time
import uuid
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

from PIL import Image

from portal.images import child
from portal.images.child import MEMORY, Limits, address_space
from portal.images.decode import decode
from portal.images.decoded import Decoded, Unfit, moment
from portal.images.formats import ACCEPTED_WORDS, refusal, sniff
from portal.images.likeness import look
from portal.images.whole import require_whole

THUMB_SIDE = 320
_OF_THE_FILE = frozenset({errno.EFBIG, errno.ENOMEM, errno.EINVAL, errno.EOVERFLOW})
"""Errors of the system that a file brings about by its size or its lies; all others are the store's."""
_MOST_SAID = 1_000_000
"""Bytes of a child's answers: one that a file has taken over shall not fill the parent."""


@dataclass(frozen=True, slots=True)
class Cleaned:
    """Two new files in the folder that the caller named, and what the source said of itself."""

    picture: Path
    thumb: Path
    format: str
    clean_format: str
    width: int
    height: int
    captured: datetime | None
    device: str
    notes: tuple[str, ...] = ()
    phash: str = ""
    sketch: str = ""
    """As hexadecimal digits: what a child says goes through JSON."""


@dataclass(frozen=True, slots=True)
class Refused:
    """Why there is no clean picture. `again` is true where the file may be good and another try may help."""

    code: str
    message: str
    again: bool = False


DAMAGED = Refused("damaged", "The picture is damaged or was not copied completely. Copy it from the camera again.")
TOO_LARGE = Refused("too_large", "The picture is too large to open here. Send it with fewer pixels.")
TOO_SLOW = Refused("too_slow", "Opening the picture took too long. Send it as an ordinary JPEG or PNG.", again=True)
CRASHED = Refused("crashed", "The picture made its decoder fail. Send it as an ordinary JPEG or PNG.", again=True)
_Work = Callable[[Path, Path], Cleaned]
"""(source, stem of the files to make) -> what was made."""
_Task = Callable[[int], Iterable[dict[str, Any]]]
"""Memory limit -> the answers, one by one."""


def clean(path: Path, out: Path, *, limits: Limits = Limits(), work: _Work | None = None) -> Cleaned | Refused:
    """Make the clean picture and the thumbnail of `path` in the folder `out`. Never raises for what the file holds.

    `work` replaces the decoding, for tests of the limits.
    """
    with open(path, "rb") as file:
        if reason := refusal(file.read(512)):
            return Refused("not_a_picture", reason)
    stem = out / uuid.uuid4().hex
    answer = _judge(stem, *_in_child(lambda memory: [_answer(path, stem, memory, work or make)], limits))
    if isinstance(answer, Refused):
        for left in out.glob(f"{stem.name}.*"):
            left.unlink()
    return answer


def clean_together(paths: Sequence[Path], out: Path, *, limits: Limits = Limits()) -> dict[Path, Cleaned]:
    """What one child made of these files, under the limits of a single one. The others are to be asked about by `clean`, one by one."""
    stems = {path: out / uuid.uuid4().hex for path in paths}
    said, _, _ = _in_child(lambda memory: (_answer(path, stem, memory, make) for path, stem in stems.items()), limits)
    lines = said.split(b"\n")[:-1]
    answers = {path: _judge(stems[path], line, False, 0) for path, line in zip(stems, lines, strict=False)}
    made = {path: answer for path, answer in answers.items() if isinstance(answer, Cleaned)}
    for path in stems.keys() - made.keys():
        for left in out.glob(f"{stems[path].name}.*"):
            left.unlink()
    return made


def _in_child(task: _Task, limits: Limits) -> tuple[bytes, bool, int]:
    """Run `task(memory limit)` in a limited child: (what it said, a line an answer, whether the wall limit came first, its wait status)."""

    def speak(memory: int, write_end: int) -> None:
        for said in task(memory):
            os.write(write_end, json.dumps(said, default=str).encode() + b"\n")

    _warm()
    pid, read_end = child.start(speak, limits)
    try:
        said, timed_out = _listen(read_end, time.monotonic() + limits.wall)
    finally:
        os.close(read_end)
        status = child.reap(pid)
    return said, timed_out, status


@cache
def _warm() -> None:
    """What Python imports at a first use is imported here, before the first child: each would do it anew, for 110 ms (docs/LOG.md)."""
    Image.init()
    look(Image.new("RGB", (64, 64)))
    moment("2000:01:01", "%Y:%m:%d")


def make(path: Path, stem: Path) -> Cleaned:
    """The work of the child: decode and write. Raises Unfit and whatever decoders raise."""
    with open(path, "rb") as file:
        format_ = sniff(file.read(512))
    decoded = decode(path, format_)
    clean_format = "png" if decoded.lossless else "jpg"
    picture, thumb = _files(stem, clean_format)
    width, height = decoded.picture.size
    _write(decoded, picture, thumb)
    seen = look(decoded.picture)
    return Cleaned(
        picture, thumb, format_, clean_format, width, height, decoded.captured, decoded.device, tuple(decoded.notes),
        phash=seen.phash, sketch=seen.sketch.hex(),
    )  # fmt: skip


def _write(decoded: Decoded, picture: Path, thumb: Path) -> None:
    """Both files; the picture in hand is the thumbnail afterwards."""
    if decoded.lossless:
        decoded.picture.save(picture, "PNG", compress_level=1)
    else:
        decoded.picture.save(picture, "JPEG", quality=95, subsampling=0)
    decoded.picture.thumbnail((THUMB_SIDE, THUMB_SIDE), Image.Resampling.LANCZOS, reducing_gap=1.0)
    decoded.picture.save(thumb, "JPEG", quality=85)
    for made in (picture, thumb):
        require_whole(made)


def _answer(path: Path, stem: Path, memory: int, work: _Work) -> dict[str, Any]:
    try:
        return {"cleaned": asdict(work(path, stem))}
    except Unfit as error:
        return {"refused": asdict(Refused(error.code, error.message))}
    except MemoryError:
        return {"refused": asdict(TOO_LARGE)}
    except OSError as error:
        if error.errno is not None and error.errno not in _OF_THE_FILE:
            # the disk and not the file: full, or gone
            return {"refused": asdict(Refused("storage", f"The store could not be written ({os.strerror(error.errno)}).", again=True))}
        return {"refused": asdict(_damaged_or_too_large(path, memory, str(error)))}
    except Exception as error:
        return {"refused": asdict(_damaged_or_too_large(path, memory, str(error)))}


def _damaged_or_too_large(path: Path, memory: int, error: str) -> Refused:
    """Decoders say 'broken' when memory runs out. Near the limit the word is 'too large', never 'damaged'."""
    if "truncated" in error:
        return DAMAGED
    with contextlib.suppress(Exception), Image.open(path) as header:
        width, height = header.size
        # the decoders' own buffers: up to 20 bytes a pixel (WebP)
        if address_space("VmPeak") + width * height * 8 > memory:
            return replace(TOO_LARGE, message=f"The picture ({width} x {height} pixels) is too large to open here. Send it smaller.")
    # measured from the limit down: a parent that is large itself leaves the child the same room
    return TOO_LARGE if memory - address_space("VmPeak") < 0.2 * min(memory, MEMORY) else DAMAGED


def _listen(read_end: int, deadline: float) -> tuple[bytes, bool]:
    """Everything the child says until it closes its end, or has said too much; and whether the wall limit came first."""
    said = b""
    while len(said) < _MOST_SAID and (left := deadline - time.monotonic()) > 0:
        if not select.select([read_end], [], [], left)[0]:
            break
        part = os.read(read_end, 65_536)
        if not part:
            return said, False
        said += part
    return said, len(said) < _MOST_SAID


def _judge(stem: Path, answer: bytes, timed_out: bool, status: int) -> Cleaned | Refused:
    """What the child said, where it makes sense. Which files it made is known here and not asked: a file may have taken it over."""
    if timed_out or (os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGXCPU):
        return TOO_SLOW
    try:
        said = json.loads(answer)
        if "refused" in said:
            return Refused(**said["refused"])
        facts = said["cleaned"]
        facts["picture"], facts["thumb"] = _files(stem, facts["clean_format"])
        facts["captured"] = datetime.fromisoformat(facts["captured"]) if facts["captured"] else None
        return Cleaned(**{**facts, "notes": tuple(facts["notes"])})
    except (ValueError, TypeError, KeyError):
        return CRASHED


def _files(stem: Path, clean_format: str) -> tuple[Path, Path]:
    if clean_format not in ("jpg", "png"):
        raise ValueError(clean_format)
    return stem.with_suffix(f".{clean_format}"), stem.with_suffix(".thumb.jpg")


__all__ = [
    "ACCEPTED_WORDS",
    "CRASHED",
    "DAMAGED",
    "TOO_LARGE",
    "TOO_SLOW",
    "Cleaned",
    "Limits",
    "Refused",
    "clean",
    "clean_together",
    "make",
]
