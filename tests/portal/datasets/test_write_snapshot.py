"""The folder of a snapshot, as docs/CONTRACTS.md has it, whatever kills its writer."""

import csv
import hashlib
import json
import os
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings

from portal.datasets import folder
from portal.datasets.models import Snapshot, SnapshotState
from portal.datasets.query import Query
from portal.datasets.services import create_snapshot, retry_snapshot, write_snapshot
from portal.images import storage
from portal.images.models import Exam, Image
from portal.jobs.models import Job
from portal.jobs.services import Claim, LostClaim, claim
from tests.cast import Cast, make_image
from training.manifest import read_snapshot

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def cast(transactional_db: None) -> Cast:
    from tests.cast import make_cast

    return make_cast()


def _snapshot(cast: Cast) -> Snapshot:
    for n, kind in enumerate(["regular", "regular", "green_filter", "lugol_iodine"]):
        make_image(cast.north, state="settled", patient=f"P{n}", kind=kind)
    return create_snapshot(name="first", query=Query(), actor=cast.max)


def _claim() -> Claim:
    return claim("freeze", worker="test")[0]


def test_the_folder_is_as_the_contract_says(cast: Cast) -> None:
    snapshot = _snapshot(cast)
    write_snapshot(_claim())
    snapshot.refresh_from_db()
    place = Path(snapshot.folder)
    assert snapshot.state == SnapshotState.FROZEN
    assert place == settings.SNAPSHOTS_DIR / f"{snapshot.pk}-{snapshot.hash[:16]}"
    manifest = (place / "manifest.csv").read_bytes()
    assert hashlib.sha256(manifest).hexdigest() == snapshot.hash
    rows = list(csv.DictReader(manifest.decode().splitlines()))
    for row in rows:
        assert hashlib.sha256((place / row["path"]).read_bytes()).hexdigest() == row["sha256"]
        assert (row["site"], row["provenance"]) == ("north", "consensus")
        assert float(row["box_x1"]) == 76.0
    about = json.loads((place / "snapshot.json").read_text())
    assert (about["name"], about["hash"], about["images"], about["patients"]) == ("first", snapshot.hash, 4, 4)
    assert Job.objects.get(kind="freeze").state == "done"


def test_training_reads_what_is_written(cast: Cast) -> None:
    snapshot = _snapshot(cast)
    write_snapshot(_claim())
    snapshot.refresh_from_db()
    read = read_snapshot(Path(snapshot.folder))
    assert read.hash == snapshot.hash
    assert len(read.records) == 4


class _Killed(BaseException):
    """As a kill -9: nothing catches it."""


@pytest.mark.parametrize("point", ["snapshot_picture", "snapshot_before_rename"])
def test_a_killed_writer_leaves_no_snapshot_and_the_next_goes_on(cast: Cast, monkeypatch: pytest.MonkeyPatch, point: str) -> None:
    snapshot = _snapshot(cast)
    seen: list[str] = []

    def die(at: str) -> None:
        seen.append(at)
        if at == point and seen.count(at) == (2 if at == "snapshot_picture" else 1):
            raise _Killed

    monkeypatch.setattr(folder, "fault", die)
    with pytest.raises(_Killed):
        write_snapshot(_claim())
    assert list(settings.SNAPSHOTS_DIR.glob(f"{snapshot.pk}-{snapshot.hash[:16]}*")) == []
    monkeypatch.setattr(folder, "fault", lambda at: None)
    _let_another_worker_claim()
    write_snapshot(_claim())
    snapshot.refresh_from_db()
    assert snapshot.state == SnapshotState.FROZEN
    assert read_snapshot(Path(snapshot.folder)).hash == snapshot.hash
    assert list(settings.SNAPSHOTS_DIR.glob(f".writing-{snapshot.pk}-{snapshot.hash[:16]}*")) == []


def test_a_writer_killed_before_its_commit_is_followed_by_one_that_only_commits(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    snapshot = _snapshot(cast)

    def die(held: Claim) -> None:
        raise _Killed

    with monkeypatch.context() as patched:
        patched.setattr("portal.datasets.services.complete", die)
        with pytest.raises(_Killed):
            write_snapshot(_claim())
    snapshot.refresh_from_db()
    assert (snapshot.state, snapshot.folder) == (SnapshotState.WRITING, "")
    _let_another_worker_claim()
    write_snapshot(_claim())
    snapshot.refresh_from_db()
    assert snapshot.state == SnapshotState.FROZEN


def test_a_late_writer_is_refused(cast: Cast) -> None:
    _snapshot(cast)
    late = _claim()
    _let_another_worker_claim()
    _claim()
    with pytest.raises(LostClaim):
        write_snapshot(late)


def test_pictures_are_copied_where_links_do_not_reach(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    snapshot = _snapshot(cast)

    def refuse(*paths: Any) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", refuse)
    write_snapshot(_claim())
    snapshot.refresh_from_db()
    assert read_snapshot(Path(snapshot.folder)).hash == snapshot.hash


def test_a_missing_picture_fails_the_snapshot_with_its_reason_and_it_can_be_tried_again(cast: Cast) -> None:
    snapshot = _snapshot(cast)
    lost = Image.objects.order_by("id").first()
    assert lost is not None
    path = storage.clean_path(lost.site_id, lost.clean_sha256, lost.clean_format)
    data = path.read_bytes()
    path.unlink()
    write_snapshot(_claim())
    snapshot.refresh_from_db()
    assert snapshot.state == SnapshotState.FAILED
    assert f"image {lost.pk} is not in the store" in snapshot.error
    path.write_bytes(data)
    retry_snapshot(snapshot=snapshot, actor=cast.max)
    write_snapshot(_claim())
    snapshot.refresh_from_db()
    assert (snapshot.state, snapshot.error) == (SnapshotState.FROZEN, "")


def test_what_changed_since_the_choice_is_not_written(cast: Cast) -> None:
    snapshot = _snapshot(cast)
    Exam.objects.update(code="another")
    write_snapshot(_claim())
    snapshot.refresh_from_db()
    assert snapshot.state == SnapshotState.FAILED
    assert "was changed since" in snapshot.error


def _let_another_worker_claim() -> None:
    """As the sweep does after a lease has run out."""
    Job.objects.filter(kind="freeze", state="claimed").update(state="queued", lease_until=None)
