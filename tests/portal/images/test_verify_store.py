"""The stores beside their rows: every flipped byte, every lost and every stray blob is found, and what can be mended is."""

from __future__ import annotations

import os
import random
import time
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from portal.accounts.models import Site
from portal.holdings.models import StoreCheck
from portal.images import checking, kept, storage
from portal.images.cleaning import sanitise_claimed
from portal.images.models import Image
from portal.images.walk import Finding, Place, Sort, Wanted, folder, walk
from portal.jobs import services as jobs
from portal.pipeline.invariants import violations
from tests.cast import Cast, make_image, make_upload, picture_bytes

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def stores(settings: Any, tmp_path: Path) -> None:
    settings.ORIGINALS_DIR, settings.CLEAN_DIR = tmp_path / "originals", tmp_path / "clean"


def _flip(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at % len(data)] ^= 0x10
    path.write_bytes(data)


def _old(path: Path) -> Path:
    os.utime(path, (time.time() - 7200,) * 2)
    return path


def _found(wanted: Wanted = Wanted(), *, repair: bool = False) -> checking.Report:
    return list(checking.check(wanted, repair=repair))[-1]


def _plant(site: Site, count: int) -> list[Path]:
    """So many originals of a few hundred bytes, each with its row."""
    upload, paths, rows = make_upload(site), [], []
    for number in range(count):
        spooled = storage.spool(_Bytes(os.urandom(300 + number % 50)), limit=lambda head: 10_000)
        rows.append(Image(site=site, upload=upload, original_name="x", sha256=spooled.sha256, size=spooled.size))
        paths.append(storage.keep_original(site.pk, spooled))
    Image.objects.bulk_create(rows)
    return paths


class _Bytes:
    def __init__(self, data: bytes) -> None:
        self.data = data

    def read(self, size: int, /) -> bytes:
        piece, self.data = self.data[:size], self.data[size:]
        return piece


