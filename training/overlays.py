"""Words burnt into pictures, as devices and people do: dates, timers, names, numbers, in many fonts, sizes and colours.

What the finder of text (`inference.text`) is trained and measured on. numpy and Pillow only; fonts are those that matplotlib brings.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

Rng = np.random.Generator
TRAIN_FONTS = (
    "DejaVuSans", "DejaVuSans-Bold", "DejaVuSans-Oblique", "DejaVuSansMono", "DejaVuSansMono-Bold", "STIXGeneral", "STIXGeneralBol",
    "cmss10", "cmtt10", "cmr10",
)  # fmt: skip
TEST_FONTS = ("DejaVuSerif", "DejaVuSerif-Bold", "DejaVuSerif-Italic", "DejaVuSansMono-BoldOblique", "cmb10", "STIXGeneralBolIta")
"""Never trained on: recall is measured with these."""
_NAMES = (
    "Amina", "Otieno", "Maria", "Gonzalez", "Hansen", "Ingrid", "Popescu", "Li Wei", "Fatima", "SMITH J.", "K. Patel", "Dr. Abebe",
)  # fmt: skip
_WORDS = ("Patient", "Name", "ID", "DOB", "Date", "ACETIC ACID", "LUGOL", "GREEN", "Exam", "LEICA", "EVA", "ZOOM", "Left", "Clinic", "No.")


@lru_cache
def _fonts_folder() -> Path:
    import matplotlib as mpl

    return Path(mpl.get_data_path()) / "fonts" / "ttf"


def words(rng: Rng) -> str:
    """One line as a device or a person might write it."""
    hour, minute, second, day, month, year, number = (int(rng.integers(*ends)) for ends in _ENDS)
    mark = str(rng.choice(["/", ".", "-"]))
    date = f"{day:02d}{mark}{month:02d}{mark}{year}"
    choices = (
        f"{hour:02d}:{minute:02d}", f"{hour:02d}:{minute:02d}:{second:02d}", f"X{day:02d}", date, f"{year}-{month:02d}-{day:02d}",
        f"{date} {hour:02d}:{minute:02d}", str(rng.choice(_NAMES)), f"{rng.choice(_WORDS)}: {rng.choice(_NAMES)}",
        f"{rng.choice(_WORDS)} {number}", f"{chr(65 + day % 26)}{number}", f"{day}x", str(rng.choice(_WORDS)),
    )  # fmt: skip
    return str(rng.choice(choices))


_ENDS = ((0, 24), (0, 60), (0, 60), (1, 29), (1, 13), (1990, 2030), (1, 99_999))


def overlay(
    picture: Image.Image, rng: Rng, *, fonts: tuple[str, ...] = TRAIN_FONTS, height: float | None = None
) -> tuple[Image.Image, list[int]]:
    """A copy with one line of text somewhere on it, and its box in pixels. `height`: of the letters, in pixels (else 10 to 42)."""
    size = height or float(np.exp(rng.uniform(np.log(10), np.log(42))))
    letters = _letters(words(rng), size, str(rng.choice(fonts)), rng)
    letters = letters.crop(letters.getbbox() or (0, 0, 1, 1))
    room = [max(1, side - cut) for side, cut in zip(picture.size, letters.size, strict=True)]
    x, y = _place(room, rng)
    shape = Image.new("L", picture.size)
    shape.paste(letters, (x, y))
    box = [x, y, min(picture.width, x + letters.width), min(picture.height, y + letters.height)]
    return _burn(picture, shape, (x, y), letters.size, rng), box


def _letters(text: str, size: float, font: str, rng: Rng) -> Image.Image:
    """The line's shape, 0 to 255; one in three as a coarse display draws it."""
    coarse = size >= 14 and rng.random() < 0.33
    drawn = size / 2 if coarse and size < 28 else size / 3 if coarse else size
    face = ImageFont.truetype(_fonts_folder() / f"{font}.ttf", max(7, round(drawn)))
    left, top, right, bottom = face.getbbox(text)
    shape = Image.new("L", (round(right - left) + 4, round(bottom - top) + 4))
    ImageDraw.Draw(shape).text((2 - left, 2 - top), text, fill=255, font=face)
    if coarse:
        scale = 2 if size < 28 else 3
        shape = shape.point(lambda v: 255 if v > 96 else 0).resize((shape.width * scale, shape.height * scale), Image.Resampling.NEAREST)
    if rng.random() < 0.1:
        shape = shape.rotate(90, expand=True)
    return shape


def _place(room: list[int], rng: Rng) -> tuple[int, int]:
    """Mostly near an edge or in a corner, as devices write; sometimes anywhere."""
    where = [float(rng.uniform(0, 1)), float(rng.uniform(0, 1))]
    if rng.random() < 0.7:
        where[int(rng.integers(2))] = float(rng.choice([rng.uniform(0, 0.12), rng.uniform(0.88, 1)]))
    return int(where[0] * (room[0] - 1)), int(where[1] * (room[1] - 1))


def _colour(rng: Rng) -> tuple[int, int, int]:
    usual = [(255, 255, 255), (255, 255, 0), (235, 235, 60), (0, 0, 0), (0, 255, 0), (255, 60, 60), (240, 240, 240), (80, 160, 255)]
    one = usual[int(rng.integers(len(usual)))] if rng.random() < 0.75 else tuple(int(v) for v in rng.integers(0, 256, 3))
    return one[0], one[1], one[2]


def _burn(picture: Image.Image, shape: Image.Image, at: tuple[int, int], size: tuple[int, int], rng: Rng) -> Image.Image:
    """Letters into the pixels: plain, with a dark rim, or on a bar; opaque or nearly so; sharp or a little soft."""
    out, how = picture.copy(), rng.random()
    if how < 0.15:
        bar = Image.new("L", picture.size)
        ImageDraw.Draw(bar).rectangle([at[0] - 3, at[1] - 3, at[0] + size[0] + 3, at[1] + size[1] + 3], fill=int(rng.integers(120, 256)))
        out.paste((0, 0, 0) if rng.random() < 0.7 else (255, 255, 255), mask=bar)
    elif how < 0.45:
        out.paste((0, 0, 0), mask=shape.filter(ImageFilter.MaxFilter(3)))
    strength = 1.0 if rng.random() < 0.6 else float(rng.uniform(0.35, 1.0))
    if rng.random() < 0.3:
        shape = shape.filter(ImageFilter.GaussianBlur(float(rng.uniform(0.3, 0.9))))
    out.paste(_seen(_colour(rng), out, at, size), mask=shape.point(lambda v: int(v * strength)))
    return out


def _seen(colour: tuple[int, int, int], picture: Image.Image, at: tuple[int, int], size: tuple[int, int]) -> tuple[int, int, int]:
    """The colour, or black or white where it could not be told from what lies under it: text that nobody can read is none."""
    under = np.asarray(picture.crop((at[0], at[1], at[0] + size[0], at[1] + size[1]))).reshape(-1, 3).mean(0)
    if float(np.abs(under - colour).max()) > 60:
        return colour
    return (0, 0, 0) if under.mean() > 127 else (255, 255, 255)
