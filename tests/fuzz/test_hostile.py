"""Pixel bombs and polyglots: refused in words, or rebuilt from their pixels so that nothing else is left of them."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from django.urls import reverse
from PIL import Image as Picture

from portal.images import sanitise, services
from portal.images.formats import SUFFIXES
from portal.images.models import Image
from portal.images.sanitise import Cleaned, Limits, Refused
from portal.jobs import services as jobs
from tests.cast import Cast
from tests.fuzz.bombs import bombs, scans
from tests.fuzz.polyglots import MARK, polyglots
from tests.portal.images import pictures

BOMBS, POLYGLOTS = bombs(), polyglots()


def judged(files: Mapping[str, bytes], folder: Path, **options: Any) -> Iterator[tuple[str, Cleaned | Refused]]:
    """As a worker does it: eight in one child, and alone what does not come out of it well."""
    out = folder / "out"
    out.mkdir()
    names = list(files)
    for start in range(0, len(names), 8):
        paths = {name: folder / f"{start}-{n}" for n, name in enumerate(names[start : start + 8])}
        for name, path in paths.items():
            path.write_bytes(files[name])
        made = sanitise.clean_together(list(paths.values()), out, **options)
        for name, path in paths.items():
            yield name, made.get(path) or sanitise.clean(path, out, **options)


def assert_rebuilt(made: Cleaned, name: str) -> None:
    """Both files begin and end as a picture does, and hold neither payload nor words."""
    for path in (made.picture, made.thumb):
        data = path.read_bytes()
        assert MARK not in data, name
        with Picture.open(io.BytesIO(data), formats=["JPEG", "PNG"]) as picture:
            picture.load()
            assert set(picture.info) <= {"jfif", "jfif_version", "jfif_unit", "jfif_density"}, name
        assert data.endswith(b"\xff\xd9" if data.startswith(b"\xff\xd8") else b"IEND\xae\x42\x60\x82"), name


def test_there_are_as_many_as_were_promised() -> None:
    assert len(BOMBS) + 1 >= 30
    assert len(POLYGLOTS) >= 200


def test_pixel_bombs_burst_nothing(tmp_path: Path) -> None:
    answers = dict(judged(BOMBS, tmp_path))
    assert {name for name, answer in answers.items() if answer in (sanitise.CRASHED, sanitise.TOO_SLOW)} == set()
    rebuilt = {name: answer for name, answer in answers.items() if isinstance(answer, Cleaned)}
    for name, answer in rebuilt.items():
        assert_rebuilt(answer, name)
        assert answer.width * answer.height < 50_000_000, name
    assert len(rebuilt) <= 10, f"most of these are no pictures at all: {sorted(rebuilt)}"


def test_a_picture_that_would_be_decoded_for_hours_is_ended(tmp_path: Path) -> None:
    (_, answer), *_ = judged({"scans": scans()}, tmp_path, limits=Limits(cpu=1, wall=20))
    assert answer == sanitise.TOO_SLOW


def test_nothing_of_a_polyglot_but_its_pixels_goes_on(tmp_path: Path) -> None:
    answers = dict(judged(POLYGLOTS, tmp_path))
    assert {name for name, answer in answers.items() if answer in (sanitise.CRASHED, sanitise.TOO_SLOW)} == set()
    rebuilt = {name: answer for name, answer in answers.items() if isinstance(answer, Cleaned)}
    for name, answer in rebuilt.items():
        assert_rebuilt(answer, name)
    assert 100 <= len(rebuilt) <= len(answers) - 60


_SERVED = (
    "JPEG with html behind it",
    "PNG with svg as a text",
    "DICOM with program in its preamble",
    "TIFF with script as its description",
)


@pytest.mark.django_db
@pytest.mark.parametrize("name", _SERVED)
def test_no_polyglot_is_served_as_anything_but_a_rebuilt_picture(cast: Cast, tmp_path: Path, settings: Any, name: str) -> None:
    settings.ORIGINALS_DIR, settings.CLEAN_DIR = tmp_path / "originals", tmp_path / "clean"
    upload = services.open_upload(site=cast.north, actor=cast.alice)
    services.receive(upload=upload, file=io.BytesIO(POLYGLOTS[name]), name="evil.html", actor=cast.alice)
    services.sanitise_claimed(jobs.claim("sanitise", worker="w"))
    image = Image.objects.get()
    client = cast.client(cast.alice)
    for what in ("picture", "thumb", "original"):
        answer = client.get(reverse(f"image_{what}", args=[image.pk]))
        body = b"".join(answer.streaming_content)  # type: ignore[attr-defined]
        assert answer["X-Content-Type-Options"] == "nosniff"
        assert "default-src 'none'" in answer["Content-Security-Policy"]
        if what == "original":
            assert (answer["Content-Type"], body) == ("application/octet-stream", POLYGLOTS[name])
            assert answer["Content-Disposition"] == f'attachment; filename="evil.html{SUFFIXES[image.format][0]}"'
        else:
            assert answer["Content-Type"] in ("image/jpeg", "image/png")
            assert MARK not in body


def test_the_marker_would_be_found(tmp_path: Path) -> None:
    """A picture that was only saved again keeps its comment: the check above can fail."""
    kept = tmp_path / "kept.jpg"
    with Picture.open(io.BytesIO(POLYGLOTS["JPEG with html as its comment"])) as picture:
        picture.save(kept)
    made = sanitise.Cleaned(kept, kept, "JPEG", "jpg", 160, 120, None, "")
    with pytest.raises(AssertionError):
        assert_rebuilt(made, "saved again")
    kept.write_bytes(pictures.encoded(None, "JPEG") + MARK)
    with pytest.raises(AssertionError):
        assert_rebuilt(made, "appended to")
