"""Whatever comes, the sanitiser answers: with a clean picture, or with words that a clinic understands."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Picture

from portal.images import sanitise
from portal.images.sanitise import Cleaned, Limits, Refused
from tests.portal.images import pictures

HEIC = Path(__file__).parent / "turned.heic"
"""Our own scene, stored turned as phones do (orientation 6)."""


def clean(tmp_path: Path, data: bytes, **options: object) -> Cleaned | Refused:
    source = tmp_path / "source"
    source.write_bytes(data)
    (tmp_path / "out").mkdir(exist_ok=True)
    return sanitise.clean(source, tmp_path / "out", **options)  # type: ignore[arg-type]


def cleaned(tmp_path: Path, data: bytes) -> Cleaned:
    made = clean(tmp_path, data)
    assert isinstance(made, Cleaned), made
    return made


def refused(tmp_path: Path, data: bytes, **options: object) -> Refused:
    made = clean(tmp_path, data, **options)
    assert isinstance(made, Refused), made
    assert list((tmp_path / "out").iterdir()) == []
    return made


def pixels(made: Cleaned) -> np.ndarray:
    with Picture.open(made.picture) as picture:
        assert picture.mode == "RGB"
        return np.asarray(picture).astype(int)


def is_upright(made: Cleaned) -> bool:
    top, bottom = pixels(made)[5, 40], pixels(made)[-5, 40]
    return bool(top[0] > 150 > top[2] and bottom[2] > 150 > bottom[0])


@pytest.mark.parametrize(("format_", "out"), [("JPEG", "jpg"), ("PNG", "png"), ("TIFF", "png"), ("WEBP", "jpg")])
def test_each_format_becomes_a_jpeg_or_stays_lossless(tmp_path: Path, format_: str, out: str) -> None:
    made = cleaned(tmp_path, pictures.encoded(None, format_))
    assert (made.clean_format, made.width, made.height) == (out, 160, 120)
    assert is_upright(made)
    with Picture.open(made.thumb) as thumb:
        assert thumb.format == "JPEG"
        assert max(thumb.size) <= 320


def test_a_jpeg_is_written_at_quality_95_without_chroma_subsampling(tmp_path: Path) -> None:
    with Picture.open(cleaned(tmp_path, pictures.encoded()).picture) as picture:
        assert picture.layer[1][1:3] == (1, 1)  # type: ignore[attr-defined]
        assert picture.quantization[0][0] <= 2  # type: ignore[attr-defined]


def test_lossless_webp_and_jpeg_in_tiff_are_told_apart(tmp_path: Path) -> None:
    assert cleaned(tmp_path, pictures.encoded(None, "WEBP", lossless=True)).clean_format == "png"
    assert cleaned(tmp_path, pictures.encoded(None, "TIFF", compression="jpeg")).clean_format == "jpg"


def test_heic_is_read_upright(tmp_path: Path) -> None:
    made = cleaned(tmp_path, HEIC.read_bytes())
    assert (made.format, made.clean_format, made.width, made.height) == ("HEIC", "jpg", 160, 120)
    assert is_upright(made)
    assert made.device == "MobileODT EVA 3.0"
    assert pictures.MARKER.encode() not in made.picture.read_bytes()


@pytest.mark.parametrize("format_", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_no_metadata_survives(tmp_path: Path, format_: str) -> None:
    source = pictures.with_metadata(format_)
    assert pictures.MARKER.encode() in source
    made = cleaned(tmp_path, source)
    for path in (made.picture, made.thumb):
        assert pictures.MARKER.encode() not in path.read_bytes()
        with Picture.open(path) as picture:
            assert not picture.getexif()
            assert set(picture.info) <= {"jfif", "jfif_version", "jfif_unit", "jfif_density"}


def test_capture_time_and_device_come_back_as_data(tmp_path: Path) -> None:
    made = cleaned(tmp_path, pictures.encoded(exif=pictures.exif()))
    assert made.device == "MobileODT EVA 3.0"
    assert made.captured is not None
    assert made.captured.isoformat() == "2024-05-17T09:30:00+00:00"


@pytest.mark.parametrize("written", ["0000:00:00 00:00:00", "1970:01:01 00:00:00", "nonsense", "", "2000:01:01 00:03:12"])
def test_a_clock_that_was_never_set_is_no_date(tmp_path: Path, written: str) -> None:
    assert cleaned(tmp_path, pictures.encoded(exif=pictures.exif(captured=written))).captured is None


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format_", ["JPEG", "PNG"])
def test_a_rotated_picture_is_turned_upright(tmp_path: Path, orientation: int, format_: str) -> None:
    undo = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}
    upright = pictures.scene()
    turned = upright.transpose(Picture.Transpose(undo[orientation])) if orientation in undo else upright
    made = cleaned(tmp_path, pictures.encoded(turned, format_, exif=pictures.exif(orientation=orientation)))
    assert (made.width, made.height) == (160, 120)
    assert is_upright(made)


def test_cmyk_becomes_rgb(tmp_path: Path) -> None:
    assert is_upright(cleaned(tmp_path, pictures.encoded(pictures.scene().convert("CMYK"))))


@pytest.mark.parametrize("format_", ["PNG", "TIFF"])
@pytest.mark.parametrize("top", [4095, 65535])
def test_sixteen_bits_are_scaled_and_not_clipped(tmp_path: Path, format_: str, top: int) -> None:
    made = cleaned(tmp_path, pictures.sixteen_bits(format_, top=top))
    grey = pixels(made)[..., 0]
    assert (grey.min(), grey.max()) == (0, 255)
    assert abs(grey.mean() - 127.5) < 2
    assert "scaled to 8" in made.notes[0]


def test_palette_and_transparency(tmp_path: Path) -> None:
    assert is_upright(cleaned(tmp_path, pictures.encoded(pictures.scene().quantize(16), "PNG")))
    see_through = pictures.scene().convert("RGBA")
    see_through.paste((0, 0, 0, 0), (0, 0, 20, 20))
    made = cleaned(tmp_path, pictures.encoded(see_through, "PNG"))
    assert tuple(pixels(made)[5, 5]) == (255, 255, 255)
    assert made.notes == ("Transparent parts became white.",)


@pytest.mark.parametrize("format_", ["WEBP", "PNG", "TIFF"])
def test_of_an_animation_the_first_picture_is_taken_and_that_is_said(tmp_path: Path, format_: str) -> None:
    flipped = pictures.scene().transpose(Picture.Transpose.FLIP_TOP_BOTTOM)
    made = cleaned(tmp_path, pictures.encoded(None, format_, save_all=True, append_images=[flipped]))
    assert is_upright(made)
    assert made.notes == ("The file holds 2 pictures; the first was taken.",)


@pytest.mark.parametrize("photometric", ["RGB", "MONOCHROME2", "MONOCHROME1"])
@pytest.mark.parametrize("frames", [1, 3])
def test_dicom(tmp_path: Path, photometric: str, frames: int) -> None:
    made = cleaned(tmp_path, pictures.dicom(frames=frames, photometric=photometric))
    assert (made.format, made.clean_format, made.device) == ("DICOM", "png", "Zeiss Kolposkop 150")
    assert made.captured is not None
    assert made.captured.isoformat() == "2024-05-17T09:30:00+00:00"
    assert bool(made.notes) == (frames > 1)
    assert pictures.MARKER.encode() not in made.picture.read_bytes()
    assert photometric != "RGB" or is_upright(made)


@pytest.mark.parametrize("format_", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_a_truncated_file_is_damaged(tmp_path: Path, format_: str) -> None:
    whole = pictures.encoded(Picture.effect_noise((160, 120), 60).convert("RGB"), format_)
    assert refused(tmp_path, whole[: len(whole) // 2]).code == "damaged"


def test_bytes_after_a_good_beginning_are_damaged(tmp_path: Path) -> None:
    noise = np.random.default_rng(5).bytes(3000)
    for head in (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"II*\0", b"RIFF\0\0\0\0WEBP", b"\0\0\0\x14ftypheic", b"\0" * 128 + b"DICM"):
        assert refused(tmp_path, head + noise).code == "damaged", head


@pytest.mark.parametrize("data", [b"", b"hello", b"GIF89a" + b"x" * 50, b"%PDF-1.7", b"PK\x03\x04", b"<svg xmlns='x'/>"])
def test_what_is_no_picture_is_refused_by_its_content(tmp_path: Path, data: bytes) -> None:
    assert refused(tmp_path, data).code == "not_a_picture"


def test_two_hundred_megapixels_are_refused_from_the_header(tmp_path: Path) -> None:
    begun = time.monotonic()
    answer = refused(tmp_path, pictures.png_claiming(20_000, 10_000))
    assert answer.code == "too_large"
    assert "200 megapixels" in answer.message
    assert time.monotonic() - begun < 2


def test_a_picture_that_takes_too_much_memory_is_too_large_and_not_damaged(tmp_path: Path) -> None:
    def greedy(path: Path, stem: Path) -> Cleaned:
        bytearray(3_000_000_000)
        raise AssertionError

    assert refused(tmp_path, pictures.encoded(), work=greedy) == sanitise.TOO_LARGE


def test_a_decoder_that_says_broken_near_the_limit_means_too_large(tmp_path: Path) -> None:
    def near(path: Path, stem: Path) -> Cleaned:
        held = bytearray(900_000_000)
        raise OSError(f"broken data stream when reading image file {len(held)}")

    assert refused(tmp_path, pictures.encoded(), work=near).code == "too_large"


def test_a_crash_in_the_child_is_an_answer(tmp_path: Path) -> None:
    def crash(path: Path, stem: Path) -> Cleaned:
        stem.with_suffix(".jpg").write_bytes(b"half")
        os.kill(os.getpid(), 9)
        raise AssertionError

    assert refused(tmp_path, pictures.encoded(), work=crash) == sanitise.CRASHED


def test_a_child_that_hangs_or_spins_is_ended(tmp_path: Path) -> None:
    def hang(path: Path, stem: Path) -> Cleaned:
        time.sleep(60)
        raise AssertionError

    def spin(path: Path, stem: Path) -> Cleaned:
        while True:
            pass

    assert refused(tmp_path, pictures.encoded(), work=hang, limits=Limits(wall=0.3)) == sanitise.TOO_SLOW
    assert refused(tmp_path, pictures.encoded(), work=spin, limits=Limits(cpu=1)) == sanitise.TOO_SLOW


def test_no_child_is_left_behind(tmp_path: Path) -> None:
    cleaned(tmp_path, pictures.encoded())
    with contextlib.suppress(ChildProcessError):
        assert os.waitpid(-1, os.WNOHANG) == (0, 0)


def test_the_sanitiser_loads_neither_django_nor_torch() -> None:
    code = "import sys; sys.modules['portal.celery'] = type(sys)('x'); sys.modules['portal.celery'].app = None\n"
    code += "import portal.images.sanitise; print(sorted({'django', 'celery', 'torch'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.slow
def test_real_images_become_clean(tmp_path: Path, real_data: Path) -> None:
    for path in sorted(real_data.glob("*/*.jpg"))[:400:40]:
        made = cleaned(tmp_path, path.read_bytes())
        with Picture.open(path) as source:
            assert {made.width, made.height} == set(source.size) or made.width == made.height
