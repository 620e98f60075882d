"""ZIP archives of every sort, made on the fly: good ones, and those that were built to harm."""

from __future__ import annotations

import io
import stat
import struct
import zipfile
from collections.abc import Mapping
from typing import Any

from tests.portal.images import pictures


def zipped(members: Mapping[str, bytes], *, method: int = zipfile.ZIP_STORED) -> bytes:
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w", method) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return sink.getvalue()


def with_infos(*members: tuple[zipfile.ZipInfo, bytes]) -> bytes:
    """Members whose entries say what the test wants; two may have one name."""
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w") as archive:
        for info, data in members:
            archive.writestr(info, data)
    return sink.getvalue()


def member(name: str, data: bytes | None = None, *, mode: int = 0, method: int = zipfile.ZIP_STORED) -> tuple[zipfile.ZipInfo, bytes]:
    info = zipfile.ZipInfo(name)
    info.create_system, info.external_attr, info.compress_type = 3, mode << 16, method
    return info, picture() if data is None else data


_seeds = iter(range(1, 10**6))


def picture() -> bytes:
    """A small picture of its own."""
    shade = next(_seeds)
    return pictures.encoded(pictures.scene(64, 48), "PNG", dpi=(shade, shade))


def link(name: str, target: str) -> tuple[zipfile.ZipInfo, bytes]:
    return member(name, target.encode(), mode=stat.S_IFLNK | 0o777)


def locked(name: str = "locked.jpg") -> bytes:
    """One member that says it is encrypted, beside a good one."""
    return flagged(zipped({name: picture(), "good.png": picture()}), name, 0x1)


def flagged(archive: bytes, name: str, bits: int) -> bytes:
    """Set general purpose bits of one member, in both of its headers."""
    data = bytearray(archive)
    for at, offset in _headers(archive, name):
        (old,) = struct.unpack_from("<H", data, at + offset)
        struct.pack_into("<H", data, at + offset, old | bits)
    return bytes(data)


def _headers(archive: bytes, name: str) -> list[tuple[int, int]]:
    """(start, offset of the flags) of a member's local header and of its entry in the list."""
    found = []
    for magic, offset, name_at in ((b"PK\x03\x04", 6, 30), (b"PK\x01\x02", 8, 46)):
        at = archive.find(magic)
        while at >= 0:
            if archive[at + name_at :].startswith(name.encode()):
                found.append((at, offset))
            at = archive.find(magic, at + 4)
    return found


def wrong_checksum(name: str = "bad.png") -> bytes:
    """The first member's bytes are not those that were packed."""
    data = picture()
    archive = bytearray(zipped({name: data, "good.png": picture()}))
    archive[archive.find(data) + len(data) // 2] ^= 0xFF
    return bytes(archive)


def entry(archive: bytes, name: str, offset: int, shape: str, value: int) -> bytes:
    """Write a value into a member's entry in the list of files (offsets as in APPNOTE 4.3.12)."""
    data = bytearray(archive)
    at = next(at for at, flags in _headers(archive, name) if flags == 8)
    struct.pack_into(shape, data, at + offset, value)
    return bytes(data)


def overlapping(copies: int = 200) -> bytes:
    """Many entries in the list of files, all of the same bytes (as in Fifield's bombs)."""
    kernel = zipped({"a.png": bytes(1_000_000)}, method=zipfile.ZIP_DEFLATED)
    start = kernel.rfind(b"PK\x05\x06")
    listed = kernel.find(b"PK\x01\x02")
    one = kernel[listed:start]
    return kernel[:listed] + one * copies + end(copies, len(one) * copies, listed)


def end(count: int, size: int, offset: int, *, comment: bytes = b"") -> bytes:
    """The record at the end of an archive."""
    count = min(count, 0xFFFF)
    return b"PK\x05\x06" + struct.pack("<HHHHIIH", 0, 0, count, count, size, offset, len(comment)) + comment


def many(count: int) -> bytes:
    """An archive of so many empty members, built by hand: zipfile would take long."""
    local, listed = bytearray(), bytearray()
    for number in range(count):
        name = b"%06d" % number
        listed += b"PK\x01\x02" + struct.pack("<HHHHHHIIIHHHHHII", 20, 20, 0, 0, 0, 0, 0, 0, 0, len(name), 0, 0, 0, 0, 0, len(local)) + name
        local += b"PK\x03\x04" + struct.pack("<HHHHHIIIHH", 20, 0, 0, 0, 0, 0, 0, 0, len(name), 0) + name
    zip64 = b"PK\x06\x06" + struct.pack("<QHHIIQQQQ", 44, 45, 45, 0, 0, count, count, len(listed), len(local))
    locator = b"PK\x06\x07" + struct.pack("<IQI", 0, len(local) + len(listed), 1)
    return bytes(local + listed) + zip64 + locator + end(count, 0xFFFFFFFF, 0xFFFFFFFF)


def bomb(megabytes: int = 50, *, head: bytes = b"") -> bytes:
    """One member of zeros behind a picture's first bytes."""
    return zipped({"bomb.jpg": head + bytes(megabytes * 10**6), "good.png": picture()}, method=zipfile.ZIP_DEFLATED)


def names(*given: Any) -> bytes:
    return zipped({name: picture() for name in given})
