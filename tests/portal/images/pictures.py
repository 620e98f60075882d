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


def tiff16(pixels: Any, *, photometric: int = 2) -> bytes:
    """A TIFF of 16 bits a channel, as it stands in the specification: Pillow writes none in colour."""
    height, width, channels = pixels.shape
    data = pixels.astype("<u2").tobytes()
    tags = [(256, 4, 1, width), (257, 4, 1, height), (258, 3, channels, 0), (259, 3, 1, 1), (262, 3, 1, photometric), (273, 4, 1, 0),
            (277, 3, 1, channels), (278, 4, 1, height), (279, 4, 1, len(data)), (284, 3, 1, 1)]  # fmt: skip
    bits = struct.pack(f"<{channels}H", *[16] * channels)
    behind = 8 + 2 + 12 * len(tags) + 4
    values = {258: behind if len(bits) > 4 else int.from_bytes(bits, "little"), 273: behind + len(bits)}
    entries = b"".join(struct.pack("<HHII", tag, kind, count, values.get(tag, value)) for tag, kind, count, value in tags)
    return b"".join([b"II*\0", struct.pack("<IH", 8, len(tags)), entries, struct.pack("<I", 0), bits, data])


def png16(pixels: Any) -> bytes:
    """A PNG of 16 bits a channel: grey, RGB or RGBA by the number of channels."""
    height, width, channels = pixels.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    kind = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    return png([(b"IHDR", struct.pack(">IIBBBBB", width, height, 16, kind, 0, 0, 0)), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")])


def png(chunks: Any) -> bytes:
    """A PNG of these chunks, each with a checksum that holds."""
    body = b"".join(struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks)
    return b"\x89PNG\r\n\x1a\n" + body


def tiff_pages(count: int) -> bytes:
    """A grey TIFF of so many pages, all of the same bytes."""
    data, body = bytes(64 * 48), bytearray()
    start = 8 + len(data)
    for number in range(count):
        values = ((256, 64), (257, 48), (258, 8), (259, 1), (262, 1), (273, 8), (277, 1), (278, 48), (279, len(data)))
        entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in values)
        follows = start + len(body) + 2 + len(entries) + 4
        body += struct.pack("<H", len(values)) + entries + struct.pack("<I", follows if number < count - 1 else 0)
    return b"II*\0" + struct.pack("<I", start) + data + bytes(body)


def dicom_of(
    pixels: Any, photometric: str, *, syntax: str = "1.2.840.10008.1.2.1", stored: int = 0, raw: bytes = b"", **more: Any
) -> bytes:
    """A DICOM file of these pixels, or of `raw` in a compressed syntax."""
    from pydicom import dcmread
    from pydicom.encaps import encapsulate
    from pydicom.uid import UID

    data = dcmread(io.BytesIO(dicom()))
    data.file_meta.TransferSyntaxUID = UID(syntax)
    bits = 8 * pixels.dtype.itemsize
    data.Rows, data.Columns = pixels.shape[:2]
    data.SamplesPerPixel = pixels.shape[2] if pixels.ndim == 3 else 1
    data.PhotometricInterpretation = photometric
    data.BitsAllocated, data.BitsStored = bits, stored or bits
    data.HighBit = (stored or bits) - 1
    for name, value in more.items():
        setattr(data, name, value)
        if name.endswith("Descriptor"):
            data[name].VR = "US"
    data.PixelData = encapsulate([raw]) if raw else pixels.tobytes()
    data["PixelData"].VR = "OB" if bits == 8 else "OW"
    data["PixelData"].is_undefined_length = bool(raw)
    sink = io.BytesIO()
    data.save_as(sink, enforce_file_format=True)
    return sink.getvalue()
