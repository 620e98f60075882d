"""The program that opens an untrusted workbook: `python workbook_child.py < table.xlsx`. Its last word on stdout is one line of JSON.

It lowers its own limits first and knows nothing of the portal: a workbook that bursts, crashes or loops ends this process alone.
"""

from __future__ import annotations

import io
import json
import re
import resource
import sys
import zipfile
from datetime import date, datetime
from typing import Any

MEMORY = 1_000_000_000
CPU_SECONDS = 20
MAX_UNPACKED = 300_000_000
MAX_CELLS = 1_000_000
MAX_TEXT = 20_000_000
MAX_CELL = 2_000
MAX_SHEETS = 20
_CELL = re.compile(rb'<c [^>]*?r="([A-Z]{1,3})([0-9]{1,7})"([^>]*?)(?:/>|>(.*?)</c>)', re.S)
_BAD = "This cell holds an error instead of a value. Correct it in the spreadsheet."
_UNSAVED = "This cell holds a formula whose value is not saved. Open the table in a spreadsheet program and save it again."


class Unusable(Exception):
    """Why the workbook is not read, in words for the person who sent it."""


def read(data: bytes) -> dict[str, Any]:
    from python_calamine import CalamineWorkbook, SheetVisibleEnum  # after the limits

    parts = _parts(data)
    book = CalamineWorkbook.from_filelike(io.BytesIO(data))
    shown = [sheet for sheet in book.sheets_metadata if sheet.visible == SheetVisibleEnum.Visible]
    sheets = [_sheet(book.get_sheet_by_name(one.name), parts.get(one.name, b"")) for one in (shown or book.sheets_metadata)[:MAX_SHEETS]]
    if sum(len(cell) for sheet in sheets for row in sheet["rows"] for cell in row) > MAX_TEXT:
        raise Unusable("The workbook holds more than 20 MB of text. Save the table alone, as CSV or in a new workbook.")
    return {"sheets": [sheet for sheet in sheets if sheet["rows"]]}


def _parts(data: bytes) -> dict[str, bytes]:
    """The XML of each sheet by the sheet's name. Unpacked sizes are judged first, by what the archive says of itself."""
    try:
        archive = zipfile.ZipFile(io.BytesIO(data))
        if sum(entry.file_size for entry in archive.infolist()) > MAX_UNPACKED:
            raise Unusable("The workbook unpacks to more than 300 MB. Save the table alone, as CSV or in a new workbook.")
        if "xl/workbook.xml" not in archive.namelist():
            raise Unusable("This is not an XLSX workbook. Save the table as XLSX or CSV (UTF-8) and send that.")
        relations = archive.read("xl/_rels/workbook.xml.rels")
        targets = {_attribute(one, b"Id"): _attribute(one, b"Target") for one in re.findall(rb"<Relationship [^>]*>", relations)}
        found = {}
        for sheet in re.findall(rb"<sheet [^>]*>", archive.read("xl/workbook.xml")):
            path = targets.get(_attribute(sheet, b"r:id"), "").lstrip("/")
            path = path if path.startswith("xl/") else f"xl/{path}"
            if path in archive.namelist():
                found[_unescaped(_attribute(sheet, b"name"))] = archive.read(path)
    except (zipfile.BadZipFile, KeyError, NotImplementedError, RuntimeError) as error:
        raise Unusable("The workbook is damaged or locked with a password. Save it again without one.") from error
    return found


def _attribute(tag: bytes, name: bytes) -> str:
    found = re.search(rb"\s" + name + rb'="([^"]*)"', tag)
    return found[1].decode(errors="replace") if found else ""


def _unescaped(text: str) -> str:
    for code, sign in (("&lt;", "<"), ("&gt;", ">"), ("&quot;", '"'), ("&apos;", "'"), ("&amp;", "&")):
        text = text.replace(code, sign)
    return text


def _sheet(sheet: Any, xml: bytes) -> dict[str, Any]:
    if (sheet.total_height or 0) * (sheet.total_width or 0) > MAX_CELLS:
        raise Unusable(f"The sheet '{sheet.name[:40]}' has more than {MAX_CELLS:,} cells. Send several tables.")
    values = sheet.to_python(skip_empty_area=False)
    merged = _fill_merged(values, sheet.merged_cell_ranges or [])
    faults = _faults(xml)
    first = next((n for n, row in enumerate(values) if any(value != "" for value in row)), len(values))
    numbers = {
        k for row in values[first + 1 :] for k, value in enumerate(row) if isinstance(value, int | float) and not isinstance(value, bool)
    }
    notices = [f"{merged} merged cells were filled with the value of their first cell."] if merged else []
    return {
        "name": sheet.name[:80], "first": first + 1, "rows": [[_text(value) for value in row] for row in values[first:]],
        "numbers": sorted(numbers), "faults": [[row - first, column, why] for row, column, why in faults if row >= first],
        "notices": notices,
    }  # fmt: skip


def _fill_merged(values: list[list[Any]], ranges: list[tuple[tuple[int, int], tuple[int, int]]]) -> int:
    """A merged cell says its value for every cell that it covers."""
    filled = 0
    for (top, left), (bottom, right) in ranges:
        if top >= len(values) or left >= len(values[top]) or (bottom - top + 1) * (right - left + 1) > MAX_CELLS:
            continue
        value = values[top][left]
        for row in values[top : bottom + 1]:
            for column in range(left, min(right + 1, len(row))):
                filled += row[column] == "" and value != ""
                row[column] = value
    return filled


def _faults(xml: bytes) -> list[tuple[int, int, str]]:
    found = []
    for letters, row, attributes, inner in _CELL.findall(xml) if b"<f" in xml or b't="e"' in xml else ():
        if b't="e"' in attributes:
            found.append((int(row) - 1, _column(letters), _BAD))
        elif b"<f" in inner and not re.search(rb"<v[^>/]*>[^<]", inner) and b't="str"' not in attributes:
            found.append((int(row) - 1, _column(letters), _UNSAVED))
    return found


def _column(letters: bytes) -> int:
    number = 0
    for letter in letters:
        number = 26 * number + letter - 64
    return number - 1


def _text(value: Any) -> str:
    """As the person who wrote the cell would say it: 12 and not 12.0, a date as a date."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)
    if isinstance(value, datetime) and value.time() == datetime.min.time():
        value = value.date()
    if isinstance(value, date):
        return value.isoformat()
    return str(value)[:MAX_CELL]


def main() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS + 5))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        said = read(sys.stdin.buffer.read())
    except Unusable as error:
        said = {"refused": str(error)}
    except MemoryError:
        said = {"refused": "The workbook is too large to open here. Save the table alone, as CSV or in a new workbook."}
    except Exception:
        said = {"refused": "The workbook cannot be read. Save it again as XLSX, or as CSV (UTF-8), and send that."}
    sys.stdout.write(json.dumps(said))


if __name__ == "__main__":
    main()
