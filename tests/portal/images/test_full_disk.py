"""Small volumes of their own that fill up in the middle of a file: said in words, nothing torn, and it goes on by itself."""

from __future__ import annotations

import hashlib
import io
import os
import random
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.urls import reverse
from PIL import Image as Picture

from portal.images import checking, services, storage
from portal.images.models import Image, Upload, UploadFile
from portal.images.walk import Wanted
from portal.jobs import services as jobs
from portal.jobs.models import Job
from tests.cast import Cast
from tests.portal.images import pictures
from tests.portal.images.conftest import sanitise_all
from tests.portal.images.test_arrivals import Sender

pytestmark = pytest.mark.django_db
_KB = 1024
SIZE = 2048 * _KB


@pytest.fixture(autouse=True)
def volumes(stores: Path) -> Iterator[Path]:
    """Originals and clean pictures on 2 MB each."""
    mounted = []
    try:
        for name in ("originals", "clean"):
            (stores / name).mkdir()
            made = subprocess.run(
                ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "winnow-test", stores / name], capture_output=True, text=True
            )
            if made.returncode:
                pytest.skip(f"needs root and the right to mount a small tmpfs: {made.stderr.strip()}")
            mounted.append(stores / name)
        yield stores
    finally:
        for path in mounted:
            subprocess.run(["umount", "-l", path], check=True)


def _leave(folder: Path, room: int) -> Path:
    """Fill the volume until so many bytes are left."""
    found = os.statvfs(folder)
    ballast = folder / "ballast"
    ballast.write_bytes(b"\0" * (found.f_bavail * found.f_frsize - room))
    return ballast


def _photograph(number: int, size: int) -> bytes:
    """So many bytes of a JPEG of its own: what follows its end is read by nobody."""
    data = pictures.encoded(pictures.scene(160, 120 + 2 * number))
    return data + random.Random(number).randbytes(size - len(data))


def _noise(number: int) -> Picture.Image:
    return Picture.frombytes("RGB", (400, 300), random.Random(number).randbytes(360_000))


def _sound() -> bool:
    return not {"rotten", "missing", "orphan"} & set(list(checking.check(Wanted()))[-1].counts)


def test_files_that_find_no_room_are_refused_in_words_and_sent_again_they_all_arrive(cast: Cast, upload: Upload, volumes: Path) -> None:
    client = cast.client(cast.alice)
    sender, originals = Sender(client, upload), volumes / "originals"
    address = reverse("upload_file", args=[upload.pk])

    def send(number: int, data: bytes) -> Any:
        return client.post(f"{address}?name={number}.jpg", data, content_type="image/jpeg", headers={"Accept": "application/json"})

    # one that ends where the disk does: the last piece is taken in part, and no further write would say so
    files = [_photograph(number, size * _KB) for number, size in enumerate((300, 500, 1200, 700, 400))]
    assert send(0, files[0]).json()["outcome"] == "accepted"
    where = sender.create("4.jpg", len(files[4]), files[4][: 100 * _KB])["Location"]
    ballast = _leave(originals, 200 * _KB)
    for number in (1, 2, 3):
        refused = send(number, files[number])
        assert (refused.status_code, refused.json()["code"]) == (507, "store_full"), number
        assert "No space left on device" in refused.json()["message"]
        assert list((originals / ".incoming").iterdir()) == []
    piece = sender.patch(where, 100 * _KB, files[4][100 * _KB :])
    assert (piece.status_code, piece.json()["code"]) == (507, "store_full")
    assert sender.offset(where) == 100 * _KB
    assert sender.create("5.jpg", 300 * _KB, _photograph(5, 300 * _KB)).status_code == 507
    assert _sound()
    assert (Image.objects.count(), UploadFile.objects.count()) == (1, 1)

    ballast.unlink()
    assert sender.patch(where, 100 * _KB, files[4][100 * _KB :]).json()["outcome"] == "accepted"
    for number in (1, 3):
        assert send(number, files[number]).json()["outcome"] == "accepted"
    assert send(2, files[2]).status_code == 507, "it has not become larger"
    subprocess.run(["mount", "-o", f"remount,size={2 * SIZE}", originals], check=True)
    assert send(2, files[2]).json()["outcome"] == "accepted"
    for data in files:
        assert storage.original_path(cast.north.pk, hashlib.sha256(data).hexdigest()).read_bytes() == data
    assert _sound()
    assert Image.objects.filter(state="received").count() == 5


def test_the_sanitiser_waits_for_room_and_tears_no_picture(cast: Cast, upload: Upload, volumes: Path) -> None:
    clean = volumes / "clean"
    for number in range(3):
        data = pictures.encoded(_noise(number))
        services.receive(upload=upload, file=io.BytesIO(data), name=f"{number}.jpg", actor=cast.alice)
    claims = jobs.claim("sanitise", worker="w")
    services.sanitise_claimed(claims[:1])
    whole, small = (next(clean.rglob(pattern)).stat().st_size for pattern in ("[0-9]*/*.jpg", "thumbs/*.jpg"))
    first = sorted(clean.glob("[0-9]*/**/*.jpg"))
    pages, more = -(-whole // 4096), (small - 1) // 4096
    assert more, "a thumbnail of one page is written or not, and never torn"
    # at each of these the disk ends at another place: before the picture, in it, in its last page, in the thumbnail's last page
    for room in (0, whole // 2, (pages - 1) * 4096, (pages + more) * 4096):
        ballast = _leave(clean, room)
        with pytest.raises(jobs.TryLater):
            services.sanitise_claimed(claims[1:])
        ballast.unlink()
        assert Image.objects.filter(state="received").count() == 2, room
        assert list((clean / ".incoming").iterdir()) == [], room
        assert sorted(clean.glob("[0-9]*/**/*.jpg")) == first, room
        assert _sound(), room
    jobs.release(jobs.still_held(claims))
    sanitise_all()
    assert list(Image.objects.values_list("state", flat=True)) == ["clean"] * 3
    assert Job.objects.filter(kind="sanitise", state="done").count() == 3
    for image in Image.objects.all():
        with Picture.open(storage.clean_path(image.site_id, image.clean_sha256, "jpg")) as made:
            made.load()
            assert made.size == (image.width, image.height)
    assert _sound()
