"""De-identification: markers of 40 kinds in five containers, and not one byte of them in anything that leaves the originals."""

from __future__ import annotations

import io
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.urls import reverse

from portal.datasets.models import Snapshot
from portal.datasets.query import WITH_AUTOMATIC, Query
from portal.datasets.services import create_snapshot, write_snapshot
from portal.images import sanitise, services
from portal.images.formats import sniff
from portal.images.models import Image
from portal.images.placing import carry_out, plan
from portal.jobs import services as jobs
from portal.pipeline import handlers
from tests.cast import Cast, champion
from tests.portal.images import markers, pictures
from tests.portal.pipeline.conftest import Toy

pytestmark = pytest.mark.django_db


@pytest.fixture
def planted() -> list[markers.Planted]:
    return [make(pictures.textured(20 + n, 160, 120)) for n, make in enumerate(markers.ALL)]


def test_the_markers_are_of_forty_kinds_and_all_in_place(planted: list[markers.Planted]) -> None:
    assert sum(len(file.markers) for file in planted) >= 40
    assert {sniff(file.data[:512]) for file in planted} == {"JPEG", "PNG", "TIFF", "WebP", "DICOM"}
    for file in planted:
        assert markers.left(file.data, file) == set(file.markers), file.name


def test_not_one_is_left_in_anything_that_leaves(
    cast: Cast, toy: Toy, planted: list[markers.Planted], settings: Any, tmp_path: Path
) -> None:
    found = _left_after_the_whole_way(cast, planted, settings, tmp_path)
    assert found == {}


def test_an_original_taken_for_clean_is_caught(
    cast: Cast, toy: Toy, planted: list[markers.Planted], settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The planted fault: a sanitiser that copies."""
    make = sanitise.make

    def copies(path: Path, stem: Path) -> sanitise.Cleaned:
        made = make(path, stem)
        shutil.copyfile(path, made.picture)
        shutil.copyfile(path, made.thumb)
        return made

    monkeypatch.setattr(sanitise, "make", copies)
    found = _left_after_the_whole_way(cast, planted, settings, tmp_path)
    for file in planted:
        for where in ("clean store", "export", "snapshot folder", "responses"):
            assert found[where, file.name] == set(file.markers), (where, file.name)


def _left_after_the_whole_way(cast: Cast, planted: list[markers.Planted], settings: Any, tmp_path: Path) -> dict[tuple[str, str], set[str]]:
    """Sent, cleaned, analysed, exported and frozen: by place and file, the markers that stand there."""
    settings.SNAPSHOTS_DIR = tmp_path / "snapshots"
    champion()
    upload = services.open_upload(site=cast.north, actor=cast.alice, expected=len(planted))
    for number, file in enumerate(planted):
        row = services.receive(upload=upload, file=io.BytesIO(file.data), name=f"{number}", actor=cast.alice)
        assert row.outcome == "accepted", row.message
        row.patient_code = f"P{number}"
        row.save()
        assert row.image_id
        carry_out(plan([(Image.objects.get(pk=row.image_id), row)]))
    for kind, work in (("sanitise", services.sanitise_claimed), ("compare", handlers.compare), ("analyse", handlers.analyse)):
        while claims := jobs.claim(kind, worker="test"):
            work(claims)
    assert set(Image.objects.values_list("state", flat=True)) == {"accepted"}
    create_snapshot(name="all", query=Query(provenances=WITH_AUTOMATIC), actor=cast.max)
    write_snapshot(jobs.claim("freeze", worker="test")[0])
    places = {
        "clean store": _files(tmp_path / "clean"), "snapshot folder": _files(tmp_path / "snapshots"),
        "export": _members(cast), "responses": list(_responses(cast, upload.pk)),
    }  # fmt: skip
    found = {
        (where, file.name): set().union(*(markers.left(data, file) for data in contents))
        for where, contents in places.items()
        for file in planted
    }
    return {key: kinds for key, kinds in found.items() if kinds}


def _files(folder: Path) -> list[bytes]:
    found = [path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()]
    assert found
    return found


def _members(cast: Cast) -> list[bytes]:
    """The site's and the snapshot's ZIP: each member, and the whole."""
    browser, snapshot = cast.client(cast.lena), Snapshot.objects.get()
    answers: list[Any] = [
        browser.get(reverse("collection_zip", args=[cast.north.pk])),
        cast.client(cast.max).get(reverse("snapshot_zip", args=[snapshot.pk])),
    ]
    wholes = [b"".join(answer.streaming_content) for answer in answers]
    archives = [zipfile.ZipFile(io.BytesIO(whole)) for whole in wholes]
    assert all(len(archive.namelist()) == len(markers.ALL) + 2 for archive in archives)
    return [*wholes, *(archive.read(name) for archive in archives for name in archive.namelist())]


def _responses(cast: Cast, upload: int) -> Iterator[bytes]:
    """Every page and picture of these images but the original itself, as the site's lead gets them."""
    browser = cast.client(cast.lena)
    addresses = [reverse(route) for route in ("home", "gallery", "upload_list", "collection", "api:image-list")]
    addresses += [reverse(route, args=[upload]) for route in ("upload", "upload_live", "upload_outcomes")]
    addresses.append(reverse("collection_csv", args=[cast.north.pk]))
    for pk in Image.objects.values_list("pk", flat=True):
        addresses += [reverse(route, args=[pk]) for route in ("image", "image_thumb", "image_picture", "api:image-detail")]
    for address in addresses:
        answer: Any = browser.get(address)
        assert answer.status_code == 200, address
        yield b"".join(answer.streaming_content) if answer.streaming else answer.content
