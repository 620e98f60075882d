"""From a file to one upright RGB picture. Runs only in the sanitiser's limited child. Pure: Pillow, pi_heif, pydicom, numpy.

Whatever the file holds beside pixels is read here for the few facts that are returned as data, and then left behind.
"""

from __future__ import annotations

import io
import warnings
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pi_heif
import pydicom
from PIL import Image, ImageCms, ImageOps
from PIL.ExifTags import IFD, Base
from pydicom.pixels.processing import apply_voi_lut
from pydicom.pixels.utils import pixel_array

MAX_PIXELS = 50_000_000
MIN_SIDE = 32
_PLUGINS = {"JPEG": ["JPEG", "MPO"], "PNG": ["PNG"], "TIFF": ["TIFF"], "WebP": ["WEBP"], "HEIC": ["HEIF"]}
_LOSSY_TIFF = {"jpeg", "tiff_jpeg", "webp"}
_LOSSY_DICOM = {".50", ".51", ".81", ".91"}
"""Endings of the transfer syntaxes 1.2.840.10008.1.2.4.x that lose detail."""

Image.MAX_IMAGE_PIXELS = None  # the ceiling below is read from the header, before a pixel is decoded
pi_heif.register_heif_opener(thumbnails=False)


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


def decode(path: Path, format_: str) -> Decoded:
    """Decode a file of a known format. Raises Unfit, MemoryError, or whatever the decoder throws at damaged data."""
    warnings.simplefilter("ignore")
    return _dicom(path) if format_ == "DICOM" else _pillow(path, format_)


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


def _pillow(path: Path, format_: str) -> Decoded:
    source = Image.open(path, formats=_PLUGINS[format_])
    refuse_size(*source.size)
    exif = source.getexif()
    found = Decoded(source, _is_lossless(source, path, format_), _captured(exif), _device(exif))
    # a phone's JPEG may carry a second, hidden picture; it is no animation
    frames = 1 if format_ == "JPEG" else getattr(source, "n_frames", 1)
    if frames > 1:
        found.notes.append(f"The file holds {frames} pictures; the first was taken.")
    profile = source.info.get("icc_profile")
    source.load()
    ImageOps.exif_transpose(source, in_place=True)
    # from here on only the pixels: the open file and its decoder hold hundreds of megabytes
    found.picture = source._new(source.im)
    del source
    found.picture = _to_rgb(found.picture, profile, found.notes)
    _forget(found.picture)
    return found


def _is_lossless(source: Image.Image, path: Path, format_: str) -> bool:
    if format_ == "TIFF":
        return str(source.info.get("compression", "raw")) not in _LOSSY_TIFF
    if format_ == "WebP":
        with open(path, "rb") as file:
            head = file.read(1 << 16)
        return b"VP8L" in head and b"VP8 " not in head
    return format_ == "PNG"


def _to_rgb(picture: Image.Image, profile: bytes | None, notes: list[str]) -> Image.Image:
    """Any mode to RGB: depth scaled, colours by the profile, transparency on white."""
    if picture.mode.startswith("I") or picture.mode == "F":
        notes.append("More than 8 bits a channel; scaled to 8.")
        picture = _eight_bits(np.asarray(picture))
    if picture.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in picture.info:
        picture = _on_white(picture, notes)
    if profile and picture.mode in ("RGB", "CMYK"):
        picture = _by_profile(picture, profile)
    return picture if picture.mode == "RGB" else picture.convert("RGB")


def _eight_bits(pixels: np.ndarray[Any, Any]) -> Image.Image:
    """Scale by the depth that the values use: cameras put 12 bits in 16, and a fixed division would leave them dark."""
    values = pixels.astype(np.float32)
    top = float(values.max(initial=0))
    full = next((f for f in (1.0, 255.0, 4095.0, 65535.0) if top <= f), top)
    return Image.fromarray((values.clip(0) * (255.0 / full) + 0.5).astype(np.uint8))


