"""From a file to arrays: decoding, cropping, resizing. Shared by training and inference, so that both see the same pixels."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from inference.types import Box

Pixels = NDArray[np.uint8]

MAX_PIXELS = 50_000_000
FORMATS = frozenset({"JPEG", "MPO", "PNG", "TIFF", "WEBP", "GIF", "BMP", "HEIF"})
CROP_MARGIN = 0.10
"""The paper crops to the cervix with a tenth of the box on every side."""
DECODE_LONG_SIDE = 1024
"""JPEG may be decoded at a half, quarter or eighth, as long as the longer side keeps this many pixels (METHODS 1: 83 ms become 40 ms)."""


class DecodeError(ValueError):
    """A file that cannot be analysed; `code` for machines, the message for people."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True)
class Picture:
    """A decoded photograph, upright and RGB. `image` may be smaller than the file's upright `width` x `height`; boxes are in the latter."""

    image: Image.Image
    width: int
    height: int


def _register_heif() -> None:
    try:
        from pi_heif import register_heif_opener
    except ImportError:
        return
    register_heif_opener()


_register_heif()


def decode(path: Path) -> Picture:
    """Decode one file by its content, whatever its name: first frame, upright, RGB, 8 bits.

    Raises DecodeError with code `missing`, `empty`, `not_an_image`, `unsupported_format`, `too_large` (above 50 megapixels, read from
    the header before any pixel is decoded) or `damaged`.
    """
    try:
        if path.stat().st_size == 0:
            raise DecodeError("empty", "The file is empty (0 bytes). Send it again.")
    except OSError as error:
        raise DecodeError("missing", f"The file cannot be opened: {error.strerror}.") from error
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(path) as opened:
                return _load(opened)
    except DecodeError:
        raise
    except Image.DecompressionBombError as error:
        raise _too_large() from error
    except UnidentifiedImageError as error:
        raise DecodeError("not_an_image", "The file is not a picture in a known format. Send JPEG, PNG, TIFF, WebP or HEIC.") from error
    except MemoryError as error:
        raise DecodeError("too_large", "The picture does not fit into memory. Send a smaller one.") from error
    except Exception as error:  # Pillow's decoders raise OSError, SyntaxError, struct.error, ... on damaged files
        raise DecodeError("damaged", f"The picture is damaged or cut short ({type(error).__name__}). Send it again.") from error


def _too_large() -> DecodeError:
    return DecodeError("too_large", f"The picture has more than {MAX_PIXELS // 1_000_000} megapixels. Send a smaller one.")


def _load(opened: Image.Image) -> Picture:
    if opened.format not in FORMATS:
        raise DecodeError("unsupported_format", f"{opened.format} pictures are not accepted. Send JPEG, PNG, TIFF, WebP or HEIC.")
    width, height = opened.size
    if width * height > MAX_PIXELS:
        raise _too_large()
    quarter_turned = opened.getexif().get(0x0112, 1) in (5, 6, 7, 8)
    if opened.format in ("JPEG", "MPO") and opened.mode == "RGB":
        scale = max(width, height) / DECODE_LONG_SIDE
        if scale > 1:
            opened.draft("RGB", (round(width / scale), round(height / scale)))
    opened.load()
    upright = ImageOps.exif_transpose(opened)
    if quarter_turned:
        width, height = height, width
    return Picture(image=_to_rgb(upright), width=width, height=height)


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I") or image.mode == "F":
        return _eight_bits(image).convert("RGB")
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        ground = Image.new("RGBA", image.size, (0, 0, 0, 255))
        return Image.alpha_composite(ground, image.convert("RGBA")).convert("RGB")
    return image.convert("RGB")


def _eight_bits(image: Image.Image) -> Image.Image:
    """Grey of 16 or 32 bits to 8, by the range of the type and not of the picture: per-image stretching would move the brightness."""
    values = np.asarray(image, dtype=np.float64)
    top = float(values.max(initial=0.0))
    full = 1.0 if image.mode == "F" and top <= 1.0 else 255.0 if top <= 255.0 else 65535.0 if top <= 65535.0 else 2.0**32 - 1
    return Image.fromarray(np.clip(np.nan_to_num(values) * (255.0 / full), 0, 255).astype(np.uint8))


def letterbox(picture: Picture, size: int) -> tuple[Pixels, float]:
    """The whole picture in the upper left of a black `size` x `size` square, aspect kept.

    Returns the pixels (size, size, 3) and the factor from pixels of the upright file to pixels of the square.
    A square of fixed size makes every picture's answer independent of what else is in its batch.
    """
    factor = size / max(picture.width, picture.height)
    inner = (max(1, round(picture.width * factor)), max(1, round(picture.height * factor)))
    square = np.zeros((size, size, 3), dtype=np.uint8)
    square[: inner[1], : inner[0]] = np.asarray(picture.image.resize(inner, Image.Resampling.BILINEAR, reducing_gap=3.0))
    return square, factor


def crop_to(picture: Picture, box: Box | None, size: int, *, margin: float = CROP_MARGIN) -> Pixels:
    """The box with `margin` of its size on every side (clipped to the picture), squeezed to (size, size, 3). No box: the whole frame."""
    region = region_of(picture, box, margin)
    sx, sy = picture.image.width / picture.width, picture.image.height / picture.height
    inside = (region[0] * sx, region[1] * sy, min(region[2] * sx, picture.image.width), min(region[3] * sy, picture.image.height))
    return np.asarray(picture.image.resize((size, size), Image.Resampling.BILINEAR, box=inside, reducing_gap=3.0), dtype=np.uint8)


def region_of(picture: Picture, box: Box | None, margin: float = CROP_MARGIN) -> tuple[float, float, float, float]:
    """What `crop_to` cuts out: (x0, y0, x1, y1) in pixels of the upright file."""
    if box is None:
        return 0.0, 0.0, float(picture.width), float(picture.height)
    return with_margin(box, picture.width, picture.height, margin)


def with_margin(box: Box, width: int, height: int, margin: float = CROP_MARGIN) -> tuple[float, float, float, float]:
    """The box grown by `margin` of its own size on every side, clipped to the picture, at least 2 px wide and high."""
    dx, dy = margin * (box.x1 - box.x0), margin * (box.y1 - box.y0)
    x0, y0 = min(max(box.x0 - dx, 0.0), width - 2.0), min(max(box.y0 - dy, 0.0), height - 2.0)
    return max(x0, 0.0), max(y0, 0.0), min(max(box.x1 + dx, x0 + 2.0), float(width)), min(max(box.y1 + dy, y0 + 2.0), float(height))
