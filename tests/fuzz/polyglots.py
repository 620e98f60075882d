"""Files that are a picture to one reader and something else to another. Every payload carries MARK, which must survive nowhere."""

from __future__ import annotations

import io
import struct
import zipfile
from collections.abc import Iterator

from PIL import Image as Picture
from PIL.PngImagePlugin import PngInfo

from tests.portal.images import pictures

MARK = b"PAYLOAD-4711"


def _zip() -> bytes:
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w") as archive:
        archive.writestr(MARK.decode(), MARK)
    return sink.getvalue()


PAYLOADS = {
    "zip": _zip(),
    "html": b"<!DOCTYPE html><html><body onload=alert(1)>" + MARK + b"</body></html>",
    "script": b"*/=1;alert('" + MARK + b"');/*",
    "svg": b'<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"><text>' + MARK + b"</text></svg>",
    "pdf": b"%PDF-1.7\n1 0 obj<</Type/Catalog/OpenAction<</S/JavaScript/JS(" + MARK + b")>>>>endobj\ntrailer<</Root 1 0 R>>\n%%EOF",
    "php": b"<?php system($_GET['" + MARK + b"']); ?>",
    "shell": b"\n#!/bin/sh\necho " + MARK + b"\n",
    "program": b"MZ" + bytes(58) + struct.pack("<I", 64) + b"PE\0\0" + MARK,
}


def polyglots() -> dict[str, bytes]:
    return dict([*_behind(), *_inside(), *_in_front(), *_pixels_of_none(), *_boxes()])


def _plain() -> dict[str, bytes]:
    from tests.portal.images.test_clean import HEIC

    made = {name: pictures.encoded(None, name) for name in ("JPEG", "PNG", "TIFF", "WEBP")}
    return {**made, "HEIC": HEIC.read_bytes(), "DICOM": pictures.dicom()}


def _behind() -> Iterator[tuple[str, bytes]]:
    for format_, data in _plain().items():
        for name, payload in PAYLOADS.items():
            yield f"{format_} with {name} behind it", data + payload
            yield f"{format_} with {name} far behind it", data + bytes(5_000) + payload


def _inside() -> Iterator[tuple[str, bytes]]:
    """In the words, profiles and spare places of each format."""
    for name, payload in PAYLOADS.items():
        yield f"JPEG with {name} as its comment", pictures.encoded(None, "JPEG", comment=payload)
        yield f"JPEG with {name} as its XMP", pictures.encoded(None, "JPEG", xmp=payload)
        yield f"JPEG with {name} as its profile", pictures.encoded(None, "JPEG", icc_profile=payload)
        yield f"PNG with {name} as a text", pictures.encoded(None, "PNG", pnginfo=_words(payload))
        yield f"PNG with {name} in a chunk of its own", _chunk(payload)
        yield f"TIFF with {name} as its description", pictures.encoded(None, "TIFF", description=payload.decode("latin-1"))
        yield f"WEBP with {name} as its EXIF", pictures.encoded(None, "WEBP", exif=b"Exif\0\0" + payload)
        yield f"DICOM with {name} in its preamble", payload[:128].ljust(128, b"\0") + pictures.dicom()[128:]


def _words(payload: bytes) -> PngInfo:
    words = PngInfo()
    words.add_text("Comment", payload.decode("latin-1"))
    return words


def _chunk(payload: bytes) -> bytes:
    plain = pictures.encoded(None, "PNG")
    own = pictures.png([(b"prIv", payload)])[8:]
    return plain[:33] + own + plain[33:]


def _in_front() -> Iterator[tuple[str, bytes]]:
    """To one who looks for the picture anywhere it is there; to one who looks at the beginning it is something else."""
    for name, payload in PAYLOADS.items():
        for format_ in ("JPEG", "PNG", "DICOM"):
            yield f"{name} with {format_} behind it", payload + _plain()[format_]


def _pixels_of_none() -> Iterator[tuple[str, bytes]]:
    """A picture's first bytes, and then no picture."""
    heads = {"JPEG": b"\xff\xd8\xff\xe0", "PNG": b"\x89PNG\r\n\x1a\n", "TIFF": b"II*\0", "WEBP": b"RIFF\0\0\0\0WEBP"}
    for format_, head in heads.items():
        for name, payload in PAYLOADS.items():
            yield f"{name} that begins as {format_}", head + payload * 20
    yield "script that is a GIF", b"GIF89a/*" + bytes(20) + b"*/=1;" + MARK
    yield "script that is a BMP", b"BM/*" + bytes(20) + b"*/=1;" + MARK
    yield "svg that says it is a PNG", b'<?xml version="1.0"?><!-- \x89PNG\r\n\x1a\n -->' + PAYLOADS["svg"]


def _boxes() -> Iterator[tuple[str, bytes]]:
    """MP4, HEIC and AVIF share their container."""
    heic = _plain()["HEIC"]
    video = b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom" + b"\0\0\0\x20mdat" + MARK.ljust(24, b"\0")
    for brand in (b"mp42", b"isom", b"qt  ", b"avif", b"avis", b"heic", b"mif1", b"xxxx"):
        yield f"heic that says {brand.decode().strip()} first", heic[:8] + brand + heic[12:]
        yield f"video that says {brand.decode().strip()} first", video[:8] + brand + video[12:]
        yield f"video that says {brand.decode().strip()} last", video[:20] + brand + video[24:]
    yield "heic with a video behind it", heic + video
    yield "video with a heic behind it", video + heic
    picture = io.BytesIO()
    Picture.new("RGB", (64, 48)).save(picture, "AVIF")
    yield "avif that says it is heic", picture.getvalue().replace(b"ftypavif", b"ftypheic", 1).replace(b"avif", b"mif1")
