"""The cleaned collection as CSV and ZIP."""

import csv
import io
import zipfile
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image as Picture

from portal.accounts.models import Site
from portal.datasets import collection
from portal.datasets.collection import safe
from portal.datasets.exports import csv_lines, escaped, zip_of_regular
from portal.datasets.query import Query
from portal.datasets.services import create_snapshot
from portal.images.models import Image
from tests.cast import Cast, make_image


def _read(pieces: Iterable[bytes]) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(b"".join(pieces).decode(), newline="")))


def _unzip(site: Site) -> zipfile.ZipFile:
    archive = zipfile.ZipFile(io.BytesIO(b"".join(zip_of_regular(collection.of_site(site), title="North"))))
    assert archive.testzip() is None
    return archive


def test_the_csv_names_every_image_with_kind_and_provenance(cast: Cast) -> None:
    make_image(cast.north, state="settled", patient="P1", kind="green_filter", provenance="adjudication")
    make_image(cast.north, state="accepted", patient="P2")
    make_image(cast.north, state="in_review", patient="P3")
    make_image(cast.north, state="received", patient=None)
    make_image(cast.north, state="withdrawn", patient="P4")
    make_image(cast.river, state="settled", patient="P1")
    rows = _read(csv_lines(collection.of_site(cast.north)))
    assert [(row["patient"], row["state"], row["kind"], row["provenance"]) for row in rows] == [
        ("P1", "settled", "green_filter", "adjudication"),
        ("P2", "accepted", "regular", "automatic"),
        ("P3", "in_review", "", ""),
        ("", "received", "", ""),
    ]


def test_the_zip_holds_the_regular_pictures_a_manifest_and_a_readme(cast: Cast) -> None:
    regular = make_image(cast.north, state="settled", patient="P1")
    make_image(cast.north, state="settled", patient="P1", kind="lugol_iodine")
    make_image(cast.north, state="in_review", patient="P3")
    archive = _unzip(cast.north)
    name = f"north/P1/E1/{regular.clean_sha256[:16]}.jpg"
    assert archive.namelist() == [name, "manifest.csv", "README.txt"]
    assert archive.getinfo(name).compress_type == zipfile.ZIP_STORED
    with archive.open(name) as file, Picture.open(file) as picture:
        assert picture.size == (96, 72)
    assert [row["file"] for row in csv.DictReader(io.StringIO(archive.read("manifest.csv").decode()))] == [name]
    assert b"1 image settled as `regular`" in archive.read("README.txt")


def test_a_picture_that_is_gone_is_said_in_the_readme(cast: Cast) -> None:
    image = make_image(cast.north, state="settled")
    next(collection.of_site(cast.north)).picture.unlink()
    assert image.clean_sha256
    assert b"Left out: 1 further regular image" in _unzip(cast.north).read("README.txt")


def test_a_snapshot_is_exported_as_it_was_labelled_then(cast: Cast) -> None:
    image = make_image(cast.north, state="settled", patient="P1", kind="green_filter")
    snapshot = create_snapshot(name="first", query=Query(), actor=cast.max)
    image.labels.update(current=False)
    image.labels.create(kind="regular", provenance="adjudication")
    assert [(row["kind"], row["split"]) for row in _read(csv_lines(collection.of_snapshot(snapshot)))] == [("green_filter", "train")]
    Image.objects.update(state="withdrawn")
    assert _read(csv_lines(collection.of_snapshot(snapshot))) == []


@pytest.mark.parametrize("cell", ["=1+1", "+cmd", "-2+3", "@SUM(A1)", "\t=1", "\r=1", "\n=1"])
def test_no_cell_starts_a_formula(cell: str) -> None:
    assert escaped(cell) == f"'{cell}"


def test_a_patient_named_like_a_formula_is_escaped_in_the_csv(cast: Cast) -> None:
    make_image(cast.north, state="settled", patient='=HYPERLINK("http://x")')
    assert _read(csv_lines(collection.of_site(cast.north)))[0]["patient"].startswith("'=HYPERLINK")


@given(st.text(max_size=90), st.text(max_size=90))
def test_names_in_a_zip_are_safe_and_two_never_become_one(one: str, other: str) -> None:
    assert all(char.isascii() and (char.isalnum() or char in "_-") for char in safe(one))
    assert (safe(one) == safe(other)) == (one == other)


def test_the_number_of_queries_does_not_grow_with_the_images(cast: Cast, django_assert_num_queries: pytest.FixtureRequest) -> None:
    for n in range(5):
        make_image(cast.north, state="settled", patient=f"P{n}")
    with django_assert_num_queries(1):  # type: ignore[operator]
        assert len(_read(csv_lines(collection.of_site(cast.north)))) == 5
