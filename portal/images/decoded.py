"""What a decoder hands over: an upright RGB picture, and the few facts that are kept of the file. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime

from PIL import Image

MAX_PIXELS = 50_000_000
MIN_SIDE = 32


class Unfit(Exception):
    """The file cannot become a clean picture. `code` for machines, the message for a clinic."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code, self.message = code, message


@dataclass(slots=True)
class Decoded:
    """An upright RGB picture without any metadata, and the facts taken from the file."""

    picture: Image.Image
    lossless: bool
    captured: datetime | None = None
    device: str = ""
    notes: list[str] = field(default_factory=list)


def refuse_size(width: int, height: int) -> None:
    """The ceiling and the floor, by the header's word alone."""
    if width * height > MAX_PIXELS:
        raise Unfit(
            "too_large",
            f"The picture has {width} x {height} pixels ({width * height / 1e6:.0f} megapixels); at most {MAX_PIXELS // 10**6} are taken. "
            "Send it smaller.",
        )
    if min(width, height) < MIN_SIDE:
        raise Unfit("too_small", f"The picture has only {width} x {height} pixels. Send the photograph itself, not an icon of it.")


def moment(text: str, shape: str) -> datetime | None:
    """A camera whose clock was never set says 0000, 1970 or 2000-01-01: that is no date."""
    try:
        found = datetime.strptime(text.strip("\0 ")[:19], shape).replace(tzinfo=UTC)
    except ValueError:
        return None
    return found if datetime(1990, 1, 1, tzinfo=UTC) < found and (found.year, found.month, found.day) != (2000, 1, 1) else None


def joined(make: object, model: object) -> str:
    """'NIKON CORPORATION' and 'NIKON D90' are one name, not two."""
    first, second = (" ".join("".join(c for c in str(v or "") if c.isprintable()).split()) for v in (make, model))
    return (second if first and second.startswith(first.split()[0]) else f"{first} {second}".strip())[:120]
