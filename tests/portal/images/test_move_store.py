"""The stores move from the folders to the object store and back: every blob compared, nothing sent twice, nothing rotten taken along."""

from __future__ import annotations

from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from portal.images import storage
from portal.images.models import UploadFile
from tests.cast import Cast
from tests.portal.images.conftest import Send, image_of, sanitise_all
from tests.portal.images.test_object_store import BUCKETS, Store, away, clean_of, empty_cache, found, server, store

__all__ = ["server", "store"]
pytestmark = pytest.mark.django_db


def move(to: str) -> str:
    said = StringIO()
    call_command("move_store", to=to, stdout=said)
    return said.getvalue()


@pytest.fixture
def on_disk(store: Store, settings: Any, send: Send) -> None:
    """Three images in folders, of a portal that is to move."""
    settings.STORE = "files"
    for n in range(3):
        send(f"{n}.jpg")
    sanitise_all()


@pytest.mark.usefixtures("on_disk")
def test_to_the_object_store_and_back_nothing_is_lost_and_nothing_is_sent_twice(
    store: Store, settings: Any, stores: Path, cast: Cast
) -> None:
    before = {path.relative_to(stores): path.read_bytes() for path in stores.glob("*/[0-9]*/**/*") if path.is_file()}
    assert len(before) == 9
    assert "9 blobs, 0.00 GB: all compared, 9 copied now.\nNow set WINNOW_STORE=s3" in move("s3")
    assert "9 blobs, 0.00 GB: all compared, 0 copied now." in move("s3")
    settings.STORE = "s3"
    empty_cache(stores)
    assert found() == {}
    assert "9 blobs, 0.00 GB: all compared, 9 copied now.\nNow set WINNOW_STORE=files" in move("files")
    settings.STORE = "files"
    assert {path.relative_to(stores): path.read_bytes() for path in stores.glob("*/[0-9]*/**/*") if path.is_file()} == before
    assert found() == {}
    assert not list(stores.glob("*/.incoming/*"))


@pytest.mark.usefixtures("on_disk")
def test_what_is_rotten_on_either_side_is_named_and_not_taken_along(store: Store, settings: Any, stores: Path, cast: Cast) -> None:
    first, second = (image_of(file) for file in _files(cast)[:2])
    original = storage.original_path(first.site_id, first.sha256)
    good = original.read_bytes()
    original.write_bytes(good[:-1] + b"x")
    with pytest.raises(CommandError, match="1 cannot be relied on there"):
        move("s3")
    assert f"pool/{cast.north.pk}/{first.sha256}" not in store.keys("originals")
    original.write_bytes(good)
    move("s3")
    key = f"pool/{cast.north.pk}/{clean_of(second).name}"
    held = store.client.get_object(Bucket=BUCKETS["clean"], Key=key)["Body"].read()
    store.client.put_object(Bucket=BUCKETS["clean"], Key=key, Body=held[:-1] + b"x")
    assert "1 copied now" in move("s3"), "a rotten one of the same size is written over"
    store.client.put_object(Bucket=BUCKETS["clean"], Key=key, Body=held[:-1] + b"x")
    empty_cache(stores)
    with pytest.raises(CommandError, match="1 cannot be relied on there"):
        move("files")
    assert not clean_of(second).exists()


@pytest.mark.usefixtures("on_disk")
def test_without_buckets_or_without_an_answer_nothing_is_copied(store: Store, settings: Any) -> None:
    with away(store), pytest.raises(CommandError, match="Nothing was copied"):
        move("s3")
    settings.S3_CLEAN = ""
    with pytest.raises(CommandError, match="Name the two buckets first"):
        move("s3")


def _files(cast: Cast) -> list[Any]:
    return list(UploadFile.objects.filter(upload__site=cast.north).order_by("pk"))
