"""Workbooks as spreadsheet programs write them, and as nobody should."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Sequence
from typing import Any

import openpyxl


def workbook(*rows: Sequence[Any], change: Callable[[Any], None] | None = None, **sheets: Sequence[Sequence[Any]]) -> bytes:
    """An XLSX file of one sheet with these rows, and of further sheets by name."""
    book = openpyxl.Workbook()
    first = book.active
    assert first is not None
    for row in rows:
        first.append(list(row))
    for name, further in sheets.items():
        sheet = book.create_sheet(name)
        for row in further:
            sheet.append(list(row))
    if change:
        change(book)
    sink = io.BytesIO()
    book.save(sink)
    return sink.getvalue()


def rewritten(data: bytes, part: str, change: Callable[[bytes], bytes]) -> bytes:
    """The same archive with one part changed."""
    sink = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as source, zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED) as out:
        for entry in source.infolist():
            content = source.read(entry)
            out.writestr(entry.filename, change(content) if entry.filename == part else content)
    return sink.getvalue()


def bomb(megabytes: int) -> bytes:
    """A workbook of some kilobytes whose sheet unpacks to so many megabytes."""
    filler = b" " * (megabytes * 10**6)
    return rewritten(
        workbook(["file"], ["a.jpg"]), "xl/worksheets/sheet1.xml", lambda xml: xml.replace(b"<sheetData>", filler + b"<sheetData>")
    )


def far_away() -> bytes:
    """A workbook with two cells, one in the last row and column that a sheet can have."""
    cell = b'<row r="1048576"><c r="XFD1048576" t="inlineStr"><is><t>x</t></is></c></row></sheetData>'
    return rewritten(workbook(["file"], ["a.jpg"]), "xl/worksheets/sheet1.xml", lambda xml: xml.replace(b"</sheetData>", cell))
