"""The photograph in a DICOM file (secondary capture, VL photographic and others): its pixels as they are meant, none of its words. Pure."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from PIL import Image
from pydicom.pixels.decoders.base import get_decoder
from pydicom.pixels.processing import apply_color_lut, apply_modality_lut, apply_voi_lut
from pydicom.pixels.utils import pixel_array

from portal.images.decoded import Decoded, Unfit, joined, moment, refuse_size

_LOSSY = {".50", ".51", ".81", ".91"}
"""Endings of the transfer syntaxes 1.2.840.10008.1.2.4.x that lose detail."""
_VIDEO = tuple(f"1.2.840.10008.1.2.4.{number}" for number in range(100, 109))


def decode(path: Path) -> Decoded:
    """The first picture of the file. Raises Unfit, MemoryError, or whatever pydicom throws at damaged data."""
    data = _open(path)
    notes = []
    frames = int(data.get("NumberOfFrames") or 1)
    if frames > 1:
        notes.append(f"The file holds {frames} pictures; the first was taken.")
    picture = Image.fromarray(_eight_bits(data, pixel_array(data, index=0), notes))
    stamp = str(data.get("AcquisitionDateTime") or f"{data.get('ContentDate') or data.get('StudyDate', '')}{data.get('ContentTime') or ''}")
    captured = moment(stamp[:14], "%Y%m%d%H%M%S") or moment(stamp[:8], "%Y%m%d")
    device = joined(data.get("Manufacturer"), data.get("ManufacturerModelName"))
    return Decoded(picture.convert("RGB"), str(data.file_meta.TransferSyntaxUID)[-3:] not in _LOSSY, captured, device, notes)


def _open(path: Path) -> pydicom.Dataset:
    """The whole file, once its header says that it holds a picture of a size and a sort that are read here."""
    try:
        header = pydicom.dcmread(path, stop_before_pixels=True)
    except MemoryError:
        # a damaged length asks for gigabytes that the file does not have
        raise ValueError("damaged DICOM header") from None
    rows, columns = int(header.get("Rows", 0)), int(header.get("Columns", 0))
    syntax = str(header.file_meta.TransferSyntaxUID)
    if syntax.startswith(_VIDEO):
        raise Unfit("video", "The DICOM file holds a video. Send single photographs.")
    if rows and columns:
        refuse_size(columns, rows)
        _refuse_syntax(header)
    data = pydicom.dcmread(path)
    if not rows or not columns or "PixelData" not in data:
        raise Unfit("no_picture", "The DICOM file holds no picture. Send the object that holds the photograph.")
    return data


def _refuse_syntax(header: pydicom.Dataset) -> None:
    """Some compressions are legal and read by nobody here; the file is not damaged, and the clinic can export it otherwise."""
    syntax = header.file_meta.TransferSyntaxUID
    if syntax.is_compressed and syntax.is_encapsulated and not get_decoder(syntax).is_available:
        raise Unfit(
            "compression", f"The DICOM file is compressed as {syntax.name}, which is not read here. Export it uncompressed or as JPEG."
        )


def _eight_bits(data: pydicom.Dataset, pixels: np.ndarray[Any, Any], notes: list[str]) -> np.ndarray[Any, Any]:
    """Grey or RGB in 8 bits, by what the file says of its values: never stretched, so that dark pictures stay dark."""
    if data.PhotometricInterpretation == "PALETTE COLOR":
        return _scaled(apply_color_lut(pixels, data), 65535 if int(data.RedPaletteColorLookupTableDescriptor[2]) > 8 else 255)
    full = 2 ** int(data.BitsStored) - 1
    if pixels.ndim == 3:
        return pixels if pixels.dtype == np.uint8 else _scaled(pixels, full, notes)
    values = apply_voi_lut(apply_modality_lut(pixels, data), data).astype(np.float32)
    rescaled = (float(data.get("RescaleSlope") or 1), float(data.get("RescaleIntercept") or 0)) != (1, 0)
    if rescaled or data.get("PixelRepresentation"):
        # another scale than that of the stored values: its own ends are black and white
        values -= float(values.min())
        full = float(values.max()) or 1.0
    if data.PhotometricInterpretation == "MONOCHROME1":
        values = full - values
    return _scaled(values, full, notes if int(data.BitsStored) > 8 else None)


def _scaled(values: np.ndarray[Any, Any], full: float, notes: list[str] | None = None) -> np.ndarray[Any, Any]:
    if notes is not None:
        notes.append("More than 8 bits a channel; scaled to 8.")
    return (values.clip(0, full).astype(np.float32) * (255.0 / full) + 0.5).astype(np.uint8)
