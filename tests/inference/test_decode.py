"""Every sort of file that people send, made on the fly and really decoded."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from inference.preprocess import DecodeError, crop_to, decode, letterbox, with_margin
from inference.types import Box
from tests.inference.toys import blob, save_blob


def refused(path: Path) -> str:
    with pytest.raises(DecodeError) as caught:
        decode(path)
    assert str(caught.value)[-1] == "."
    return caught.value.code


def test_an_empty_file_says_so(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"")
    assert refused(tmp_path / "a.jpg") == "empty"


def test_a_file_that_is_not_there_says_so(tmp_path: Path) -> None:
    assert refused(tmp_path / "gone.jpg") == "missing"


def test_a_folder_is_no_picture(tmp_path: Path) -> None:
    assert refused(tmp_path) in ("missing", "damaged")


def test_text_named_jpg_is_no_picture(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_text("not a picture at all " * 50)
    assert refused(tmp_path / "a.jpg") == "not_an_image"


@pytest.mark.parametrize("suffix", ["jpg", "png", "tif", "webp"])
def test_a_file_cut_short_is_damaged(tmp_path: Path, suffix: str) -> None:
    whole = save_blob(tmp_path / f"a.{suffix}", size=(400, 300)).read_bytes()
    (tmp_path / f"a.{suffix}").write_bytes(whole[: len(whole) // 2])
    assert refused(tmp_path / f"a.{suffix}") in ("damaged", "not_an_image")


def test_two_hundred_megapixels_are_refused_from_the_header(tmp_path: Path) -> None:
    """The file is 60 bytes long: were a pixel decoded, it would be found damaged instead."""
    header = struct.pack(">IIBBBBB", 20_000, 10_000, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", 13) + b"IHDR" + header + struct.pack(">I", zlib.crc32(b"IHDR" + header))
    (tmp_path / "big.png").write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk + struct.pack(">I", 0) + b"IDAT" + struct.pack(">I", zlib.crc32(b"IDAT"))
    )
    assert refused(tmp_path / "big.png") == "too_large"


def test_fifty_one_megapixels_are_refused_and_eight_are_not(tmp_path: Path) -> None:
    Image.new("L", (8_500, 6_000)).save(tmp_path / "a.png")
    assert refused(tmp_path / "a.png") == "too_large"
    Image.new("RGB", (3_264, 2_448), (200, 100, 100)).save(tmp_path / "b.jpg")
    picture = decode(tmp_path / "b.jpg")
    assert (picture.width, picture.height) == (3_264, 2_448)
    assert picture.image.width < 3_264  # decoded at half scale, which is what makes large pictures quick


def test_cmyk_is_analysed_in_its_colours(tmp_path: Path) -> None:
    Image.new("RGB", (64, 48), (200, 60, 60)).convert("CMYK").save(tmp_path / "a.jpg", quality=95)
    pixels = np.asarray(decode(tmp_path / "a.jpg").image)
    assert np.abs(pixels.mean((0, 1)) - (200, 60, 60)).max() < 12


def test_sixteen_bits_keep_their_brightness(tmp_path: Path) -> None:
    grey = np.full((40, 60), 128 * 257, dtype=np.uint16)
    Image.fromarray(grey).save(tmp_path / "a.png")
    Image.fromarray(grey).save(tmp_path / "a.tif")
    for name in ("a.png", "a.tif"):
        assert abs(np.asarray(decode(tmp_path / name).image).mean() - 128) < 1.5


def test_an_animation_gives_its_first_frame(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (50, 40), colour) for colour in ((250, 10, 10), (10, 250, 10))]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    frames[0].save(tmp_path / "a.webp", save_all=True, append_images=frames[1:], lossless=True)
    for name in ("a.gif", "a.webp"):
        assert np.asarray(decode(tmp_path / name).image)[20, 20, 0] > 200


@pytest.mark.parametrize(("orientation", "size"), [(1, (80, 40)), (3, (80, 40)), (6, (40, 80)), (8, (40, 80))])
def test_rotated_pictures_are_turned_upright(tmp_path: Path, orientation: int, size: tuple[int, int]) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    blob((80, 40)).save(tmp_path / "a.jpg", exif=exif)
    picture = decode(tmp_path / "a.jpg")
    assert (picture.width, picture.height) == size == picture.image.size


def test_the_name_does_not_matter(tmp_path: Path) -> None:
    save_blob(tmp_path / "a.png")
    (tmp_path / "a.png").rename(tmp_path / "holiday.txt")
    assert decode(tmp_path / "holiday.txt").image.mode == "RGB"


@pytest.mark.parametrize("mode", ["L", "LA", "P", "RGBA", "1"])
def test_every_mode_becomes_rgb(tmp_path: Path, mode: str) -> None:
    blob().convert(mode).save(tmp_path / "a.png")
    assert decode(tmp_path / "a.png").image.mode == "RGB"


def test_a_letterbox_keeps_the_aspect_and_says_its_scale(tmp_path: Path) -> None:
    Image.new("RGB", (200, 100), (90, 90, 90)).save(tmp_path / "a.png")
    square, factor = letterbox(decode(tmp_path / "a.png"), 50)
    assert factor == pytest.approx(0.25)
    assert square[:25].min() == 90
    assert square[25:].max() == 0


def test_a_crop_holds_the_box_and_a_tenth_around(tmp_path: Path) -> None:
    Image.new("RGB", (200, 100)).save(tmp_path / "a.png")
    picture = decode(tmp_path / "a.png")
    assert with_margin(Box(50, 20, 150, 70), picture.width, picture.height) == (40, 15, 160, 75)
    assert with_margin(Box(0, 0, 200, 100), 200, 100) == (0, 0, 200, 100)
    assert crop_to(picture, None, 32).shape == crop_to(picture, Box(199, 99, 200, 100), 32).shape == (32, 32, 3)


def test_a_crop_of_a_half_scale_decode_is_the_same_place(tmp_path: Path) -> None:
    image = Image.new("RGB", (2_400, 1_600), (20, 20, 20))
    image.paste((240, 40, 40), (1_200, 800, 2_400, 1_600))
    image.save(tmp_path / "a.jpg", quality=95)
    crop = crop_to(decode(tmp_path / "a.jpg"), Box(1_300, 900, 2_300, 1_500), 24)
    assert crop[4:, 4:, 0].min() > 200
