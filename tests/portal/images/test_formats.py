"""What clinics' devices write: deep, printed, layered and packed pictures, each as it is meant or refused in words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as Picture

from portal.images.decode import MAX_FRAMES
from tests.portal.images import pictures
from tests.portal.images.test_clean import HEIC, clean, cleaned, is_upright, pixels, refused

SCENE = np.asarray(pictures.scene())
GREY = np.asarray(pictures.scene().convert("L"))
RGB = (200, 40, 40), (40, 40, 200)
SHADES = (88, 88, 88), (58, 58, 58)


def ends(tmp_path: Path, data: bytes) -> tuple[Any, ...]:
    """A pixel of the upper and one of the lower half."""
    found = pixels(cleaned(tmp_path, data))
    return tuple(found[5, 40]), tuple(found[-5, 40])


def near(found: tuple[Any, ...], wanted: tuple[Any, ...]) -> bool:
    return bool(np.abs(np.array(found) - np.array(wanted)).max() <= 2)


@pytest.mark.parametrize("write", [pictures.tiff16, pictures.png16])
def test_sixteen_bits_a_colour_are_taken_as_they_are_meant(tmp_path: Path, write: Any) -> None:
    assert near(ends(tmp_path, write(SCENE.astype(np.uint16) * 257)), RGB)


def test_twelve_bits_in_sixteen_a_colour_are_refused_and_not_black(tmp_path: Path) -> None:
    answer = refused(tmp_path, pictures.tiff16(SCENE.astype(np.uint16) * 16))
    assert (answer.code, "8 bits a channel" in answer.message) == ("lost_depth", True)


def test_a_picture_that_is_dark_in_eight_bits_is_taken(tmp_path: Path) -> None:
    dark = Picture.fromarray((SCENE // 20).astype(np.uint8))
    assert near(ends(tmp_path, pictures.encoded(dark, "TIFF")), ((10, 2, 2), (2, 2, 10)))


def test_deep_grey_where_white_is_zero_is_turned_round(tmp_path: Path) -> None:
    negative = (255 - GREY)[..., None].astype(np.uint16) * 257
    assert near(ends(tmp_path, pictures.tiff16(negative, photometric=0)), SHADES)


@pytest.mark.parametrize("mode", ["CMYK", "YCbCr", "LAB", "RGBA", "P"])
def test_colours_of_other_kinds_in_tiff(tmp_path: Path, mode: str) -> None:
    assert is_upright(cleaned(tmp_path, pictures.encoded(pictures.scene().convert(mode), "TIFF")))


@pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_deflate", "packbits", "zstd", "lzma"])
def test_compressions_of_tiff_that_lose_nothing(tmp_path: Path, compression: str) -> None:
    made = cleaned(tmp_path, pictures.encoded(None, "TIFF", compression=compression))
    assert (made.clean_format, is_upright(made)) == ("png", True)


def test_pages_are_counted_no_further_than_anybody_cares(tmp_path: Path) -> None:
    assert cleaned(tmp_path, pictures.tiff_pages(3)).notes == ("The file holds 3 pictures; the first was taken.",)
    made = cleaned(tmp_path, pictures.tiff_pages(30_000))
    assert made.notes == (f"The file holds more than {MAX_FRAMES} pictures; the first was taken.",)


def test_an_animated_png_gives_its_first_picture(tmp_path: Path) -> None:
    other = pictures.scene().transpose(Picture.Transpose.FLIP_TOP_BOTTOM)
    made = cleaned(tmp_path, pictures.encoded(None, "PNG", save_all=True, append_images=[other] * 3))
    assert (made.notes, is_upright(made)) == (("The file holds 4 pictures; the first was taken.",), True)


def test_a_damaged_heic_is_said_to_be_damaged(tmp_path: Path) -> None:
    data = HEIC.read_bytes()
    assert refused(tmp_path, data[: len(data) // 2]).code == "damaged"


@pytest.mark.parametrize(
    "sop", ["1.2.840.10008.5.1.4.1.1.7", "1.2.840.10008.5.1.4.1.1.77.1.4"], ids=["secondary capture", "VL photographic"]
)
@pytest.mark.parametrize(
    ("values", "photometric", "stored", "more"),
    [
        (SCENE, "RGB", 0, {}),
        (SCENE.transpose(2, 0, 1).copy().reshape(SCENE.shape), "RGB", 0, {"PlanarConfiguration": 1}),
        (SCENE.astype(np.uint16) * 257, "RGB", 0, {}),
        (SCENE.astype(np.uint16) * 16, "RGB", 12, {}),
        (np.asarray(pictures.scene().convert("YCbCr")), "YBR_FULL", 0, {}),
    ],
    ids=["rgb", "planes", "16 bits", "12 in 16", "ybr"],
)
def test_colours_of_dicom(tmp_path: Path, sop: str, values: Any, photometric: str, stored: int, more: dict[str, Any]) -> None:
    data = pictures.dicom_of(values, photometric, stored=stored, SOPClassUID=sop, **more)
    assert near(ends(tmp_path, data), RGB)


@pytest.mark.parametrize(
    ("values", "photometric", "stored", "more"),
    [
        (GREY, "MONOCHROME2", 0, {}),
        (255 - GREY, "MONOCHROME1", 0, {}),
        (GREY.astype(np.uint16) * 16, "MONOCHROME2", 12, {}),
        (GREY.astype(np.uint16) * 16, "MONOCHROME2", 12, {"WindowCenter": 2048, "WindowWidth": 4096}),
    ],
)
def test_grey_of_dicom_is_not_stretched(tmp_path: Path, values: Any, photometric: str, stored: int, more: dict[str, Any]) -> None:
    assert near(ends(tmp_path, pictures.dicom_of(values, photometric, stored=stored, **more)), SHADES)


def test_a_palette_of_dicom_is_looked_up(tmp_path: Path) -> None:
    colours = {"Red": (200, 40), "Green": (40, 40), "Blue": (40, 200)}
    tables: dict[str, Any] = {}
    for name, (above, below) in colours.items():
        table = np.zeros(256, np.uint16)
        table[1], table[2] = above * 257, below * 257
        tables[f"{name}PaletteColorLookupTableDescriptor"] = [256, 0, 16]
        tables[f"{name}PaletteColorLookupTableData"] = table.tobytes()
    rows = np.where(np.arange(120) < 60, 1, 2).astype(np.uint8)
    assert near(ends(tmp_path, pictures.dicom_of(np.repeat(rows[:, None], 160, axis=1), "PALETTE COLOR", **tables)), RGB)


def test_jpeg_inside_dicom(tmp_path: Path) -> None:
    data = pictures.dicom_of(SCENE, "YBR_FULL_422", syntax="1.2.840.10008.1.2.4.50", raw=pictures.encoded(None, "JPEG", quality=95))
    made = cleaned(tmp_path, data)
    assert (made.clean_format, is_upright(made)) == ("jpg", True)


@pytest.mark.parametrize(
    ("data", "code", "says"),
    [
        (pictures.dicom_of(SCENE, "RGB", syntax="1.2.840.10008.1.2.4.70", raw=b"\xff\xd8\xff\xc3" + bytes(90)), "compression", "as JPEG"),
        (pictures.dicom_of(SCENE, "RGB", syntax="1.2.840.10008.1.2.4.80", raw=b"\xff\xd8\xff\xf7" + bytes(90)), "compression", "as JPEG"),
        (pictures.dicom_of(SCENE, "YBR_PARTIAL_420", syntax="1.2.840.10008.1.2.4.100", raw=bytes(90)), "video", "single photographs"),
        (pictures.dicom_of(SCENE, "RGB", Rows=0), "no_picture", "holds no picture"),
        (pictures.dicom_of(SCENE, "RGB", Rows=60_000, Columns=60_000), "too_large", "3600 megapixels"),
        (pictures.dicom_of(SCENE, "RGB", NumberOfFrames=10**6), "damaged", "damaged"),
    ],
    ids=["lossless jpeg", "jpeg-ls", "video", "no picture", "3,600 megapixels", "a million frames"],
)
def test_dicom_that_cannot_be_taken_says_why(tmp_path: Path, data: bytes, code: str, says: str) -> None:
    answer = refused(tmp_path, data)
    assert (answer.code, says in answer.message) == (code, True), answer


def test_a_child_that_names_files_of_others_is_not_believed(tmp_path: Path) -> None:
    def taken_over(path: Path, stem: Path) -> Any:
        from portal.images.sanitise import make

        made = make(path, stem)
        return type(made)(Path("/etc/passwd"), Path("/etc/shadow"), *(getattr(made, name) for name in made.__slots__[2:]))

    made = clean(tmp_path, pictures.encoded(), work=taken_over)
    assert made.picture.parent == made.thumb.parent == tmp_path / "out"  # type: ignore[union-attr]
