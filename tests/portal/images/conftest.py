"""Uploads with the cast: alice sends to north, bob to river; stores of the test's own."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from portal.accounts.models import User
from portal.images import services
from portal.images.models import Image, Upload, UploadFile
from portal.jobs import services as jobs
from tests.cast import Cast
from tests.portal.images import pictures

Send = Callable[..., UploadFile]


@pytest.fixture(autouse=True)
def stores(settings: Any, tmp_path: Path) -> Path:
    settings.ORIGINALS_DIR, settings.CLEAN_DIR = tmp_path / "originals", tmp_path / "clean"
    return tmp_path


@pytest.fixture
def upload(cast: Cast) -> Upload:
    return services.open_upload(site=cast.north, actor=cast.alice, note="May", expected=3)


@pytest.fixture
def send(cast: Cast, upload: Upload) -> Send:
    """Send one file to the upload, as alice; a picture of its own where no bytes are given."""
    shades = iter(range(1, 200))

    def one(name: str = "a.jpg", data: bytes | None = None, *, to: Upload | None = None, actor: User | None = None) -> UploadFile:
        data = pictures.encoded(pictures.scene(160, 120 + 2 * next(shades))) if data is None else data
        return services.receive(upload=to or upload, file=io.BytesIO(data), name=name, actor=actor or cast.alice)

    return one


def sanitise_all() -> None:
    while claims := jobs.claim("sanitise", worker="test"):
        services.sanitise_claimed(claims)


def fresh(file: UploadFile) -> UploadFile:
    return UploadFile.objects.select_related("image__exam__patient").get(pk=file.pk)


def image_of(file: UploadFile) -> Image:
    image = fresh(file).image
    assert image is not None
    return image