def _on_white(picture: Image.Image, notes: list[str]) -> Image.Image:
    """What was transparent was not seen; dropping the channel would show what lies under it."""
    seen = picture.convert("RGBA")
    if seen.getchannel("A").getextrema() == (255, 255):
        return seen.convert("RGB")
    notes.append("Transparent parts became white.")
    white = Image.new("RGB", seen.size, "white")
    white.paste(seen, mask=seen.getchannel("A"))
    return white


def _by_profile(picture: Image.Image, profile: bytes) -> Image.Image:
    """Colours as the file's profile means them, in sRGB, because the profile itself does not survive."""
    try:
        meant = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if picture.mode == "RGB" and "sRGB" in ImageCms.getProfileDescription(meant):
            return picture
        return ImageCms.profileToProfile(picture, meant, ImageCms.createProfile("sRGB"), outputMode="RGB") or picture
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        # the profile is damaged or none: the numbers are taken as they are
        return picture


def _forget(picture: Image.Image) -> None:
    """Leave the pixels alone: comment, profile, resolution and the like are what an encoder would write again."""
    assert type(picture) is Image.Image
    picture.info = {}
    picture.getexif().clear()


def _captured(exif: Image.Exif) -> datetime | None:
    written = exif.get_ifd(IFD.Exif).get(Base.DateTimeOriginal) or exif.get(Base.DateTime)
    return _moment(str(written or ""), "%Y:%m:%d %H:%M:%S")


def _moment(text: str, shape: str) -> datetime | None:
    """A camera whose clock was never set says 0000, 1970 or 2000-01-01: that is no date."""
    try:
        found = datetime.strptime(text.strip("\0 ")[:19], shape).replace(tzinfo=UTC)
    except ValueError:
        return None
    return found if datetime(1990, 1, 1, tzinfo=UTC) < found and (found.year, found.month, found.day) != (2000, 1, 1) else None


def _device(exif: Image.Exif) -> str:
    return _joined(exif.get(Base.Make), exif.get(Base.Model))


def _joined(make: object, model: object) -> str:
    """'NIKON CORPORATION' and 'NIKON D90' are one name, not two."""
    first, second = (" ".join("".join(c for c in str(v or "") if c.isprintable()).split()) for v in (make, model))
    return (second if first and second.startswith(first.split()[0]) else f"{first} {second}".strip())[:120]


def _dicom(path: Path) -> Decoded:
    try:
        header = pydicom.dcmread(path, stop_before_pixels=True)
    except MemoryError:
        # a damaged length asks for gigabytes that the file does not have
        raise ValueError("damaged DICOM header") from None
    rows, columns = int(header.get("Rows", 0)), int(header.get("Columns", 0))
    if not rows or not columns:
        raise Unfit("no_picture", "The DICOM file holds no picture. Send the object that holds the photograph.")
    refuse_size(columns, rows)
    data = pydicom.dcmread(path)
    notes = []
    frames = int(data.get("NumberOfFrames") or 1)
    if frames > 1:
        notes.append(f"The file holds {frames} pictures; the first was taken.")
    pixels = pixel_array(data, index=0)
    picture = Image.fromarray(pixels) if pixels.dtype == np.uint8 and pixels.ndim == 3 else _grey(data, pixels)
    stamp = str(data.get("AcquisitionDateTime") or f"{data.get('ContentDate') or data.get('StudyDate', '')}{data.get('ContentTime') or ''}")
    captured = _moment(stamp[:14], "%Y%m%d%H%M%S") or _moment(stamp[:8], "%Y%m%d")
    device = _joined(data.get("Manufacturer"), data.get("ManufacturerModelName"))
    syntax = str(data.file_meta.TransferSyntaxUID)
    return Decoded(picture.convert("RGB"), syntax[-3:] not in _LOSSY_DICOM, captured, device, notes)


def _grey(data: pydicom.Dataset, pixels: np.ndarray[Any, Any]) -> Image.Image:
    windowed = apply_voi_lut(pixels, data) if pixels.ndim == 2 else pixels
    values = windowed.astype(np.float32) - float(windowed.min())
    if data.get("PhotometricInterpretation") == "MONOCHROME1":
        values = values.max() - values
    top = float(values.max()) or 1.0
    return Image.fromarray((values * (255.0 / top)).astype(np.uint8))
