"""Pictures of a few bytes that claim, or unpack to, more than any machine holds. Each is a name and its bytes."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator

import numpy as np
from PIL import Image as Picture

from tests.portal.images import pictures

_SCENE = np.asarray(pictures.scene())


def bombs() -> dict[str, bytes]:
    return dict([*_png(), *_tiff(), *_webp(), *_jpeg(), *_heic(), *_dicom()])


def _header(width: int, height: int, *, depth: int = 8, kind: int = 2, interlaced: int = 0) -> tuple[bytes, bytes]:
    return b"IHDR", struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, interlaced)


_END = (b"IEND", b"")


def _zeros(megabytes: int) -> bytes:
    """So many megabytes of zeros, packed a thousandfold."""
    packer = zlib.compressobj(9)
    return b"".join(packer.compress(bytes(1 << 20)) for _ in range(megabytes)) + packer.flush()


def _png() -> Iterator[tuple[str, bytes]]:
    few = (b"IDAT", zlib.compress(bytes(1000)))
    for width, height in ((20_000, 10_000), (2**31 - 1, 2**31 - 1), (2**31 - 1, 1), (1, 2**31 - 1), (0, 0)):
        yield f"png of {width} x {height}", pictures.png([_header(width, height), few, _END])
    yield "png of 7,000 x 7,000 with nothing in it", pictures.png([_header(7_000, 7_000), few, _END])
    yield "png of 16 bits, interlaced, 7,000 x 7,000", pictures.png([_header(7_000, 7_000, depth=16, kind=6, interlaced=1), few, _END])
    whole = (b"IDAT", zlib.compress(bytes((64 * 3 + 1) * 48)))
    for kind, head in ((b"zTXt", b"a\0\0"), (b"iTXt", b"a\0\1\0\0\0"), (b"iCCP", b"a\0\0")):
        bomb = (kind, head + _zeros(500))
        yield f"png with a bomb in {kind.decode()}", pictures.png([_header(64, 48), bomb, whole, _END])
    yield "png with a bomb behind its rows", pictures.png([_header(64, 48), (b"IDAT", _zeros(500)), _END])
    frames = (b"acTL", struct.pack(">II", 2**31 - 1, 0))
    yield "png of two thousand million frames", pictures.png([_header(64, 48), frames, whole, _END])


def _entries(**changed: int) -> list[tuple[int, int, int, int]]:
    named = {"width": 256, "height": 257, "bits": 258, "compression": 259, "photometric": 262, "offset": 273, "samples": 277,
             "rows": 278, "length": 279}  # fmt: skip
    values = {
        "width": 64,
        "height": 48,
        "bits": 8,
        "compression": 1,
        "photometric": 1,
        "offset": 8,
        "samples": 1,
        "rows": 48,
        "length": 3072,
    }
    return [(named[name], 4, 1, value) for name, value in {**values, **changed}.items()]


def _tiff_of(entries: list[tuple[int, int, int, int]], data: bytes = bytes(3072), *, follows: int = 0) -> bytes:
    listed = b"".join(struct.pack("<HHII", *entry) for entry in entries)
    at = 8 + len(data)
    return b"II*\0" + struct.pack("<I", at) + data + struct.pack("<H", len(entries)) + listed + struct.pack("<I", at if follows else 0)


def _tiff() -> Iterator[tuple[str, bytes]]:
    yield "tiff of 60,000 x 60,000", _tiff_of(_entries(width=60_000, height=60_000, rows=60_000))
    yield "tiff of 4,294,967,295 x 1", _tiff_of(_entries(width=2**32 - 1, height=1))
    yield "tiff of 65,535 samples", _tiff_of(_entries(samples=65_535))
    yield "tiff of 65,535 bits", _tiff_of(_entries(bits=65_535))
    yield "tiff whose pages run in a ring", _tiff_of(_entries(), follows=1)
    yield "tiff of 30,000 pages", pictures.tiff_pages(30_000)
    yield "tiff with a tag of four thousand million values", _tiff_of([*_entries(), (270, 2, 2**32 - 1, 8)])
    packed = _zeros(500)
    yield "tiff with a bomb in its strip", _tiff_of(_entries(compression=8, length=len(packed)), packed)
    yield "tiff of 7,000 x 7,000 in one strip of nothing", _tiff_of(_entries(width=7_000, height=7_000, rows=7_000, compression=5))


def _webp() -> Iterator[tuple[str, bytes]]:
    lossy, lossless = pictures.encoded(None, "WEBP"), pictures.encoded(None, "WEBP", lossless=True)
    at = lossy.find(b"\x9d\x01\x2a") + 3
    yield "webp of 16,383 x 16,383", lossy[:at] + struct.pack("<HH", 0x3FFF, 0x3FFF) + lossy[at + 4 :]
    at = lossless.find(b"VP8L") + 9
    yield "lossless webp of 16,384 x 16,384", lossless[:at] + struct.pack("<I", 0x0FFFFFFF) + lossless[at + 4 :]
    canvas = b"VP8X" + struct.pack("<I", 10) + b"\x02\0\0\0" + b"\xff\xff\xff" * 2
    body = b"WEBP" + canvas + lossy[12:]
    yield "webp on a canvas of 16,777,216 x 16,777,216", b"RIFF" + struct.pack("<I", len(body)) + body


def _jpeg() -> Iterator[tuple[str, bytes]]:
    plain = pictures.encoded()
    at = plain.find(b"\xff\xc0") + 5
    yield "jpeg of 65,535 x 65,535", plain[:at] + b"\xff\xff\xff\xff" + plain[at + 4 :]
    yield "jpeg of 7,000 x 7,000 with little in it", plain[:at] + struct.pack(">HH", 7_000, 7_000) + plain[at + 4 :]
    yield "jpeg of 255 colours", plain[: at + 4] + b"\xff" + plain[at + 5 :]


def scans(count: int = 3_000, side: int = 6_000) -> bytes:
    """A progressive JPEG that says nothing in thousands of scans: each is a walk over all its blocks."""
    sink = io.BytesIO()
    Picture.new("L", (side, side), 128).save(sink, "JPEG", progressive=True, quality=50)
    data = sink.getvalue()
    first = data.find(b"\xff\xda")
    last = data.rfind(b"\xff\xda")
    again = data[last:-2]
    return data[:first] + data[first:last] + again * count + b"\xff\xd9"


def _heic() -> Iterator[tuple[str, bytes]]:
    from tests.portal.images.test_clean import HEIC

    plain = HEIC.read_bytes()
    at = plain.find(b"ispe") + 8
    yield "heic of 60,000 x 60,000", plain[:at] + struct.pack(">II", 60_000, 60_000) + plain[at + 8 :]
    nested = b""
    for _ in range(3_000):
        nested = struct.pack(">I", len(nested) + 8) + b"moov" + nested
    yield "heic of 3,000 boxes one in another", plain[:24] + nested + plain[24:]
    at = plain.find(b"iloc") + 8
    yield "heic whose places lie gigabytes away", plain[:at] + b"\xff" * 24 + plain[at + 24 :]


def _dicom() -> Iterator[tuple[str, bytes]]:
    yield "dicom of 65,535 x 65,535", pictures.dicom_of(_SCENE, "RGB", Rows=65_535, Columns=65_535)
    yield "dicom of 2,000,000,000 pictures", pictures.dicom_of(_SCENE, "RGB", NumberOfFrames=2_000_000_000)
    large = pictures.encoded(Picture.new("RGB", (9_000, 9_000)), "JPEG", quality=20)
    yield "dicom with 81 megapixels inside 160 x 120", pictures.dicom_of(_SCENE, "YBR_FULL_422", syntax="1.2.840.10008.1.2.4.50", raw=large)
    deflated = pictures.dicom_of(_SCENE, "RGB", syntax="1.2.840.10008.1.2.1.99")
    deflated = deflated[: 144 + int.from_bytes(deflated[140:144], "little")]
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    yield "dicom that unpacks to two gigabytes", deflated + b"".join(packer.compress(bytes(1 << 20)) for _ in range(2_000)) + packer.flush()
    plain = pictures.dicom()
    at = plain.find(b"\xe0\x7f\x10\x00") + 8
    yield "dicom whose pixels claim four gigabytes", plain[:at] + b"\xfe\xff\xff\xff" + plain[at + 4 :]
