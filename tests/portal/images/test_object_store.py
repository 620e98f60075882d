"""The stores in an S3-compatible object store: moto's server, over HTTP. What the portal does with files, and what without it."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from django.db import connection, transaction
from moto.server import ThreadedMotoServer

from portal.erasure import services as erasures
from portal.erasure import work
from portal.erasure.subjects import of_image
from portal.images import checking, kept, objects, quarantine, services, storage
from portal.images.models import FileOutcome, Image, Upload, UploadFile
from portal.images.walk import Sort, Wanted
from portal.jobs import services as jobs
from tests.cast import Cast
from tests.portal.images import pictures
from tests.portal.images.conftest import Send, image_of, sanitise_all

pytestmark = pytest.mark.django_db
BUCKETS = {"originals": "winnow-originals", "clean": "winnow-clean"}


class Store:
    """The server, which can be stopped and started at its port, and a client of the test's own."""

    def __init__(self) -> None:
        self.server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        self.server.start()
        self.port = self.server.get_host_and_port()[1]
        self.client = boto3.client(
            "s3", endpoint_url=self.url, aws_access_key_id="key", aws_secret_access_key="secret", region_name="us-east-1"
        )
        for bucket in BUCKETS.values():
            self.client.create_bucket(Bucket=bucket)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def stop(self) -> None:
        self.server.stop()

    def start(self) -> None:
        self.server = ThreadedMotoServer(ip_address="127.0.0.1", port=self.port, verbose=False)
        self.server.start()

    def keys(self, store: str) -> list[str]:
        return [one["Key"] for one in self.client.list_objects_v2(Bucket=BUCKETS[store]).get("Contents", [])]

    def empty(self) -> None:
        for store, bucket in BUCKETS.items():
            for key in self.keys(store):
                self.client.delete_object(Bucket=bucket, Key=key)


@pytest.fixture(scope="module")
def server() -> Iterator[Store]:
    store = Store()
    yield store
    store.stop()


