"""Hostile archives, all in one upload: every one of them ends, every picture in them is taken, and nothing else is."""

from __future__ import annotations

import io
import stat
import struct
import warnings
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.test import TestCase

from portal.images import archives, formats, services
from portal.images.models import FileOutcome, Image, UploadFile
from portal.jobs import services as jobs
from portal.jobs.models import Job
from tests.cast import Cast
from tests.portal.images import zips

_GOOD = "good.png"
PAYLOAD = b"<script>alert('PAYLOAD-4711')</script>"


def hostile() -> dict[str, bytes]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return dict([*_names(), *_kinds(), *_lies(), *_bombs(), *_disguises()])


def _names() -> Iterator[tuple[str, bytes]]:
    given = {
        "slip": "../../../../tmp/slip.png", "absolute": "/etc/cron.d/x.png", "backslashes": "..\\..\\x.png",
        "a drive": "C:\\Windows\\x.png",
        "a share": "\\\\server\\share\\x.png", "very long": "a" * 5_000 + ".png", "very deep": "d/" * 2_000 + "x.png",
        "turned round": "x\u202egnp.exe", "lines": "x\r\nSet-Cookie: a=b\n.png", "only dots": "../..", "a formula": "=cmd()|'x'!A1.png",
        "markup": "<img src=x onerror=alert(1)>.png",
    }  # fmt: skip
    for why, name in given.items():
        yield f"name: {why}", zips.names(name, _GOOD)
    yield "name: a null", zips.names("x_.png", _GOOD).replace(b"x_.png", b"x\0.png")
    yield "name: no UTF-8 though it says so", zips.flagged(zips.names("x_.png", _GOOD), "x_.png", 0x800).replace(b"x_.png", b"x\xff.png")
    yield "name: twice", zips.with_infos(zips.member("a.png"), zips.member("a.png"), zips.member(_GOOD))


def _kinds() -> Iterator[tuple[str, bytes]]:
    yield "link to a file", zips.with_infos(zips.link("x.jpg", "/etc/passwd"), zips.member(_GOOD))
    yield "link to a folder and a file through it", zips.with_infos(zips.link("d", "/tmp"), zips.member("d/x.png"), zips.member(_GOOD))
    for why, kind in (("pipe", stat.S_IFIFO), ("device", stat.S_IFCHR), ("socket", stat.S_IFSOCK)):
        yield why, zips.with_infos(zips.member("x.jpg", mode=kind | 0o666), zips.member(_GOOD))
    yield "set-user-id", zips.with_infos(zips.member("x.png", mode=stat.S_IFREG | stat.S_ISUID | 0o777), zips.member(_GOOD))
    yield "password", zips.locked("x.jpg")
    for why, method in (("AES", 99), ("deflate64", 9), ("PPMd", 98)):
        listed = zips.entry(zips.names("x.jpg", _GOOD), "x.jpg", 10, "<H", method)
        yield why, listed
    yield "bzip2", zips.with_infos(zips.member("x.png", method=zipfile.ZIP_BZIP2), zips.member(_GOOD))
    yield "lzma", zips.with_infos(zips.member("x.png", method=zipfile.ZIP_LZMA), zips.member(_GOOD))


def _lies() -> Iterator[tuple[str, bytes]]:
    plain = zips.names("x.jpg", _GOOD)
    yield "wrong checksum", zips.wrong_checksum("x.jpg")
    yield "smaller than it says", zips.entry(plain, "x.jpg", 24, "<I", 5_000)
    yield "larger than it says", zips.entry(plain, "x.jpg", 24, "<I", 50)
    yield "packed larger than the archive", zips.entry(plain, "x.jpg", 20, "<I", 0x7FFFFFFF)
    yield "begins behind the end", zips.entry(plain, "x.jpg", 42, "<I", 0x7FFFFFFF)
    yield "another name in the file's own header", plain.replace(b"x.jpg", b"y.jpg", 1)
    yield "list of files far away", plain[:-6] + struct.pack("<I", 0x7FFFFFFF) + plain[-2:]
    yield "more files than listed", plain[:-14] + struct.pack("<HH", 9, 9) + plain[-10:]
    yield "an end inside the comment of the end", plain[:-2] + struct.pack("<H", 22) + zips.end(0, 0, 0)
    yield "cut off", plain[:-40]
    yield "nothing but an end", zips.end(0, 0, 0)


def _bombs() -> Iterator[tuple[str, bytes]]:
    yield "one file packed a thousandfold", zips.bomb(50, head=b"\xff\xd8\xff")
    yield "two hundred files on the same bytes", zips.overlapping()
    yield "20,001 files", zips.many(20_001)
    yield "200,000 files", zips.many(200_000)
    zeros = b"\xff\xd8\xff" + bytes(900_000)
    yield "more than may be held", zips.zipped({f"{n}.jpg": zeros for n in range(130)}, method=zipfile.ZIP_DEFLATED)
    yield (
        "archives in archives",
        zips.zipped({f"{n}.zip": zips.zipped({"a.zip": zips.bomb(5)}) for n in range(9)} | {_GOOD: zips.picture()}),
    )
    yield (
        "64-bit sizes of exabytes",
        zips.entry(zips.entry(zips.names("x.jpg"), "x.jpg", 24, "<I", 2**32 - 1), "x.jpg", 20, "<I", 2**32 - 1),
    )


def _disguises() -> Iterator[tuple[str, bytes]]:
    for name, data in {
        "page.jpg": PAYLOAD,
        "x.svg": b"<svg>" + PAYLOAD,
        "x.php": b"<?php " + PAYLOAD,
        "x.jpg.exe": b"MZ" + PAYLOAD,
    }.items():
        yield f"disguise: {name}", zips.zipped({name: data, _GOOD: zips.picture()})
    yield "office document", zips.zipped({"a.xml": b"x", "[Content_Types].xml": b"x", _GOOD: zips.picture()})
    yield "program for Java", zips.zipped({"META-INF/MANIFEST.MF": b"Manifest-Version: 1.0\n", "A.class": b"\xca\xfe\xba\xbe" + PAYLOAD})


def test_there_are_forty_and_more() -> None:
    assert len(hostile()) >= 40


@pytest.mark.django_db
def test_every_hostile_archive_ends_and_nothing_but_pictures_is_taken(cast: Cast, settings: Any, tmp_path: Path) -> None:
    settings.ORIGINALS_DIR, settings.CLEAN_DIR, settings.MAX_ARCHIVE_BYTES = tmp_path / "originals", tmp_path / "clean", 100_000_000
    upload = services.open_upload(site=cast.north, actor=cast.alice)
    rows: dict[str, UploadFile] = {}
    for why, data in hostile().items():
        rows[why] = services.receive(upload=upload, file=io.BytesIO(data), name=f"{why}.zip", actor=cast.alice)
    with TestCase.captureOnCommitCallbacks(execute=True):
        while claims := jobs.claim("unpack", worker="w"):
            archives.unpack_claimed(claims)
    for why, row in rows.items():
        row.refresh_from_db()
        assert row.outcome in (FileOutcome.UNPACKED, FileOutcome.REJECTED), why
        assert row.message, why
    assert not Job.objects.filter(kind="unpack").exclude(state="done").exists()
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert {path.parent for path in files} == {tmp_path / "originals" / str(cast.north.pk)}
    assert {formats.refusal(path.read_bytes()[:512]) for path in files} == {""}
    assert not any(PAYLOAD in path.read_bytes() for path in files)
    assert len(files) == Image.objects.count() >= 40
    assert "\n" not in "".join(upload.files.values_list("name", flat=True))
