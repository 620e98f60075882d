"""The metadata table: whatever is wrong with it is said at its row, and all other rows go through."""

from __future__ import annotations

import pytest

from portal.audit.models import AuditEvent
from portal.core.errors import BadInput
from portal.images import services, table
from portal.images.models import Exam, FileOutcome, Patient, Upload, UploadFile
from portal.images.workbook import open_table
from tests.cast import Cast
from tests.portal.images import pictures
from tests.portal.images.conftest import Send, fresh, image_of, sanitise_all

pytestmark = pytest.mark.django_db


def parse(data: bytes) -> table.Table:
    """What is read of bytes, by a site that has no words of its own."""
    grids = open_table(data)
    return table.Table(refused=grids.refused) if grids.refused else table.read(grids.sheets[0])


def apply(upload: Upload, cast: Cast, text: str | bytes) -> services.Applied:
    data = text.encode() if isinstance(text, str) else text
    return services.apply_table(upload=upload, table_bytes=data, actor=cast.alice)


@pytest.mark.parametrize("order", ["table first", "files first", "table after cleaning"])
def test_rows_find_their_files_whenever_the_table_comes(send: Send, upload: Upload, cast: Cast, order: str) -> None:
    text = "file,patient,exam,device,stated_kind\na.jpg,P1,V1,Gynocular,green_filter\nb.jpg,P1,V1,,\n"
    if order == "table first":
        apply(upload, cast, text)
    a, b = send("a.jpg", pictures.encoded(exif=pictures.exif())), send("B.JPG")
    if order == "table after cleaning":
        sanitise_all()
    if order != "table first":
        apply(upload, cast, text)
    sanitise_all()
    first, second = image_of(a), image_of(b)
    assert first.exam is not None
    assert (first.exam.code, first.exam.patient.code, first.exam.patient.site) == ("V1", "P1", cast.north)
    assert first.exam == second.exam
    assert (first.device, first.stated_kind) == ("Gynocular", "green_filter")
    assert (Patient.objects.count(), Exam.objects.count(), upload.files.count()) == (1, 1, 2)


def test_without_an_exam_there_is_one_per_patient_and_capture_day_else_upload_day(send: Send, upload: Upload, cast: Cast) -> None:
    apply(upload, cast, "file,patient\na.jpg,P1\nb.jpg,P1\nc.jpg,P1\nd.jpg,P2\n")
    early = [send(f"{n}.jpg", pictures.encoded(pictures.scene(160, h), exif=pictures.exif())) for n, h in (("a", 90), ("b", 92), ("d", 94))]
    today = send("c.jpg")
    sanitise_all()
    exams = [image_of(row).exam for row in early]
    assert exams[0] == exams[1] != exams[2]
    assert exams[0] is not None
    assert (exams[0].code, exams[0].day.isoformat() if exams[0].day else "") == ("2024-05-17", "2024-05-17")
    last = image_of(today)
    assert last.exam is not None
    assert last.exam.day == last.created.date()


def test_every_bad_row_is_named_and_all_others_go_through(send: Send, upload: Upload, cast: Cast) -> None:
    a, b, c = send("a.jpg"), send("b.jpg"), send("c.jpg")
    applied = apply(
        upload, cast,
        "file,patient,stated_kind\na.jpg,P1,regular\na.jpg,P2,regular\ngone.jpg,P3,\nb.jpg,P4,purple\n,P5,\nc.jpg,,lugol\n",
    )  # fmt: skip
    assert applied.errors[3].startswith("Row 2 already names this file")
    assert "'purple' is not known" in applied.errors[5]
    assert applied.errors[6] == "The row names no file."
    assert (applied.rows, applied.matched, applied.waiting) == (6, 3, 1)
    services.close_upload(upload=upload, actor=cast.alice)
    gone = UploadFile.objects.get(name="gone.jpg")
    assert (gone.outcome, gone.table_row) == (FileOutcome.MISSING, 4)
    sanitise_all()
    codes = [image.exam.patient.code if image.exam else None for image in map(image_of, (a, b, c))]
    assert codes == ["P1", "P4", None]
    assert [image_of(row).stated_kind for row in (a, b, c)] == ["regular", "", "lugol_iodine"]
    assert image_of(c).without_patient
    assert {row.table_row for row in UploadFile.objects.filter(outcome="not_used")} == {3, 6}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "latin-1"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_encodings_and_delimiters_of_real_spreadsheets(encoding: str, delimiter: str) -> None:
    text = delimiter.join(["File", "Patient", "Stated kind"]) + "\r\n" + delimiter.join(["fil é.jpg", "Bjørn-1", "Lugol iodine"]) + "\r\n"
    read = parse(text.encode(encoding))
    assert [(r.number, r.file, r.patient, r.stated_kind, r.error) for r in read.rows] == [(2, "fil é.jpg", "Bjørn-1", "lugol_iodine", "")]
    assert any("Latin-1" in notice for notice in read.notices) == (encoding == "latin-1")


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "empty"),
        (b"patient,exam\nP1,V1\n", "The column 'file' is missing"),
        (b"PK\x03\x04xlsx", "damaged or locked"),
        (b"\xd0\xcf\x11\xe0old", "old or locked spreadsheet file"),
        (b"file\0,patient\n", "not a text table"),
        (b'file,patient\n"a' + b"x" * 200_000 + b'",P\n', "cannot be read"),
    ],
)
def test_a_table_that_cannot_be_used_says_why_and_changes_nothing(send: Send, upload: Upload, cast: Cast, data: bytes, says: str) -> None:
    row = send("a.jpg")
    with pytest.raises(BadInput, match=says):
        apply(upload, cast, data)
    assert fresh(row).outcome == FileOutcome.ACCEPTED
    assert upload.files.count() == 1