@pytest.fixture
def store(server: Store, settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    settings.STORE, settings.S3_ENDPOINT, settings.S3_KEY, settings.S3_SECRET = "s3", server.url, "key", "secret"
    settings.S3_ORIGINALS, settings.S3_CLEAN, settings.S3_PREFIX = BUCKETS["originals"], BUCKETS["clean"], "pool"
    settings.S3_ENCRYPTION = "AES256"
    monkeypatch.setattr(objects, "_SECONDS", {"connect_timeout": 1, "read_timeout": 2})
    objects._storage.cache_clear()
    server.empty()
    yield server
    objects._storage.cache_clear()


def empty_cache(stores: Path) -> None:
    """Another machine, or a cache that was swept."""
    for path in stores.glob("*/[0-9]*/**/*"):
        if path.is_file():
            path.unlink()


def found() -> dict[str, int]:
    return list(checking.check(Wanted(), repair=False))[-1].counts


def _bytes(answer: Any) -> bytes:
    return b"".join(answer.streaming_content)


def clean_of(image: Image) -> Path:
    return storage.clean_path(image.site_id, image.clean_sha256, image.clean_format)


def test_a_file_goes_its_whole_way_with_nothing_left_on_this_disk(
    store: Store, send: Send, stores: Path, cast: Cast, upload: Upload
) -> None:
    files = [send(f"{n}.jpg") for n in range(3)]
    assert len(store.keys("originals")) == 3
    assert all(key.startswith(f"pool/{cast.north.pk}/") for key in store.keys("originals"))
    empty_cache(stores)
    sanitise_all()
    images = [image_of(file) for file in files]
    assert {image.state for image in images} == {"clean"}
    assert len(store.keys("clean")) == 6
    about = store.client.head_object(Bucket=BUCKETS["clean"], Key=store.keys("clean")[0])
    assert about["ServerSideEncryption"] == "AES256"

    empty_cache(stores)
    client = cast.client(cast.alice)
    for what in ("thumb", "picture", "original"):
        answer = client.get(f"/images/{images[0].pk}/{what}/")
        assert answer.status_code == 200
        assert len(_bytes(answer)) > 500
        assert not [value for value in answer.headers.values() if store.url in value or "winnow-" in value]
    assert send("again.jpg", storage.original_path(cast.north.pk, images[0].sha256).read_bytes()).outcome == FileOutcome.DUPLICATE
    assert len(store.keys("originals")) == 3
    assert found() == {}


def test_rotten_missing_and_orphan_objects_are_found_and_mended(store: Store, send: Send, stores: Path, cast: Cast) -> None:
    files = [send(f"{n}.jpg") for n in range(3)]
    sanitise_all()
    first, second, third = (image_of(file) for file in files)
    key = f"pool/{cast.north.pk}/{first.clean_sha256}.{first.clean_format}"
    good = store.client.get_object(Bucket=BUCKETS["clean"], Key=key)["Body"].read()
    store.client.put_object(Bucket=BUCKETS["clean"], Key=key, Body=good[:-9] + b"x" * 9)
    store.client.delete_object(Bucket=BUCKETS["originals"], Key=f"pool/{cast.north.pk}/{second.sha256}")
    assert found() == {Sort.ROTTEN: 1, Sort.MISSING: 1}

    empty_cache(stores)
    assert cast.client(cast.alice).get(f"/images/{third.pk}/picture/").status_code == 200
    with pytest.raises(kept.Damaged):
        kept.local(clean_of(first))
    assert not clean_of(first).exists(), "what is damaged must not come into the cache"
    report = list(checking.check(Wanted(), repair=True))[-1]
    assert report.mended == {Sort.ROTTEN: 1}
    assert store.client.get_object(Bucket=BUCKETS["clean"], Key=key)["Body"].read() == good


def test_what_is_blanked_or_erased_is_gone_from_the_object_store(store: Store, send: Send, stores: Path, cast: Cast) -> None:
    image = image_of(send())
    sanitise_all()
    image.refresh_from_db()
    before = set(store.keys("clean"))
    with transaction.atomic():
        quarantine._take_out(image, [(10.0, 10.0, 60.0, 40.0)])
    for run in connection.run_on_commit:
        run[1]()
    image.refresh_from_db()
    assert len(store.keys("clean")) == 2
    assert not before & set(store.keys("clean"))
    erasures.ask(subject=(subject := of_image(image)), typed=subject.code, actor=cast.lena)
    for claim in jobs.claim("erase", worker="test"):
        work.erase(claim)
    assert (store.keys("originals"), store.keys("clean")) == ([], [])
    assert not [path for path in stores.rglob("*") if path.is_file()]


def test_while_the_store_is_away_senders_are_told_to_wait_and_work_waits(
    store: Store, send: Send, stores: Path, cast: Cast, upload: Upload
) -> None:
    before = send("before.jpg")
    empty_cache(stores)
    store.stop()
    try:
        data = pictures.encoded(pictures.scene(200, 150))
        client = cast.client(cast.alice)
        url = f"/uploads/{upload.pk}/files/?name=during.jpg"
        answer = client.post(url, data, content_type="application/octet-stream", headers={"Accept": "application/json"})
        assert (answer.status_code, answer.json()["code"], answer["Retry-After"]) == (503, "store_unreachable", "30")
        assert not UploadFile.objects.filter(name="during.jpg").exists()
        claims = jobs.claim("sanitise", worker="test")
        with pytest.raises(jobs.TryLater):
            services.sanitise_claimed(claims)
        assert image_of(before).state == "received", "the image is no worse for it"
        assert "does not answer" in cast.client(cast.sys).get("/store/").content.decode()
    finally:
        store.start()
    for bucket in BUCKETS.values():
        store.client.create_bucket(Bucket=bucket)
    answer = client.post(url, data, content_type="application/octet-stream", headers={"Accept": "application/json"})
    assert answer.json()["outcome"] == "accepted"
    assert len(store.keys("originals")) >= 1
    assert "It answers" in cast.client(cast.sys).get("/store/").content.decode()


def test_the_cache_keeps_within_its_room_and_what_was_used_just_now(store: Store, send: Send, settings: Any, stores: Path) -> None:
    paths = [storage.original_path((image := image_of(send(f"{n}.jpg"))).site_id, image.sha256) for n in range(4)]
    settings.CACHE_BYTES = 0
    assert kept.shrink() == 0, "all were used within the hour"
    for age, path in enumerate(paths[:3]):
        os.utime(path, (time.time() - 7200 - age,) * 2)
    settings.CACHE_BYTES = sum(path.stat().st_size for path in paths) - 1
    assert kept.shrink() == 1
    assert [path.exists() for path in paths] == [True, True, False, True]
    kept.local(paths[2])
    assert kept.find(paths[2]) is not None
    assert paths[2].exists()