# the long form: WINNOW_BLOBS=10000 WINNOW_FLIPPED=25, `make verify`
@pytest.mark.parametrize(("blobs", "flipped"), [(int(os.environ.get("WINNOW_BLOBS", "200")), int(os.environ.get("WINNOW_FLIPPED", "3")))])
def test_every_flipped_byte_is_found_and_nothing_else(cast: Cast, blobs: int, flipped: int) -> None:
    paths = _plant(cast.north, blobs // 2) + _plant(cast.river, blobs - blobs // 2)
    rng = random.Random(7)
    rotten = rng.sample(paths, flipped)
    for path in rotten:
        _flip(path, rng.randrange(10_000))
    report = _found()
    assert report.blobs == blobs
    assert {finding.name for finding in report.findings} == {path.name for path in rotten}
    assert report.counts == {Sort.ROTTEN: flipped}


def test_each_sort_is_found_in_each_store_and_the_sound_are_left_alone(cast: Cast, tmp_path: Path) -> None:
    images = [make_image(cast.north, state="settled") for _ in range(5)]
    _flip(storage.original_path(cast.north.pk, images[0].sha256), 50)
    _flip(storage.clean_path(cast.north.pk, images[1].clean_sha256, "jpg"), 700)
    storage.thumb_path(cast.north.pk, images[2].clean_sha256).write_bytes(b"\xff\xd8 not a picture")
    storage.original_path(cast.north.pk, images[3].sha256).unlink()
    storage.thumb_path(cast.north.pk, images[3].clean_sha256).unlink()
    stray = _old_blob(folder("clean", cast.north.pk) / f"{'a' * 64}.png")
    left = _old_blob(kept.temporary(tmp_path / "originals"))
    found = {(finding.sort, finding.store, finding.name, finding.images) for finding in _found().findings}
    assert found == {
        (Sort.ROTTEN, "originals", images[0].sha256, (images[0].pk,)),
        (Sort.ROTTEN, "clean", f"{images[1].clean_sha256}.jpg", (images[1].pk,)),
        (Sort.ROTTEN, "thumbs", f"{images[2].clean_sha256}.jpg", (images[2].pk,)),
        (Sort.MISSING, "originals", images[3].sha256, (images[3].pk,)),
        (Sort.MISSING, "thumbs", f"{images[3].clean_sha256}.jpg", (images[3].pk,)),
        (Sort.ORPHAN, "clean", stray.name, ()),
        (Sort.LEFTOVER, "originals", left.name, ()),
    }


def _old_blob(path: Path) -> Path:
    path.write_bytes(b"nobody's")
    return _old(path)


def test_what_has_just_come_is_nobodys_orphan_yet(cast: Cast) -> None:
    make_image(cast.north)
    (folder("originals", cast.north.pk) / ("b" * 64)).write_bytes(b"its row is being written")
    assert _found().findings == []


def test_what_is_older_than_a_day_or_not_in_the_sample_is_not_read(cast: Cast) -> None:
    path = storage.original_path(cast.north.pk, make_image(cast.north).sha256)
    _flip(path, 9)
    _old(path)
    assert _found(Wanted(since=time.time() - 3600)).findings == []
    assert _found(Wanted(share=1e-9)).findings == []
    assert _found().counts == {Sort.ROTTEN: 1}


def test_repair_puts_strays_aside_and_makes_pictures_anew_from_sound_originals(cast: Cast, tmp_path: Path) -> None:
    good, lost = _cleaned(cast), _cleaned(cast)
    clean = storage.clean_path(cast.north.pk, good.clean_sha256, "jpg")
    before = clean.read_bytes()
    _flip(clean, 700)
    storage.thumb_path(cast.north.pk, good.clean_sha256).unlink()
    _flip(storage.original_path(cast.north.pk, lost.sha256), 700)
    storage.clean_path(cast.north.pk, lost.clean_sha256, "jpg").unlink()
    stray = _old_blob(folder("originals", cast.north.pk) / ("c" * 64))
    report = _found(repair=True)
    assert report.mended == {Sort.ORPHAN: 1, Sort.ROTTEN: 1, Sort.MISSING: 1}
    assert clean.read_bytes() == before
    assert not stray.exists()
    assert (tmp_path / "originals" / "lost+found" / str(cast.north.pk) / stray.name).read_bytes() == b"nobody's"
    assert {(finding.sort, finding.store) for finding in _found().findings} == {(Sort.ROTTEN, "originals"), (Sort.MISSING, "clean")}


def _cleaned(cast: Cast) -> Image:
    """An image that went the way of the sanitiser, so that it can be made again."""
    image = make_image(cast.north, data=picture_bytes(size=(160, 120)))
    jobs.enqueue(kind="sanitise", subject_id=image.pk)
    sanitise_claimed(jobs.claim("sanitise", worker="w"))
    image.refresh_from_db()
    assert image.state == "clean"
    return image


def test_the_command_says_what_is_wrong_and_its_exit_status_too(cast: Cast, capsys: pytest.CaptureFixture[str]) -> None:
    image = make_image(cast.north)
    call_command("verify_store")
    assert "All is sound." in capsys.readouterr().out
    _flip(storage.original_path(cast.north.pk, image.sha256), 5)
    with pytest.raises(CommandError, match="1 rotten"):
        call_command("verify_store")
    assert f"rotten: originals/{cast.north.pk}/{image.sha256}, image {image.pk}" in capsys.readouterr().out


def test_the_weekly_check_works_in_turns_and_goes_on_where_it_was(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    rotten = _plant(cast.north, 12)[::5]
    for path in rotten:
        _flip(path, 3)
    monkeypatch.setattr(checking, "TURN_SECONDS", -1.0)
    check = checking.begin_when_due()
    assert check is not None
    assert checking.begin_when_due() is None
    turns = 0
    while claims := jobs.claim("verify", worker="w"):
        checking.go_on(claims[0])
        turns += 1
    check.refresh_from_db()
    assert turns == 13
    assert (check.state, check.blobs, check.counts) == ("done", 12, {"rotten": 3})
    assert {Finding(**one).name for one in check.findings} == {path.name for path in rotten}
    assert "blobs.rotten_or_missing_at_the_last_check" in violations()


def test_a_walk_taken_up_anywhere_sees_the_rest_and_only_that(cast: Cast) -> None:
    for _ in range(6):
        make_image(cast.north, state="clean")
    make_image(cast.river, state="clean")
    sites = list(Site.objects.values_list("pk", flat=True))
    whole = [step.place for step in walk(sites, Place(), Wanted())]
    assert len(whole) == 21
    for cut in (0, 5, 6, 13, 20):
        assert [step.place for step in walk(sites, whole[cut], Wanted())] == whole[cut + 1 :]


def test_one_check_at_a_time(cast: Cast) -> None:
    first = checking.begin(actor_id=cast.sys.pk)
    assert checking.begin(actor_id=cast.sys.pk).pk == first.pk
    assert StoreCheck.objects.count() == 1
