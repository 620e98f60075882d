"""The stores in an S3-compatible object store: moto's server, over HTTP. What the portal does with files, and what without it."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
import pytest
from django.utils import timezone
from moto.server import ThreadedMotoServer

from portal.audit.models import AuditEvent
from portal.erasure import services as erasures
from portal.erasure import work
from portal.erasure.subjects import of_image
from portal.images import checking, kept, objects, quarantine, services, storage
from portal.images.models import FileOutcome, Image, TextFound, Upload, UploadFile
from portal.images.walk import Sort, Wanted
from portal.jobs import services as jobs
from portal.jobs.models import Job
from portal.pipeline import invariants, runner
from portal.pipeline.handlers import HANDLERS
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
    _held(image)
    quarantine.blank(image=image, boxes=[(10.0, 10.0, 60.0, 40.0)], actor=cast.alice)
    runner.drain("drop", HANDLERS["drop"])
    image.refresh_from_db()
    assert len(store.keys("clean")) == 2
    assert not before & set(store.keys("clean"))
    erasures.ask(subject=(subject := of_image(image)), typed=subject.code, actor=cast.lena)
    for claim in jobs.claim("erase", worker="test"):
        work.erase(claim)
    assert (store.keys("originals"), store.keys("clean")) == ([], [])
    assert not [path for path in stores.rglob("*") if path.is_file()]


def _held(image: Image) -> None:
    """In quarantine, with text that was found."""
    TextFound.objects.update_or_create(image=image, defaults={"boxes": [[10.0, 10.0, 60.0, 40.0]], "checked": timezone.now()})
    Image.objects.filter(pk=image.pk).update(state="quarantined")


@contextmanager
def away(store: Store) -> Iterator[None]:
    """No server listens at the store's port; what it held is there again afterwards."""
    held = {kind: {key: store.client.get_object(Bucket=bucket, Key=key)["Body"].read() for key in store.keys(kind)}
            for kind, bucket in BUCKETS.items()}  # fmt: skip
    store.stop()
    try:
        yield
    finally:
        store.start()
        for kind, bucket in BUCKETS.items():
            store.client.create_bucket(Bucket=bucket)
            for key, body in held[kind].items():
                store.client.put_object(Bucket=bucket, Key=key, Body=body)


def drain(kind: str) -> None:
    Job.objects.filter(kind=kind, state="queued").update(not_before="2000-01-01T00:00Z")
    runner.drain(kind, HANDLERS[kind])


def test_a_picture_is_not_blanked_while_the_store_is_away_and_nothing_of_it_is_half_done(
    store: Store, send: Send, stores: Path, cast: Cast
) -> None:
    image = image_of(send())
    sanitise_all()
    _held(image)
    image.refresh_from_db()
    before, alice = store.keys("clean"), cast.client(cast.alice)
    for cached in (True, False):
        if not cached:
            empty_cache(stores)
        with away(store):
            answer = alice.post(f"/quarantine/images/{image.pk}/blank/", {"box": "0"})
            assert (answer.status_code, answer["Retry-After"]) == (503, "30")
            assert "Nothing is lost: try again in a minute." in answer.content.decode()
        now = image_of(UploadFile.objects.get(image=image))
        assert (now.state, now.clean_sha256) == ("quarantined", image.clean_sha256)
        assert TextFound.objects.get(image=image).cleared == ""
        assert store.keys("clean") == before
    assert alice.post(f"/quarantine/images/{image.pk}/blank/", {"box": "0"}).status_code == 302
    drain("drop")
    assert len(store.keys("clean")) == 2
    assert not set(before) & set(store.keys("clean"))


def test_what_was_blanked_leaves_the_store_once_it_answers_again(store: Store, send: Send, stores: Path, cast: Cast) -> None:
    image = image_of(send())
    sanitise_all()
    _held(image)
    before = store.keys("clean")
    quarantine.blank(image=image, boxes=[(10.0, 10.0, 60.0, 40.0)], actor=cast.alice)
    assert set(before) < set(store.keys("clean"))
    with away(store):
        for _ in range(4):
            drain("drop")
        (job,) = Job.objects.filter(kind="drop")
        assert (job.state, job.errors, len(TextFound.objects.get(image=image).replaced)) == ("queued", 0, 1)
        assert "lost.replaced_picture_without_drop" not in violations_of_rows()
    drain("drop")
    assert not set(before) & set(store.keys("clean"))
    assert TextFound.objects.get(image=image).replaced == []
    assert AuditEvent.objects.filter(action="image.replaced_dropped", subject_id=image.pk).count() == 1


def violations_of_rows() -> set[str]:
    queries, _ = invariants.collect()
    return {name for name, query in queries.items() if invariants._first(query)}


@pytest.mark.parametrize("blanked", [False, True], ids=["as it came", "just blanked"])
def test_an_erasure_waits_for_the_store_and_goes_on_from_where_it_was(
    store: Store, send: Send, stores: Path, cast: Cast, blanked: bool
) -> None:
    """Also of a picture that was blanked and whose first form had not left the store."""
    image = image_of(send())
    sanitise_all()
    image.refresh_from_db()
    if blanked:
        _held(image)
        quarantine.blank(image=image, boxes=[(10.0, 10.0, 60.0, 40.0)], actor=cast.alice)
    erasure = erasures.ask(subject=(subject := of_image(image)), typed=subject.code, actor=cast.lena)
    with away(store):
        for _ in range(4):
            drain("erase")
        erasure.refresh_from_db()
        (job,) = Job.objects.filter(kind="erase")
        assert (erasure.state, job.state, job.errors) == ("waiting", "queued", 0)
        assert {sha256 for _, sha256, *_ in erasure.files} == {image.sha256}
        page = cast.client(cast.lena).get(f"/erasures/{erasure.pk}/").content.decode()
        assert "1 image is out of every list. The rest waits until the store answers" in page
    drain("erase")
    drain("drop")
    erasure.refresh_from_db()
    assert (erasure.state, store.keys("originals"), store.keys("clean")) == ("done", [], [])
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
