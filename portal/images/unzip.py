"""The files of a ZIP archive, one by one: read in a limited child process and streamed to the parent. Pure: no Django.

Names in an archive are names and never paths: nothing is ever written under them. What cannot be had of one member is said at that
member, and the next one follows; a child that dies is followed by another, which goes on behind the member that killed it.
"""

from __future__ import annotations

import json
import os
import select
import struct
import zipfile
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from portal.images import archive_rules as rules
from portal.images import child
from portal.images.archive_rules import Bounds

_DIRECTORY = 16_000_000
"""Bytes of an archive's list of files: 800 for each of the most that are taken."""
_CHUNK = 1 << 18
_SILENCE = 60.0
_CRASHES = 3
_HEADER = struct.Struct(">cI")

DAMAGED = "The archive is damaged or was not copied completely. Pack it again and send it again."
CRASHED = "The archive made its reader fail at this file. Send the file by itself."
_BROKEN = "The file is damaged inside the archive. Pack it again, or send it by itself."


class Unusable(Exception):
    """Nothing (more) of the archive can be had; the message says why and what to do."""


class BadMember(Exception):
    """This one file cannot be had; the message says why and what to do. The others can."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What the archive holds: so many files, hidden ones left out, all of them below `top` (with its slash; else empty)."""

    members: int
    hidden: int
    top: str


class Member:
    """One file, to be read to its end before the next is asked for. `read` raises BadMember."""

    def __init__(self, number: int, name: str, source: _Reader) -> None:
        self.number, self.name = number, name
        self._source, self._left, self._over = source, b"", False

    def read(self, size: int, /) -> bytes:
        while not self._left and not self._over:
            self._left = self._next()
        taken, self._left = self._left[:size], self._left[size:]
        return taken

    def _next(self) -> bytes:
        try:
            kind, body = self._source.frame()
        except _Gone:
            self._over = True
            raise BadMember(CRASHED) from None
        self._over = kind != b"D"
        if kind == b"X":
            raise BadMember(str(json.loads(body)))
        return body if kind == b"D" else b""

    def skip(self) -> None:
        """Read past what nobody wanted of it."""
        while not self._over:
            try:
                self._next()
            except BadMember:
                return


def read(path: Path, bounds: Bounds, *, start: int = 0, limits: child.Limits | None = None) -> Generator[Plan | Member]:
    """The plan, then the members from number `start` on. Raises Unusable, and OSError where the archive itself cannot be opened."""
    limits = limits or child.Limits(cpu=60 + bounds.total // 20_000_000, wall=_SILENCE)
    os.stat(path)
    crashes, planned = 0, False
    while True:
        with _Reader(path, start, bounds, limits) as reader:
            for found in _listen(reader):
                if isinstance(found, Plan):
                    if not planned:
                        yield found
                    planned = True
                elif isinstance(found, Member):
                    start = found.number + 1
                    yield found
                    found.skip()
                else:
                    return
        crashes += 1
        if not planned or crashes > _CRASHES:
            raise Unusable(DAMAGED)


def _listen(reader: _Reader) -> Iterator[Plan | Member | None]:
    """What a child says until it is through (None last) or gone (no None)."""
    while not reader.gone:
        try:
            kind, body = reader.frame()
        except _Gone:
            return
        if kind == b"R":
            raise Unusable(str(json.loads(body)))
        if kind == b"Z":
            yield None
        elif kind == b"P":
            yield Plan(**json.loads(body))
        elif kind == b"M":
            number, name = json.loads(body)
            yield Member(number, name, reader)


# ---- the parent's end of the pipe -------------------------------------------------------------------------------------


class _Gone(Exception):
    """The child died, fell silent or spoke nonsense."""


class _Reader:
    """A child that reads the archive, and the frames that it sends: a letter, a length, so many bytes."""

    def __init__(self, path: Path, start: int, bounds: Bounds, limits: child.Limits) -> None:
        def task(_: int, write_end: int) -> None:
            _tell(path, start, bounds, _Teller(write_end))

        self.silence, self.gone = limits.wall, False
        self._pid, self._read_end = child.start(task, limits)

    def __enter__(self) -> _Reader:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._read_end)
        child.reap(self._pid, patience=0)

    def frame(self) -> tuple[bytes, bytes]:
        kind, length = _HEADER.unpack(self._exactly(_HEADER.size))
        if length > _CHUNK:
            self.gone = True
            raise _Gone
        return kind, self._exactly(length)

    def _exactly(self, size: int) -> bytes:
        parts: list[bytes] = []
        while size and not self.gone:
            ready = select.select([self._read_end], [], [], self.silence)[0]
            part = os.read(self._read_end, size) if ready else b""
            self.gone = not part
            parts.append(part)
            size -= len(part)
        if self.gone:
            raise _Gone
        return b"".join(parts)


# ---- the child --------------------------------------------------------------------------------------------------------


class _Teller:
    def __init__(self, write_end: int) -> None:
        self._write_end = write_end

    def say(self, kind: bytes, what: Any) -> None:
        self.data(kind, json.dumps(what).encode())

    def data(self, kind: bytes, body: bytes) -> None:
        left = memoryview(_HEADER.pack(kind, len(body)) + body)
        while left:
            left = left[os.write(self._write_end, left) :]


class _Measured:
    """A file that refuses to be read at once by more than a list of files may take."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self.seek, self.tell, self.close = file.seek, file.tell, file.close

    def read(self, size: int = -1) -> bytes:
        if size > _DIRECTORY:
            raise Unusable(rules.too_many(rules.MAX_MEMBERS))
        return bytes(self._file.read(size if size >= 0 else _DIRECTORY))

    def seekable(self) -> bool:
        return True


def _tell(path: Path, start: int, bounds: Bounds, teller: _Teller) -> None:
    try:
        with open(path, "rb") as file, zipfile.ZipFile(_Measured(file)) as archive:
            infos = archive.infolist()
            if reason := rules.unusable(infos, bounds):
                raise Unusable(reason)
            members = [info for info in infos if not rules.is_folder(info) and not rules.is_hidden(info.filename)]
            names = [rules.spelled(info.filename) for info in members]
            hidden = sum(not rules.is_folder(info) for info in infos) - len(members)
            teller.say(b"P", {"members": len(members), "hidden": hidden, "top": rules.common_top(names)})
            doubled = rules.repeated(names)
            for number in range(start, len(members)):
                teller.say(b"M", [number, names[number]])
                _send(archive, members[number], number in doubled, bounds, teller)
            teller.say(b"Z", None)
    except Unusable as error:
        teller.say(b"R", str(error))
    except MemoryError:
        teller.say(b"R", rules.BOMB)
    except Exception:
        # zipfile raises whatever a broken list of files makes it stumble over
        teller.say(b"R", DAMAGED)


def _send(archive: zipfile.ZipFile, info: zipfile.ZipInfo, again: bool, bounds: Bounds, teller: _Teller) -> None:
    reason = rules.unfit(info, bounds) or ("The archive holds another file of this name. Rename one and send it again." if again else "")
    if reason:
        teller.say(b"X", reason)
        return
    try:
        with archive.open(info) as member:
            chunk = member.read(_CHUNK)
            if reason := rules.not_taken(info.filename, chunk[:512]):
                teller.say(b"X", reason)
                return
            while chunk:
                teller.data(b"D", chunk)
                chunk = member.read(_CHUNK)
        teller.say(b"E", None)
    except Exception:
        # a wrong checksum, a header that says something else, a stream that breaks off
        teller.say(b"X", _BROKEN)
