"""Real files of every sort, made on the fly."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import numpy as np
import pi_heif  # noqa: F401
from PIL import Image as Picture
from PIL.PngImagePlugin import PngInfo

MARKER = "SECRET-7731"


def scene(width: int = 160, height: int = 120) -> Picture.Image:
    """Red above, blue below: its upright is easy to tell."""
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[: height // 2] = (200, 40, 40)
    pixels[height // 2 :] = (40, 40, 200)
    return Picture.fromarray(pixels)


def textured(seed: int, width: int = 320, height: int = 240) -> Picture.Image:
    """Soft patches of reds: unlike any other seed's, and the same whatever its size."""
    patches = np.random.default_rng(seed).integers(0, 255, (9, 12, 3), dtype=np.uint8)
    patches[..., 0] |= 128
    return Picture.fromarray(patches).resize((width, height), Picture.Resampling.BICUBIC)


def encoded(picture: Picture.Image | None = None, format_: str = "JPEG", **options: Any) -> bytes:
    sink = io.BytesIO()
    (picture or scene()).save(sink, format_, **options)
    return sink.getvalue()


def exif(*, orientation: int = 1, captured: str = "2024:05:17 09:30:00", model: str = "EVA 3.0") -> Picture.Exif:
    data = Picture.Exif()
    data[0x0112], data[0x010F], data[0x0110], data[0x013B] = orientation, "MobileODT", model, MARKER
    data.get_ifd(0x8769)[0x9003] = captured
    data.get_ifd(0x8825)[0x001D] = MARKER
    return data


def with_metadata(format_: str) -> bytes:
    """The marker in every place where the format keeps words."""
    options: dict[str, Any] = {"exif": exif()}
    if format_ == "JPEG":
        options |= {"comment": MARKER, "xmp": f"<x>{MARKER}</x>".encode(), "quality": 90, "icc_profile": MARKER.encode() * 20}
    if format_ == "PNG":
        words = PngInfo()
        words.add_text("Comment", MARKER)
        words.add_itxt("XML:com.adobe.xmp", MARKER)
        options["pnginfo"] = words
    if format_ == "WEBP":
        options |= {"xmp": MARKER.encode(), "icc_profile": MARKER.encode() * 20}
    if format_ == "TIFF":
        options = {"description": MARKER, "software": MARKER, "exif": exif()}
    return encoded(None, format_, **options) + (MARKER.encode() if format_ == "JPEG" else b"")


def png_claiming(width: int, height: int) -> bytes:
    """A PNG of a few bytes whose header claims any size."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 1000)) + chunk(b"IEND", b"")


def sixteen_bits(format_: str = "PNG", *, top: int = 65535) -> bytes:
    ramp = np.linspace(0, top, 160 * 120).reshape(120, 160).astype(np.uint16)
    return encoded(Picture.fromarray(ramp), format_)


def dicom(*, frames: int = 1, photometric: str = "RGB") -> bytes:
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import UID, ExplicitVRLittleEndian, generate_uid

    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID = UID("1.2.840.10008.5.1.4.1.1.77.1.4")
    data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID = generate_uid()
    data.PatientName, data.PatientID, data.StudyDate, data.ContentTime = MARKER, MARKER, "20240517", "093000"
    data.Manufacturer, data.ManufacturerModelName = "Zeiss", "Kolposkop 150"
    pixels = np.asarray(scene() if photometric == "RGB" else scene().convert("L"))
    data.Rows, data.Columns = pixels.shape[:2]
    data.SamplesPerPixel = 3 if photometric == "RGB" else 1
    if photometric == "RGB":
        data.PlanarConfiguration = 0
    data.PhotometricInterpretation, data.PixelRepresentation = photometric, 0
    data.BitsAllocated = data.BitsStored = 8
    data.HighBit = 7
    if frames > 1:
        data.NumberOfFrames = frames
    data.PixelData = pixels.tobytes() * frames
    sink = io.BytesIO()
    data.save_as(sink, enforce_file_format=True)
    return sink.getvalue()
