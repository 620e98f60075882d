"""XLSX: read as the person who wrote it would say it, and opened where nothing that it holds can do harm."""

from __future__ import annotations

import datetime
import os
import re
import resource
from typing import Any

import pytest

from portal.images import table
from portal.images.grids import Grid, pack, unpack
from portal.images.table import Row
from portal.images.workbook import open_table, read_workbook
from tests.portal.images.workbooks import bomb, far_away, rewritten, workbook


def grid(data: bytes) -> Grid:
    grids = open_table(data)
    assert not grids.refused, grids.refused
    return grids.sheets[0]


def rows(data: bytes) -> tuple[Row, ...]:
    read = table.read(grid(data))
    assert not read.refused, read.refused
    return read.rows


def test_numbers_dates_and_leading_zeros_are_what_the_person_wrote() -> None:
    day = datetime.date(2026, 3, 9)
    read = rows(
        workbook(
            ["file", "patient", "exam", "captured", "device"],
            ["a.jpg", 12, "0012", day, 12.5],
            ["b.jpg", "0012", "V1", "09.03.2026", True],
            ["c.jpg", 12.0, "V1", datetime.datetime(2026, 3, 9, 14, 30), "=text"],
        )
    )
    assert [(row.patient, row.exam, row.captured) for row in read[:2]] == [("12", "0012", day), ("0012", "V1", day)]
    assert (read[0].device, read[1].device, read[2].patient, read[2].captured) == ("12.5", "true", "12", day)
    notices = table.read(grid(workbook(["file", "patient"], ["a.jpg", 12]))).notices
    assert any("'patient' holds numbers: zeros in front" in notice for notice in notices)


def test_empty_and_merged_rows_several_and_hidden_sheets() -> None:
    def change(book: Any) -> None:
        book.active.merge_cells("B4:B5")
        book["Hidden"].sheet_state = "hidden"

    data = workbook(
        [], [], ["file", "patient"], ["a.jpg", "P1"], ["b.jpg", None], [], ["c.jpg", "P2"],
        change=change, Notes=[["whatever"]], Hidden=[["file"], ["secret.jpg"]],
    )  # fmt: skip
    sheets = open_table(data).sheets
    assert [sheet.name for sheet in sheets] == ["Sheet", "Notes"]
    read = table.read(sheets[0])
    assert [(row.number, row.file, row.patient) for row in read.rows] == [(4, "a.jpg", "P1"), (5, "b.jpg", "P1"), (7, "c.jpg", "P2")]
    assert "1 merged cells were filled with the value of their first cell." in read.notices


def test_a_formula_counts_by_its_saved_value_and_one_without_is_said_at_its_cell() -> None:
    data = workbook(["file", "patient", "exam"], ["a.jpg", "=A1", "=B1"], ["b.jpg", "#N/A", "V1"])
    saved = rewritten(
        data,
        "xl/worksheets/sheet1.xml",
        lambda xml: xml.replace(b"<f>A1</f><v />", b"<f>A1</f><v>7</v>").replace(b"<f>A1</f><v></v>", b"<f>A1</f><v>7</v>"),
    )
    one, two = rows(saved)
    assert (one.patient, one.exam) == ("7", "")
    assert "formula whose value is not saved" in one.error
    assert (two.patient, two.exam) == ("", "")
    assert "holds an error instead of a value" in two.error
    assert {fault.column for fault in one.faults} == {2}


def test_hidden_characters_do_not_make_another_patient() -> None:
    read = rows(workbook(["\ufefffile", "patient"], ["a\u200b.jpg", "P\u200b1\u00a0"], ["b.jpg", " P1\n"]))
    assert [(row.file, row.patient) for row in read] == [("a.jpg", "P1"), ("b.jpg", "P1")]


@pytest.mark.parametrize("sign", ["=", "+", "-", "@"])
def test_a_cell_that_looks_like_a_formula_is_text_and_comes_back_from_our_own_files_as_it_was(sign: str) -> None:
    (row,) = rows(f"file,patient\na.jpg,{sign}cmd\n".encode())
    assert row.patient == f"{sign}cmd"
    (row,) = rows(f"file,patient\na.jpg,'{sign}cmd\n".encode())
    assert row.patient == f"{sign}cmd"


def test_what_is_kept_for_later_is_what_was_read() -> None:
    read = open_table(
        workbook(["file", "patient"], ["a.jpg", "=A1"], ["b.jpg", 7], change=lambda book: book.create_sheet("Two").append(["x"]))
    )
    assert unpack(pack(read)) == read


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (bomb(400), "unpacks to more than 300 MB"),
        (far_away(), "could not be opened within the limits|more than 1,000,000 cells|too large"),
        (workbook(["file"], ["a.jpg"])[:900], "damaged or locked"),
        (rewritten(workbook(["file"]), "xl/workbook.xml", lambda _: b"<oops"), "cannot be read"),
        (b"PK\x03\x04" + os.urandom(2000), "damaged or locked"),
        (workbook(), "is empty"),
    ],
    ids=["bomb", "far away cell", "cut off", "broken xml", "noise", "empty"],
)
def test_a_hostile_or_broken_workbook_is_refused_in_words(data: bytes, says: str) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    grids = open_table(data)
    assert re.search(says, grids.refused), grids.refused
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    assert grown < 100_000_000, "the child bears it, and not the process that serves the pages"


def test_a_workbook_that_takes_too_long_ends_its_own_child_alone() -> None:
    assert read_workbook(bomb(250), wall=0.01).refused.startswith("The workbook could not be opened within the limits")


def test_a_workbook_that_lies_about_its_size_meets_the_childs_own_limit() -> None:
    """The archive says some bytes; what unpacks is more than the child may have."""
    honest = bomb(299)
    end = honest.rindex(b"xl/worksheets/sheet1.xml") - 46
    lying = honest[: end + 24] + (1000).to_bytes(4, "little") + honest[end + 28 :]
    assert open_table(lying).refused
