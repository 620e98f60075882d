"""A picture as a reader may have it: pixels and nothing else. Pure, on bytes.

The clean store is rebuilt from pixels already; this is the second lock, and also drops what an encoder writes of itself.
"""

from __future__ import annotations

import struct

_PNG = b"\x89PNG\r\n\x1a\n"
_PNG_KEPT = {b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"}
_SOS, _COMMENT, _ADOBE, _APP0, _APP15 = 0xDA, 0xFE, 0xEE, 0xE0, 0xEF


def strip(data: bytes) -> bytes:
    """The same pixels without comments, EXIF, XMP, ICC or text. Raises ValueError for what is neither JPEG nor PNG."""
    if data.startswith(b"\xff\xd8"):
        return _strip_jpeg(data)
    if data.startswith(_PNG):
        return _strip_png(data)
    raise ValueError("neither JPEG nor PNG")


def _strip_jpeg(data: bytes) -> bytes:
    """Keeps the Adobe segment, which says how the colours are coded. What follows the first scan is entropy-coded: kept to the end."""
    out, at = [data[:2]], 2
    while at + 4 <= len(data):
        if data[at] != 0xFF:
            raise ValueError("damaged JPEG")
        marker = data[at + 1]
        if marker == _SOS:
            end = data.rfind(b"\xff\xd9")
            return b"".join([*out, data[at : end + 2 if end > at else len(data)]])
        end = at + 2 + struct.unpack(">H", data[at + 2 : at + 4])[0]
        if marker == _ADOBE or not (marker == _COMMENT or _APP0 <= marker <= _APP15):
            out.append(data[at:end])
        at = end
    raise ValueError("damaged JPEG")


def _strip_png(data: bytes) -> bytes:
    out, at = [_PNG], len(_PNG)
    while at + 12 <= len(data):
        end = at + 12 + struct.unpack(">I", data[at : at + 4])[0]
        if data[at + 4 : at + 8] in _PNG_KEPT:
            out.append(data[at:end])
        at = end
    return b"".join(out)
