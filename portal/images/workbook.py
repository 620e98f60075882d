"""An untrusted workbook, opened in a limited child of its own: a program and not a fork, as the web process has threads."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from portal.images.grids import Grids, grid_of, read_csv

WALL_SECONDS = 40.0
_CHILD = Path(__file__).with_name("workbook_child.py")
TOO_MUCH = "The workbook could not be opened within the limits. Save the table alone, as CSV or in a new workbook."


def read_workbook(data: bytes, *, wall: float = WALL_SECONDS) -> Grids:
    """The sheets of an XLSX file. Never raises for what the file holds."""
    try:
        done = subprocess.run([sys.executable, "-I", str(_CHILD)], input=data, capture_output=True, timeout=wall, check=False)
        said = json.loads(done.stdout)
    except (subprocess.TimeoutExpired, ValueError):
        return Grids(refused=TOO_MUCH)
    if "refused" in said:
        return Grids(refused=said["refused"])
    sheets = tuple(grid_of(sheet) for sheet in said["sheets"])
    return Grids(sheets) if sheets else Grids(refused="The workbook is empty. Its first row names the columns.")


def open_table(data: bytes) -> Grids:
    """The cells of a table that somebody sent: an XLSX workbook, or text."""
    if data[:4] == b"PK\x03\x04":
        return read_workbook(data)
    if data[:4] == b"\xd0\xcf\x11\xe0":
        return Grids(refused="This is an old or locked spreadsheet file. Save the table as XLSX or CSV (UTF-8) and send that.")
    return read_csv(data)
