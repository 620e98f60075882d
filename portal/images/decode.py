"""From a file to one upright RGB picture. Runs only in the sanitiser's limited child. Pure: Pillow, pi_heif, numpy; DICOM beside it.

Whatever the file holds beside pixels is read here for the few facts that are returned as data, and then left behind.
"""

from __future__ import annotations

import io
import warnings
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pi_heif
from PIL import Image, ImageCms, ImageOps
from PIL.ExifTags import IFD, Base

from portal.images import dicom
from portal.images.decoded import Decoded, Unfit, joined, moment, refuse_size

MAX_FRAMES = 100
"""So many are counted: a file of millions of pages would keep the counting busy for minutes."""
_PLUGINS = {"JPEG": ["JPEG", "MPO"], "PNG": ["PNG"], "TIFF": ["TIFF"], "WebP": ["WEBP"], "HEIC": ["HEIF"]}
_BITS, _PHOTOMETRIC = 258, 262
_LOSSY_TIFF = {"jpeg", "tiff_jpeg", "webp"}

Image.MAX_IMAGE_PIXELS = None  # the ceiling below is read from the header, before a pixel is decoded
pi_heif.register_heif_opener(thumbnails=False)


def decode(path: Path, format_: str) -> Decoded:
    """Decode a file of a known format. Raises Unfit, MemoryError, or whatever the decoder throws at damaged data."""
    warnings.simplefilter("ignore")
    return dicom.decode(path) if format_ == "DICOM" else _pillow(path, format_)


def _pillow(path: Path, format_: str) -> Decoded:
    source = Image.open(path, formats=_PLUGINS[format_])
    refuse_size(*source.size)
    exif = source.getexif()
    found = Decoded(source, _is_lossless(source, path, format_), _captured(exif), _device(exif))
    if (frames := _frames(source, format_)) > 1:
        most = "more than " if frames > MAX_FRAMES else ""
        found.notes.append(f"The file holds {most}{min(frames, MAX_FRAMES)} pictures; the first was taken.")
    profile = source.info.get("icc_profile")
    source.load()
    _refuse_lost_depth(source)
    inverted = source.mode.startswith("I") and _tag(source, _PHOTOMETRIC) == 0
    ImageOps.exif_transpose(source, in_place=True)
    # from here on only the pixels: the open file and its decoder hold hundreds of megabytes
    found.picture = source._new(source.im)
    del source
    found.picture = _to_rgb(found.picture, profile, found.notes)
    if inverted:
        found.picture = ImageOps.invert(found.picture)
    _forget(found.picture)
    return found


def _frames(source: Image.Image, format_: str) -> int:
    """How many pictures the file holds, counted to one more than MAX_FRAMES."""
    if format_ != "TIFF":
        # a phone's JPEG may carry a second, hidden picture; it is no animation
        return 1 if format_ == "JPEG" else int(getattr(source, "n_frames", 1))
    frames = 1
    try:
        while frames <= MAX_FRAMES:
            source.seek(frames)
            frames += 1
    except EOFError:
        pass
    source.seek(0)
    return frames


def _tag(source: Image.Image, number: int) -> Any:
    """A tag of a TIFF; None in other formats."""
    return getattr(source, "tag_v2", {}).get(number)


def _refuse_lost_depth(source: Image.Image) -> None:
    """Of 16 bits a colour channel Pillow keeps the upper 8. Where a camera wrote 12 into 16, hardly anything would be left."""
    bits = _tag(source, _BITS)
    if not (isinstance(bits, tuple) and max(bits) > 8 and source.mode == "RGB"):
        return
    if int(np.max(source.getextrema())) < 16:
        words = "The colours of this picture use a part of 16 bits only, and would come out black. Send it with 8 bits a channel."
        raise Unfit("lost_depth", words)


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
    return moment(str(written or ""), "%Y:%m:%d %H:%M:%S")


def _device(exif: Image.Exif) -> str:
    return joined(exif.get(Base.Make), exif.get(Base.Model))
