"""A collection as CSV and as ZIP, streamed: memory stays the same whatever the number of images. No database here."""

from __future__ import annotations

import csv
import io
import zipfile
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime

from portal.core.text import counted
from portal.datasets.collection import COLUMNS, Entry, Names

_BLOCK = 1 << 20


def csv_lines(entries: Iterable[Entry]) -> Iterator[bytes]:
    """CSV in pieces, with a header. No cell can start a formula in a spreadsheet."""
    yield _line(COLUMNS)
    for entry in entries:
        yield _line(entry.cells)


def csv_row(cells: Iterable[str]) -> bytes:
    """One line, for other lists than collections."""
    return _line(cells)


def _line(cells: Iterable[str]) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text).writerow([escaped(cell) for cell in cells])
    return text.getvalue().encode()


def escaped(cell: str) -> str:
    """Spreadsheets run what starts like a formula: such a cell gets an apostrophe in front."""
    return f"'{cell}" if cell.startswith(("=", "+", "-", "@", "\t", "\r", "\n")) else cell


class _Pipe(io.RawIOBase):
    """What zipfile writes to: it cannot be sought, and gives its bytes away."""

    def __init__(self) -> None:
        self._waiting: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, data: object) -> int:
        block = bytes(data)  # type: ignore[call-overload]
        self._waiting.append(block)
        return len(block)

    def take(self) -> bytes:
        waiting, self._waiting = b"".join(self._waiting), []
        return waiting


def zip_of_regular(entries: Iterable[Entry], *, title: str, taken_back: int = 0) -> Iterator[bytes]:
    """A ZIP (stored, as pictures do not shrink) of the regular images, with manifest.csv and README.txt inside, in pieces."""
    pipe, names, lines = _Pipe(), Names(), [_line(("file", *COLUMNS))]
    missing = 0
    with zipfile.ZipFile(pipe, "w", zipfile.ZIP_STORED) as archive:
        for entry in entries:
            if not entry.regular:
                continue
            if not entry.picture.is_file():
                missing += 1
                continue
            name = names.name(entry)
            lines.append(_line((name, *entry.cells)))
            yield from _picture(archive, pipe, name, entry)
        archive.writestr(_info("manifest.csv"), b"".join(lines))
        archive.writestr(_info("README.txt"), _readme(title, len(lines) - 1, missing, taken_back))
        yield pipe.take()
    yield pipe.take()


def _picture(archive: zipfile.ZipFile, pipe: _Pipe, name: str, entry: Entry) -> Iterator[bytes]:
    with entry.picture.open("rb") as source, archive.open(_info(name), "w") as target:
        while block := source.read(_BLOCK):
            target.write(block)
            yield pipe.take()


def _info(name: str) -> zipfile.ZipInfo:
    # A fixed date: the same collection gives the same bytes
    info = zipfile.ZipInfo(name, date_time=(2020, 1, 1, 0, 0, 0))
    info.external_attr = 0o644 << 16
    return info


def _readme(title: str, number: int, missing: int, taken_back: int) -> str:
    gone = (
        f"Left out: {counted(missing, 'further regular image')} without a picture in the store. Tell your administrator.\n"
        if missing
        else ""
    )
    if taken_back:
        gone += f"Left out: {counted(taken_back, 'image')} of this data set, withdrawn or erased since it was frozen.\n"
    return (
        f"{title}\n\nExported {datetime.now(UTC):%Y-%m-%d %H:%M} UTC by Winnow.\n\n{counted(number, 'image')} settled as `regular`: "
        "neither green filter nor Lugol's iodine, with a cervix to be seen.\nPictures are rebuilt from pixels and carry no metadata. "
        "manifest.csv names for each file its patient (a pseudonym of its site), its exam, and its label with where it came from:\n"
        "`consensus` and `adjudication` are people's, `automatic` is a model's, `uploader` is the uploader's word.\n"
        f"Cells that start with = + - or @ carry an apostrophe in front.\n{gone}"
    )