def test_a_missing_patient_column_is_said_and_the_images_are_flagged(send: Send, upload: Upload, cast: Cast) -> None:
    row = send("a.jpg")
    applied = apply(upload, cast, "file,stated_kind\na.jpg,regular\n")
    assert any("'patient' is missing" in notice for notice in applied.notices)
    sanitise_all()
    assert image_of(row).without_patient
    assert image_of(row).stated_kind == "regular"


def test_a_code_that_is_too_long_is_not_cut_into_another_patients() -> None:
    (row,) = parse(f"file,patient\na.jpg,{'9' * 81}\n".encode()).rows
    assert (row.patient, row.usable) == ("", True)
    assert "more than 80 characters" in row.error


def test_files_in_folders_match_by_their_name_alone_only_where_it_is_one_files_own(send: Send, upload: Upload, cast: Cast) -> None:
    a, b, other = send("p1/1.jpg"), send("p2/1.jpg"), send("p2/2.jpg")
    applied = apply(upload, cast, "file,patient\n1.jpg,P1\n2.jpg,P2\n")
    assert "2 files are called so" in applied.errors[2]
    sanitise_all()
    assert [image_of(row).without_patient for row in (a, b, other)] == [True, True, False]


def test_a_table_that_came_first_matches_names_without_folders_when_the_upload_closes(send: Send, upload: Upload, cast: Cast) -> None:
    apply(upload, cast, "file,patient\n1.jpg,P1\n2.jpg,P2\n")
    one = send("day/1.jpg")
    sanitise_all()
    services.close_upload(upload=upload, actor=cast.alice)
    exam = image_of(one).exam
    assert exam is not None
    assert exam.patient.code == "P1"
    assert list(upload.files.values_list("name", "outcome").order_by("name")) == [("2.jpg", "missing"), ("day/1.jpg", "accepted")]


def test_a_later_table_takes_the_place_of_an_earlier_one(send: Send, upload: Upload, cast: Cast) -> None:
    row = send("a.jpg")
    apply(upload, cast, "file,patient\na.jpg,Q1\ngone.jpg,Q2\n,\n")
    apply(upload, cast, "file,patient\na.jpg,P1\n")
    sanitise_all()
    exam = image_of(row).exam
    assert exam is not None
    assert exam.patient.code == "P1"
    assert upload.files.count() == 1


def test_an_image_never_changes_its_patient_silently(send: Send, upload: Upload, cast: Cast) -> None:
    row = send("a.jpg")
    apply(upload, cast, "file,patient\na.jpg,P1\n")
    sanitise_all()
    applied = apply(upload, cast, "file,patient\na.jpg,P2\n")
    assert applied.errors[2].startswith("This image already belongs to patient P1; that was not changed.")
    assert fresh(row).table_error == applied.errors[2]


def test_a_duplicate_gets_its_patient_from_a_later_upload(send: Send, cast: Cast) -> None:
    data = pictures.encoded()
    row = send("a.jpg", data)
    sanitise_all()
    later = services.open_upload(site=cast.north, actor=cast.alice)
    apply(later, cast, "file,patient\nb.jpg,P1\n")
    send("b.jpg", data, to=later)
    exam = image_of(row).exam
    assert exam is not None
    assert exam.patient.code == "P1"


def test_the_table_leaves_one_audit_event(send: Send, upload: Upload, cast: Cast) -> None:
    send("a.jpg")
    apply(upload, cast, "file,patient\na.jpg,P1\nb.jpg,P1\n")
    event = AuditEvent.objects.get(action="upload.table_applied")
    assert (event.actor_id, event.details["matched"], event.details["waiting"]) == (cast.alice.pk, 1, 1)


@pytest.mark.parametrize("rows", [3, 40])
def test_a_table_takes_a_fixed_number_of_queries(
    send: Send, upload: Upload, cast: Cast, rows: int, django_assert_max_num_queries: object
) -> None:
    for n in range(3):
        send(f"{n}.jpg")
    sanitise_all()
    text = "file,patient,exam\n" + "".join(f"{n}.jpg,P{n},V{n}\n" for n in range(rows))
    with django_assert_max_num_queries(24):  # type: ignore[operator]
        apply(upload, cast, text)
