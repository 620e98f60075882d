"""Pictures of every sort, broken in every way that a machine can think of; from a seed, so that each can be had again."""

from __future__ import annotations

import random
import struct
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image as Picture

from tests.portal.images import pictures

_NUMBERS = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x10000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFE, 0xFFFFFFFF)
_LARGEST = 300_000
"""Bytes of a real photograph that is broken here: larger ones only take longer."""


def originals(real: Path | None = None) -> list[bytes]:
    """Drawn pictures in every format and sort that is taken, and some real ones where there are any."""
    noise = Picture.fromarray(np.random.default_rng(7).integers(0, 255, (96, 128, 3), dtype=np.uint8))
    found = [_heic()]
    for drawn in (pictures.scene(), noise):
        found += [pictures.encoded(drawn, "JPEG"), pictures.encoded(drawn, "JPEG", progressive=True, exif=pictures.exif())]
        found += [pictures.encoded(drawn.convert(mode), "JPEG") for mode in ("L", "CMYK")]
        found += [pictures.encoded(drawn, "PNG"), pictures.encoded(drawn.quantize(16), "PNG"), pictures.encoded(drawn, "WEBP")]
        found += [pictures.encoded(drawn, "TIFF", compression=name) for name in ("raw", "tiff_lzw", "tiff_deflate", "jpeg", "packbits")]
        found += [
            pictures.encoded(drawn, "WEBP", lossless=True),
            pictures.encoded(drawn, "WEBP", save_all=True, append_images=[drawn.rotate(180)]),
        ]
        found += [pictures.encoded(drawn, "PNG", save_all=True, append_images=[drawn.rotate(180)])]
        pixels = np.asarray(drawn)
        found += [pictures.dicom_of(pixels, "RGB"), pictures.dicom_of(pixels[..., 0].copy(), "MONOCHROME2")]
        jpeg = pictures.encoded(drawn, "JPEG")
        found += [pictures.dicom_of(pixels, "YBR_FULL_422", syntax="1.2.840.10008.1.2.4.50", raw=jpeg)]
        found += [pictures.tiff16(pixels.astype(np.uint16) * 257), pictures.png16(pixels.astype(np.uint16) * 257)]
    photographs = sorted(real.glob("*/*.jpg"))[:400:40] if real else []
    return found + [data for path in photographs if len(data := path.read_bytes()) < _LARGEST]


def mutants(sources: Sequence[bytes], *, seed: int) -> Iterator[bytes]:
    """Without end."""
    chance = random.Random(seed)
    while True:
        data = bytearray(chance.choice(sources))
        for _ in range(chance.choice((1, 1, 1, 2, 4))):
            data = chance.choice(_WAYS)(data, chance, sources)
        yield _with_checksums(bytes(data)) if chance.random() < 0.7 else bytes(data)


def _heic() -> bytes:
    from tests.portal.images.test_clean import HEIC

    return HEIC.read_bytes()


def _flip(data: bytearray, chance: random.Random, _: Sequence[bytes]) -> bytearray:
    for _bit in range(chance.choice((1, 2, 8, 64))):
        if data:
            data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    return data


def _truncate(data: bytearray, chance: random.Random, _: Sequence[bytes]) -> bytearray:
    return data[: chance.randrange(len(data) + 1)]


def _lie(data: bytearray, chance: random.Random, _: Sequence[bytes]) -> bytearray:
    """A number in the header says something else."""
    shape = chance.choice(("<B", "<H", ">H", "<I", ">I"))
    size = struct.calcsize(shape)
    if len(data) > 16 + size:
        at = chance.randrange(4, min(len(data), chance.choice((64, 512, len(data)))) - size) if len(data) > 64 else 4
        struct.pack_into(shape, data, at, chance.choice(_NUMBERS) & (2 ** (8 * size) - 1))
    return data


def _drop(data: bytearray, chance: random.Random, _: Sequence[bytes]) -> bytearray:
    at, size = _piece(data, chance)
    return data[:at] + data[at + size :]


def _double(data: bytearray, chance: random.Random, _: Sequence[bytes]) -> bytearray:
    at, size = _piece(data, chance)
    return data[: at + size] + data[at : at + size] * chance.choice((1, 1, 10)) + data[at + size :]


def _splice(data: bytearray, chance: random.Random, sources: Sequence[bytes]) -> bytearray:
    """The head of one and the tail of another."""
    other = chance.choice(sources)
    return data[: chance.randrange(len(data) + 1)] + other[chance.randrange(len(other)) :]


def _overwrite(data: bytearray, chance: random.Random, sources: Sequence[bytes]) -> bytearray:
    other = bytearray(chance.choice(sources))
    at, size = _piece(other, chance)
    to = chance.randrange(len(data) + 1)
    return data[:to] + other[at : at + size] + data[to + size :]


def _piece(data: bytearray, chance: random.Random) -> tuple[int, int]:
    return chance.randrange(len(data) + 1), chance.choice((1, 4, 16, 64, 1024))


_WAYS = (_flip, _flip, _truncate, _lie, _lie, _lie, _drop, _double, _splice, _overwrite)


def _with_checksums(data: bytes) -> bytes:
    """A PNG whose chunks' checksums hold again: else its reader would stop at the first wrong one and no decoder would see the rest."""
    if not data.startswith(b"\x89PNG\r\n\x1a\n"):
        return data
    at, mended = 8, bytearray(data[:8])
    while at + 12 <= len(data):
        (length,) = struct.unpack_from(">I", data, at)
        body = data[at + 4 : at + 8 + length]
        mended += data[at : at + 4] + body + struct.pack(">I", zlib.crc32(body))
        at += 12 + length
    return bytes(mended) + data[at:]
