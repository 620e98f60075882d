"""How much a site may hold: refused in words where the person looks, counted exactly, never in the way of what is here already."""

from __future__ import annotations

import io
from typing import Any

import pytest

from portal.audit.models import AuditEvent
from portal.core.errors import BadInput, NotAllowed
from portal.holdings import quotas, services
from portal.holdings.models import SiteHolding
from portal.holdings.quotas import Limits, Use
from portal.images import room
from portal.images import services as images
from portal.images.models import Image, Upload, UploadFile
from portal.pipeline.invariants import violations
from tests.cast import Cast, picture_bytes

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def counted_anew() -> None:
    room._counted.clear()


def _send(upload: Upload, cast: Cast, data: bytes, name: str = "a.jpg") -> UploadFile:
    room._counted.clear()
    return images.receive(upload=upload, file=io.BytesIO(data), name=name, actor=cast.alice)


def _limit(cast: Cast, **limits: int) -> None:
    services.set_limits(site=cast.north, actor=cast.sys, **{"max_bytes": None, "max_files": None, "max_in_work": None, **limits})


def test_files_and_bytes_are_counted_once_each(cast: Cast) -> None:
    upload, data = images.open_upload(site=cast.north, actor=cast.alice), [picture_bytes() for _ in range(3)]
    for one in [*data, data[0]]:
        _send(upload, cast, one)
    held = SiteHolding.objects.get(site=cast.north)
    assert (held.files, held.bytes) == (3, sum(map(len, data)))
    assert "holdings.counted_wrong" not in violations()
    SiteHolding.objects.update(files=9)
    assert "holdings.counted_wrong" in violations()


def test_beyond_the_files_nothing_new_is_taken_in_but_what_is_here_is_known(cast: Cast) -> None:
    upload, first = images.open_upload(site=cast.north, actor=cast.alice), picture_bytes()
    _send(upload, cast, first)
    _limit(cast, max_files=1)
    with pytest.raises(room.NoRoom, match="as many as it may") as refused:
        _send(upload, cast, picture_bytes(), "b.jpg")
    assert refused.value.status == 507
    assert _send(upload, cast, first, "again.jpg").outcome == "duplicate"
    assert Image.objects.count() == 1


def test_a_refused_file_leaves_nothing_on_the_disk(cast: Cast, settings: Any, tmp_path: Any) -> None:
    settings.ORIGINALS_DIR = tmp_path
    upload = images.open_upload(site=cast.north, actor=cast.alice)
    _limit(cast, max_bytes=10)
    with pytest.raises(room.NoRoom):
        _send(upload, cast, picture_bytes())
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_a_site_with_too_much_in_work_is_asked_to_wait(cast: Cast) -> None:
    upload = images.open_upload(site=cast.north, actor=cast.alice)
    _limit(cast, max_in_work=2)
    _send(upload, cast, picture_bytes(), "1.jpg")
    _send(upload, cast, picture_bytes(), "2.jpg")
    with pytest.raises(room.TooBusy, match="Wait a while"):
        _send(upload, cast, picture_bytes(), "3.jpg")
    Image.objects.update(state="failed", state_reason="a test")
    assert _send(upload, cast, picture_bytes(), "3.jpg").outcome == "accepted"


def test_one_sites_limit_is_no_other_sites(cast: Cast) -> None:
    _limit(cast, max_files=1)
    upload = images.open_upload(site=cast.river, actor=cast.bob)
    for number in range(2):
        images.receive(upload=upload, file=io.BytesIO(picture_bytes()), name=f"{number}.jpg", actor=cast.bob)
    assert Image.objects.filter(site=cast.river).count() == 2


def test_the_upload_page_says_it_before_anything_is_sent(cast: Cast) -> None:
    upload = images.open_upload(site=cast.north, actor=cast.alice)
    _send(upload, cast, picture_bytes())
    _limit(cast, max_files=1)
    browser = cast.client(cast.alice)
    page = browser.get("/uploads/new/")
    assert "1 of 1 files" in page.content.decode()
    refused = browser.post("/uploads/new/", {"site": cast.north.pk}, headers={"Accept": "application/json"})
    assert refused.status_code == 507
    assert "Ask your administrator" in refused.json()["message"]
    file = browser.post(
        f"/uploads/{upload.pk}/files/?name=b.jpg", picture_bytes(), content_type="image/jpeg", headers={"Accept": "application/json"}
    )
    assert (file.status_code, file.json()["code"]) == (507, "no_room")


def test_the_installations_limits_hold_where_a_site_has_none_of_its_own(cast: Cast, settings: Any) -> None:
    settings.SITE_FILES = 1
    upload = images.open_upload(site=cast.north, actor=cast.alice)
    _send(upload, cast, picture_bytes())
    with pytest.raises(room.NoRoom):
        _send(upload, cast, picture_bytes(), "b.jpg")
    _limit(cast, max_files=0)
    assert _send(upload, cast, picture_bytes(), "b.jpg").outcome == "accepted"


def test_only_the_system_administrator_sets_limits_and_the_trail_says_from_what_to_what(cast: Cast) -> None:
    _limit(cast, max_files=5)
    _limit(cast, max_files=7)
    said = AuditEvent.objects.filter(action="limits_set").order_by("-pk")[0].details
    assert (said["before"]["max_files"], said["after"]["max_files"]) == (5, 7)
    with pytest.raises(NotAllowed):
        services.set_limits(site=cast.north, actor=cast.lena, max_bytes=None, max_files=None, max_in_work=None)
    with pytest.raises(BadInput):
        _limit(cast, max_files=-1)


def test_the_words_at_the_edge() -> None:
    assert quotas.full(Use(files=4), Limits(files=5)) == ""
    assert "5 files" in quotas.full(Use(files=5), Limits(files=5))
    assert quotas.full(Use(bytes=90), Limits(bytes=100), 10) == ""
    assert quotas.full(Use(bytes=90), Limits(bytes=100), 11)
    assert quotas.full(Use(bytes=10**15, files=10**9), Limits()) == ""
    assert quotas.said(1_234_000_000) == "1.2 GB"
    assert [line.left for line in quotas.lines(Use(files=3), Limits(files=5))] == [None, 2, None]
