"""Draws colposcopic pictures from nothing: the example set of `make run`, tests, and extra training scenes. numpy and Pillow only.

No real picture, or part of one, goes into a drawing. Lengths of an anatomy are in cervix radii, colours in 0..255.
"""

from __future__ import annotations

import csv
import datetime as dt
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from training import tints
from training.tints import Box, Pixels, Plane, as_pixels, smooth_noise, smoothstep
from training.types import ExampleImage

Size = tuple[int, int]
"""Width and height in pixels."""
Colour = tuple[float, float, float]

KINDS = ("regular", "green_filter", "lugol_iodine", "unusable", "not_cervix")
FAINT = 0.35
"""A green filter below this strength counts as faint (`training.types.ExampleImage`)."""

_TEXTURE = 448
_REACH = 1.6
"""The cervix texture covers -1.6..1.6 radii with 448 pixels a side."""
_WORK = 448
"""Longest side, in pixels, at which a scene is computed before it is enlarged."""


@dataclass(frozen=True, slots=True)
class Style:
    """What a site's device and habits do to a picture.

    balance: gains of R, G, B. wander: spread of these gains from image to image. zoom: cervix radius as a share of the shorter side.
    contrast: 1 is neutral. noise: standard deviation in grey levels. corner: darkening of the corners, 0..1. round_frame: a black
    surround as of a scope. timer: share of pictures with a burnt-in clock. specula: which of ring, blades, plastic, none.
    """

    site: str
    code: str
    device: str
    size: Size
    balance: Colour
    wander: float
    zoom: tuple[float, float]
    contrast: float
    noise: float
    corner: float
    round_frame: float
    timer: float
    specula: tuple[str, ...]


STYLES: dict[str, Style] = {
    "north-clinic": Style(
        "north-clinic", "NC", "Colposcope A", (800, 600), (1.06, 0.99, 0.95), 0.012, (0.38, 0.66), 1.18, 3.0, 0.30, 0.0, 0.3,
        ("none", "none", "ring", "blades"),
    ),
    "river-hospital": Style(
        "river-hospital", "RH", "Camera B", (960, 720), (1.04, 1.0, 1.02), 0.014, (0.25, 0.36), 1.08, 4.5, 0.2, 0.0, 0.0,
        ("ring", "ring", "plastic", "blades"),
    ),
    "hill-station": Style(
        "hill-station", "HS", "Mobile C", (720, 960), (0.96, 0.97, 1.14), 0.016, (0.28, 0.44), 0.95, 5.5, 0.45, 0.5, 0.0,
        ("blades", "none", "plastic"),
    ),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Anatomy:
    """One patient's cervix and speculum: the same in all of her pictures. Lengths in cervix radii, angles in radians."""

    seed: int
    aspect: float
    wobble: tuple[tuple[float, float], ...]
    tissue: Colour
    wall: Colour
    os: Box
    """Centre x, centre y, half width, half height."""
    os_bend: float
    ectropion: float
    vessels: int
    cysts: int
    mucus: float
    blood: float
    speculum: str
    opening: float
    folds: int


@dataclass(frozen=True, slots=True)
class Pose:
    """Where the cervix lies: centre as shares of the frame, radius as a share of the shorter side, turn in radians."""

    x: float
    y: float
    radius: float
    turn: float


@dataclass(frozen=True, slots=True)
class Scene:
    """A drawing with its truth. `mask` marks the visible cervix at the resolution of `pixels`; `box` bounds it, None without a cervix."""

    pixels: Pixels
    box: Box | None
    mask: Pixels | None


def draw_anatomy(rng: np.random.Generator, style: Style) -> Anatomy:
    """A patient. Parous women have a slit for an os, others a dimple."""
    parous = rng.random() < 0.6
    half = (rng.uniform(0.22, 0.42), rng.uniform(0.025, 0.07)) if parous else (rng.uniform(0.07, 0.14), rng.uniform(0.05, 0.1))
    hue, light = rng.uniform(0, 1), rng.uniform(0.94, 1.06)
    # From salmon pink to livid violet: wider than a faint filter's shift, so that only her other pictures give the filter away.
    tissue = tuple(float(light * (a + hue * (b - a))) for a, b in zip((230, 132, 122), (206, 156, 168), strict=True))
    wall = tuple(float(value * gain) for value, gain in zip(tissue, (0.88, 0.72, 0.76), strict=True))
    return Anatomy(
        seed=int(rng.integers(2**32)),
        aspect=float(rng.uniform(0.85, 1.18)),
        wobble=tuple((float(rng.normal(0, 0.035 / k)), float(rng.uniform(0, 2 * math.pi))) for k in range(1, 5)),
        tissue=(tissue[0], tissue[1], tissue[2]),
        wall=(wall[0], wall[1], wall[2]),
        os=(float(rng.normal(0, 0.08)), float(rng.normal(0.03, 0.1)), half[0], half[1]),
        os_bend=float(rng.normal(0, 0.5)),
        ectropion=float(rng.choice([rng.uniform(0.05, 0.2), rng.uniform(0.3, 0.65)])),
        vessels=int(rng.integers(2, 14)),
        cysts=int(rng.choice([0, 0, 1, 2, 4])),
        mucus=float(rng.choice([0.0, rng.uniform(0.3, 0.9)])),
        blood=float(rng.choice([0.0, 0.0, 0.0, rng.uniform(0.4, 1.0)])),
        speculum=str(rng.choice(list(style.specula))),
        opening=float(rng.uniform(1.12, 1.5)),
        folds=int(rng.integers(7, 16)),
    )


def draw_pose(rng: np.random.Generator, style: Style) -> Pose:
    """Where a patient's cervix lies in her pictures, before the small change from one to the next."""
    return Pose(*(float(v) for v in (rng.normal(0.5, 0.035), rng.normal(0.5, 0.035), rng.uniform(*style.zoom), rng.normal(0, 0.15))))


def moved(pose: Pose, rng: np.random.Generator) -> Pose:
    """The pose of the same patient's next picture: moved by a few hundredths of the frame, turned by degrees, zoomed by up to a fifth."""
    return Pose(
        pose.x + float(rng.normal(0, 0.02)),
        pose.y + float(rng.normal(0, 0.02)),
        pose.radius * float(rng.uniform(0.88, 1.14)),
        pose.turn + float(rng.normal(0, 0.07)),
    )


# --- the cervix as a flat texture, drawn once a patient ---------------------------------------------------------------------------


@lru_cache(maxsize=4)
def _painted(anatomy: Anatomy) -> tuple[Image.Image, Image.Image]:
    """The unlit cervix (RGB) and where acetic acid whitens it (L), both in the patient's own coordinates."""
    rng = np.random.default_rng(anatomy.seed)
    side = _TEXTURE
    axis = np.linspace(-_REACH, _REACH, side, dtype=np.float32)
    x, y = np.meshgrid(axis, axis)
    cloud, grain = smooth_noise(rng, side, side, 7), smooth_noise(rng, side, side, 60, 2)
    warp = smooth_noise(rng, side, side, 12)
    across, up = x - np.float32(anatomy.os[0]), y - np.float32(anatomy.os[1])
    up = up - np.float32(anatomy.os_bend) * across**2
    from_os = np.sqrt((across / np.float32(1.15)) ** 2 + up**2)
    colour = np.array(anatomy.tissue, np.float32) * (1 + np.float32(0.035) * cloud + np.float32(0.018) * grain)[..., None]
    colour = _blushed(colour, cloud, rng)
    inner = 1 - smoothstep(
        anatomy.ectropion - 0.03, anatomy.ectropion + 0.05, from_os + np.float32(0.09) * warp + np.float32(0.015) * grain
    )
    villi = smooth_noise(rng, side, side, 46, 2)
    red = np.array([188, 66, 58], np.float32) * (1 + np.float32(0.15) * villi + np.float32(0.08) * cloud)[..., None]
    colour += (inner * np.float32(0.85))[..., None] * (red - colour)
    colour = _vascular(colour, anatomy, rng)
    colour = _with_cysts(colour, x, y, anatomy, rng)
    opening = np.sqrt((across / np.float32(anatomy.os[2])) ** 2 + (up / np.float32(anatomy.os[3])) ** 2) + np.float32(0.12) * warp
    colour *= (1 - np.float32(0.42) * np.exp(-((opening / np.float32(2.2)) ** 2)))[..., None]
    crease = np.exp(-((up / np.float32(0.09)) ** 2) - (across / np.float32(0.15 + 1.6 * anatomy.os[2])) ** 2)
    colour *= (1 - np.float32(0.3) * crease)[..., None]
    hole = 1 - smoothstep(0.55, 1.15, opening)
    colour += hole[..., None] * (np.array([42, 10, 14], np.float32) - colour)
    colour = _secretions(colour, across, up, anatomy, rng)
    edge = anatomy.ectropion + rng.uniform(0.12, 0.4)
    acid = (1 - smoothstep(edge - 0.02, edge + 0.05, from_os + np.float32(0.14) * warp)) * smoothstep(
        -0.6, 0.5, cloud + np.float32(0.4) * warp
    )
    acid *= 1 - hole
    return Image.fromarray(as_pixels(colour)), Image.fromarray(as_pixels(acid * np.float32(255)))


def _blushed(colour: Plane, cloud: Plane, rng: np.random.Generator) -> Plane:
    """Reddened and livid areas of the epithelium."""
    side = colour.shape[0]
    blush = smoothstep(0.4, 1.8, smooth_noise(rng, side, side, 5)) * np.float32(rng.uniform(0.1, 0.7))
    livid = smoothstep(0.6, 1.8, cloud) * np.float32(rng.uniform(0, 0.5))
    colour *= 1 - blush[..., None] * np.array([0.06, 0.36, 0.32], np.float32)
    colour *= 1 - livid[..., None] * np.array([0.16, 0.12, 0.02], np.float32)
    return colour


def _vascular(colour: Plane, anatomy: Anatomy, rng: np.random.Generator) -> Plane:
    """Branching vessels, as random walks that start on the rim and run inward."""
    sheet = Image.new("L", (_TEXTURE, _TEXTURE))
    pen = ImageDraw.Draw(sheet)
    for _ in range(anatomy.vessels):
        angle = rng.uniform(0, 2 * math.pi)
        place = np.array([math.cos(angle), math.sin(angle)]) * rng.uniform(0.5, 1.05)
        heading, points = angle + math.pi + rng.normal(0, 0.7), []
        for _step in range(int(rng.integers(8, 28))):
            points.append(tuple(float(v) for v in (place / _REACH + 1) * _TEXTURE / 2))
            heading += rng.normal(0, 0.35)
            place = place + 0.035 * np.array([math.cos(heading), math.sin(heading)])
        pen.line(points, fill=int(rng.integers(70, 190)), width=int(rng.choice([1, 1, 1, 2])))
    lines = np.asarray(sheet.filter(ImageFilter.GaussianBlur(0.8)), np.float32) / np.float32(255)
    return colour * (1 - lines[..., None] * np.array([0.16, 0.55, 0.5], np.float32))


def _with_cysts(colour: Plane, x: Plane, y: Plane, anatomy: Anatomy, rng: np.random.Generator) -> Plane:
    """Nabothian cysts: pale yellow domes with a shadow below."""
    for _ in range(anatomy.cysts):
        angle, far, size = rng.uniform(0, 2 * math.pi), rng.uniform(0.35, 0.75), rng.uniform(0.04, 0.1)
        dx, dy = (x - np.float32(far * math.cos(angle))) / np.float32(size), (y - np.float32(far * math.sin(angle))) / np.float32(size)
        dome = np.exp(-((dx**2 + dy**2) ** 2))
        colour += (np.float32(0.5) * dome)[..., None] * (np.array([232, 196, 150], np.float32) - colour)
        colour *= (1 - np.float32(0.22) * dome * np.clip(dy, -0.6, 1))[..., None]
    return colour


def _secretions(colour: Plane, across: Plane, up: Plane, anatomy: Anatomy, rng: np.random.Generator) -> Plane:
    """Mucus in and below the os, and blood running down from it."""
    side = colour.shape[0]
    sway = np.float32(0.07) * smooth_noise(rng, side, side, 9)
    if anatomy.mucus:
        strand = np.exp(-(((across + sway) / np.float32(rng.uniform(0.05, 0.13))) ** 2) - ((up - np.float32(0.1)) / np.float32(0.22)) ** 2)
        colour += (np.float32(anatomy.mucus * 0.8) * strand)[..., None] * (np.array([226, 214, 190], np.float32) - colour)
    if anatomy.blood:
        run = smoothstep(0.25, 0.55, np.exp(-(((across + 2 * sway) / np.float32(0.16)) ** 2)) * smoothstep(-0.1, 0.1, up))
        spots = smoothstep(1.0, 1.3, smooth_noise(rng, side, side, 14)) * (1 - smoothstep(0.3, 0.9, np.hypot(across, up)))
        shed = np.maximum(run * smoothstep(0.9, 0.3, up), spots)
        colour += (np.float32(0.85 * anatomy.blood) * shed)[..., None] * (np.array([128, 14, 16], np.float32) - colour)
    return colour


# --- the scene in the frame ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Frame:
    """Coordinates of every pixel in cervix radii (x, y), in the cervix's own outline (rho: 1 on its rim) and angle."""

    width: int
    height: int
    x: Plane
    y: Plane
    rho: Plane
    angle: Plane


def _frame(anatomy: Anatomy, pose: Pose, width: int, height: int) -> _Frame:
    unit = pose.radius * min(width, height)
    across = (np.arange(width, dtype=np.float32) - np.float32(pose.x * width))[None, :] / np.float32(unit)
    down = (np.arange(height, dtype=np.float32) - np.float32(pose.y * height))[:, None] / np.float32(unit)
    cos, sin = np.float32(math.cos(pose.turn)), np.float32(math.sin(pose.turn))
    x, y = cos * across + sin * down, cos * down - sin * across
    angle = np.arctan2(y, x)
    rim = np.ones_like(angle)
    for k, (size, phase) in enumerate(anatomy.wobble, start=2):
        rim += np.float32(size) * np.cos(np.float32(k) * angle + np.float32(phase))
    stretch = np.float32(math.sqrt(anatomy.aspect))
    rho = (np.hypot(x / stretch, y * stretch) / rim).astype(np.float32)
    return _Frame(width, height, x, y, rho, angle)


def _posed(texture: Image.Image, pose: Pose, width: int, height: int) -> Plane:
    """The patient's texture as it lies in the frame."""
    unit, scale = pose.radius * min(width, height), _TEXTURE / (2 * _REACH)
    cos, sin = math.cos(pose.turn) * scale / unit, math.sin(pose.turn) * scale / unit
    cx, cy = pose.x * width, pose.y * height
    middle = _TEXTURE / 2
    data = (cos, sin, middle - cos * cx - sin * cy, -sin, cos, middle + sin * cx - cos * cy)
    return np.asarray(texture.transform((width, height), Image.Transform.AFFINE, data, Image.Resampling.BILINEAR), np.float32)


def _tissue(frame: _Frame, anatomy: Anatomy, pose: Pose, acid: float, rng: np.random.Generator) -> tuple[Plane, Plane]:
    """Cervix and vaginal walls in flat light, and the cervix's mask (0..1)."""
    paint, whitening = _painted(anatomy)
    cervix = _posed(paint, pose, frame.width, frame.height)
    if acid > 0:
        white = _posed(whitening, pose, frame.width, frame.height) * np.float32(acid / 255)
        cervix += white[..., None] * (np.array([238, 218, 216], np.float32) - cervix)
    dome = np.sqrt(np.clip(1 - np.float32(0.55) * np.minimum(frame.rho, 1) ** 4, 0, 1))
    tilt = 1 + np.float32(0.1) * np.clip(frame.x * np.float32(rng.normal(0, 0.5)) - frame.y * np.float32(rng.uniform(0, 0.9)), -1, 1)
    cervix *= (dome * tilt)[..., None]
    walls = _walls(frame, anatomy)
    mask = 1 - smoothstep(0.975, 1.02, frame.rho)
    return walls + mask[..., None] * (cervix - walls), mask


def _walls(frame: _Frame, anatomy: Anatomy) -> Plane:
    """Folded vaginal walls around a dark fornix."""
    rng = np.random.default_rng(anatomy.seed + 1)
    swirl = smooth_noise(rng, frame.width, frame.height, 4, 2)
    rugae = np.sin(np.float32(anatomy.folds) * frame.angle + np.float32(1.8) * swirl + np.float32(3) * frame.rho)
    # The fornix is a dark cleft on one side and all but closed on the other.
    open_side = np.float32(0.55) + np.float32(0.45) * np.cos(
        frame.angle - np.float32(rng.uniform(0, 2 * math.pi)) + np.float32(0.5) * swirl
    )
    wide = rng.uniform(0.1, 0.35)
    cleft = open_side * smoothstep(1.0 + wide, 0.97, frame.rho + np.float32(0.04) * swirl)
    far = 1 - np.float32(0.2) * np.clip(frame.rho - 1.4, 0, 3)
    light = (np.float32(0.92) - np.float32(0.66) * cleft) * (1 + np.float32(0.12) * rugae) * far
    walls: Plane = (np.array(anatomy.wall, np.float32) * light[..., None]).astype(np.float32, copy=False)
    return walls


def _speculum(image: Plane, frame: _Frame, anatomy: Anatomy) -> Plane:
    """Lay the speculum over `image`; gives back how much of each pixel it hides (0..1). What hides does not depend on the picture."""
    rng = np.random.default_rng(anatomy.seed + 2)
    if anatomy.speculum == "none":
        return np.zeros_like(frame.rho)
    if anatomy.speculum == "blades":
        return _blades(image, frame, anatomy, rng)
    return _ring(image, frame, anatomy, rng)


def _ring(image: Plane, frame: _Frame, anatomy: Anatomy, rng: np.random.Generator) -> Plane:
    """A metal or blue plastic tube seen from its end, with skin or drape around it."""
    plastic = anatomy.speculum == "plastic"
    far = np.hypot(frame.x, frame.y * np.float32(rng.uniform(0.9, 1.0)))
    inner, thick = anatomy.opening, rng.uniform(0.1, 0.24)
    tone = np.array(rng.choice([[44, 150, 205], [70, 170, 190], [120, 160, 215]]) if plastic else [214, 208, 190], np.float32)
    glare = np.float32(0.72) + np.float32(0.38) * np.cos(frame.angle * np.float32(rng.integers(2, 5)) + np.float32(rng.uniform(0, 6)))
    profile = np.sin(np.clip((far - np.float32(inner)) / np.float32(thick), 0, 1) * np.float32(math.pi))
    metal = tone * (glare * (np.float32(0.6) + np.float32(0.8) * profile))[..., None]
    skin = np.array(rng.choice([[168, 116, 78], [120, 78, 52], [196, 150, 118], [60, 110, 90], [38, 36, 40]]), np.float32)
    folds = np.float32(0.1) * smooth_noise(rng, frame.width, frame.height, 3, 2) + np.float32(0.025) * smooth_noise(
        rng, frame.width, frame.height, 70, 1
    )
    around = skin * (np.float32(0.82) + folds)[..., None]
    hides = smoothstep(inner - 0.015, inner + 0.015, far)
    outside = smoothstep(inner + thick - 0.015, inner + thick + 0.03, far)
    shade = smoothstep(inner - 0.3, inner, far) * np.float32(0.35)
    image *= (1 - shade)[..., None]
    image += hides[..., None] * (metal - image)
    image += outside[..., None] * (around - image)
    return hides


def _blades(image: Plane, frame: _Frame, anatomy: Anatomy, rng: np.random.Generator) -> Plane:
    """Two curved metal blades above and below (or at the sides)."""
    along, across = (frame.x, frame.y) if rng.random() < 0.75 else (frame.y, frame.x)
    hides: Plane = np.zeros_like(frame.rho)
    for sign in (-1.0, 1.0):
        edge = anatomy.opening * rng.uniform(0.82, 1.02) - 0.12 * rng.uniform(0, 1.5)
        into = np.float32(sign) * across - np.float32(edge) + np.float32(rng.uniform(0.08, 0.22)) * along**2 * np.float32(-1)
        cover = smoothstep(-0.015, 0.02, into)
        light = np.float32(0.32) + np.float32(0.5) * np.exp(-(((into - np.float32(rng.uniform(0.08, 0.4))) / np.float32(0.12)) ** 2))
        light += np.float32(0.25) * np.exp(-(((along - np.float32(rng.normal(0, 0.5))) / np.float32(0.35)) ** 2))
        image += cover[..., None] * (np.array([205, 196, 190], np.float32) * light[..., None] - image)
        hides = np.maximum(hides, cover)
    return hides


def _shine(image: Plane, frame: _Frame, hides: Plane, amount: float, rng: np.random.Generator) -> None:
    """Wet highlights of the lamp on the tissue: clusters of small white specks, each cluster around a spot that faces the light."""
    fine = smooth_noise(rng, frame.width, frame.height, rng.uniform(45, 85), 2)
    coarse = smooth_noise(rng, frame.width, frame.height, rng.uniform(14, 24), 2)
    lobe = np.zeros_like(frame.rho)
    for _ in range(int(rng.integers(2, 6))):
        angle, far, wide = rng.uniform(0, 2 * math.pi), rng.uniform(0.2, 1.0), rng.uniform(0.1, 0.28)
        flat, turn = rng.uniform(0.8, 2.5), rng.uniform(0, math.pi)
        dx, dy = frame.x - np.float32(far * math.cos(angle)), frame.y - np.float32(far * math.sin(angle))
        u, v = (
            dx * np.float32(math.cos(turn)) + dy * np.float32(math.sin(turn)),
            dy * np.float32(math.cos(turn)) - dx * np.float32(math.sin(turn)),
        )
        lobe = np.maximum(lobe, np.exp(-(u**2 * np.float32(1 / flat) + v**2 * np.float32(flat)) / np.float32(wide**2)))
    level = np.float32(0.75) * fine + np.float32(0.7) * coarse + np.float32(1.9 * amount) * lobe
    alpha = smoothstep(1.9, 2.5, level) * smoothstep(0.12, 0.4, lobe) * (1 - hides) * np.float32(0.95)
    image += alpha[..., None] * (np.array([255, 252, 250], np.float32) - image)


def _lens(image: Plane, style: Style, rng: np.random.Generator) -> Plane:
    """Fall-off of the light, the device's white balance and contrast."""
    height, width = image.shape[:2]
    x = np.linspace(-1, 1, width, dtype=np.float32)[None, :] - np.float32(rng.normal(0, 0.12))
    y = np.linspace(-1, 1, height, dtype=np.float32)[:, None] - np.float32(rng.normal(0, 0.12))
    fall = 1 - np.float32(style.corner) * np.clip((x**2 + y**2) / 2, 0, 1.4)
    gains = np.array(style.balance) * np.exp(rng.normal(0, style.wander, 3)) * rng.uniform(0.93, 1.07)
    lit = (image * fall[..., None] * gains.astype(np.float32)).astype(np.float32, copy=False)
    return (lit - np.float32(120)) * np.float32(style.contrast) + np.float32(120)


def _scope(image: Plane, hides: Plane, style: Style, seed: int) -> None:
    """The black surround of a scope's round picture, the same in all pictures of a patient."""
    rng = np.random.default_rng(seed + 3)
    if rng.random() >= style.round_frame:
        return
    height, width = hides.shape
    x = np.linspace(-1, 1, width, dtype=np.float32)[None, :] * np.float32(width / height if width > height else 1)
    y = np.linspace(-1, 1, height, dtype=np.float32)[:, None] * np.float32(height / width if height > width else 1)
    out = smoothstep(1.0, 1.05, np.hypot(x, y) / np.float32(rng.uniform(1.0, 1.15)))
    image *= (1 - out)[..., None]
    np.maximum(hides, out, out=hides)


def _work_size(size: Size) -> Size:
    share = min(1.0, _WORK / max(size))
    return max(8, round(size[0] * share)), max(8, round(size[1] * share))


def _bounds(mask: Pixels) -> Box | None:
    """The smallest box around the marked pixels, far edges exclusive; None when next to nothing of the cervix is seen."""
    columns, rows = np.flatnonzero(mask.any(axis=0)), np.flatnonzero(mask.any(axis=1))
    if columns.size < 8 or rows.size < 8:
        return None
    return float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1)


def render(
    rng: np.random.Generator, *, kind: str, style: Style, size: Size, anatomy: Anatomy, pose: Pose, strength: float, acid: float = 0.0
) -> Scene:
    """One picture of `anatomy` in `pose`. `strength` 0..1 of the tint; `acid` 0..1 of the whitening by acetic acid."""
    width, height = _work_size(size)
    frame = _frame(anatomy, pose, width, height)
    image, mask = _tissue(frame, anatomy, pose, acid, rng)
    if kind == "lugol_iodine":
        around = _bounds((mask > 0.5).astype(np.uint8))
        # Her own generator: the stain lies alike in all of her pictures.
        image = tints.lugol(as_pixels(image), strength, np.random.default_rng(anatomy.seed + 4), around).astype(np.float32)
    hides = _speculum(image, frame, anatomy)
    _shine(image, frame, hides, rng.uniform(0.5, 1.1), rng)
    image = _lens(image, style, rng)
    _scope(image, hides, style, anatomy.seed)
    pixels = as_pixels(image)
    if kind == "green_filter":
        pixels = tints.green(pixels, strength, rng)
    seen = Image.fromarray(((mask > 0.5) & (hides < 0.5)).astype(np.uint8) * 255).resize(size, Image.Resampling.NEAREST)
    visible = np.asarray(seen)
    return Scene(_developed(pixels, kind, style, size, rng), _bounds(visible), visible)


def _developed(pixels: Pixels, kind: str, style: Style, size: Size, rng: np.random.Generator) -> Pixels:
    """From the drawing to the device's picture: fault, frame size, burnt-in clock, sensor noise."""
    # Cameras sharpen and lift local contrast; a wide radius gives the look of a colposcope's video.
    # (Blending away from a reduced copy does what an unsharp mask does, in a quarter of the time.)
    sharp = Image.fromarray(pixels)
    soft = sharp.reduce(6).resize(sharp.size, Image.Resampling.BILINEAR)
    picture = Image.blend(soft, sharp, 1 + 0.9 * max(0.0, style.contrast - 0.6)).resize(size, Image.Resampling.BICUBIC)
    if kind == "unusable":
        picture = _spoilt(picture, rng)
    if rng.random() < style.timer:
        _clock(picture, rng)
    return _noisy(np.asarray(picture), style.noise, rng)


def _spoilt(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Out of focus, shaken, far too bright or far too dark."""
    fault, side = rng.choice(["blur", "blur", "shake", "bright", "dark"]), min(picture.size)
    if fault == "blur":
        return picture.filter(ImageFilter.BoxBlur(side * rng.uniform(0.02, 0.045)))
    if fault == "shake":
        steps, angle = 12, rng.uniform(0, math.pi)
        total = np.zeros((picture.height, picture.width, 3), np.float32)
        plain = np.asarray(picture, np.float32)
        for step in range(steps):
            reach = (step / steps - 0.5) * side * 0.14
            total += np.roll(plain, (round(reach * math.sin(angle)), round(reach * math.cos(angle))), (0, 1))
        return Image.fromarray(as_pixels(total / np.float32(steps))).filter(ImageFilter.BoxBlur(2))
    gain = rng.uniform(2.6, 4.0) if fault == "bright" else rng.uniform(0.06, 0.14)
    return Image.fromarray(as_pixels(np.asarray(picture, np.float32) * np.float32(gain)))


def _clock(picture: Image.Image, rng: np.random.Generator) -> None:
    """The magnification and timer that some colposcopes burn in."""
    pen = ImageDraw.Draw(picture)
    high = max(10, round(picture.height * 0.04))
    y, colour = picture.height * 0.06, (226, 214, 60)
    pen.text((picture.width * 0.06, y), f"X{rng.integers(4, 16):02d}", fill=colour, font_size=high)
    pen.text((picture.width * 0.76, y), f"{rng.integers(0, 6):02d}:{rng.integers(0, 60):02d}", fill=colour, font_size=high)


def _noisy(pixels: Pixels, sigma: float, rng: np.random.Generator) -> Pixels:
    """Sensor noise: a tile of 256 x 256 samples of standard deviation `sigma`, repeated at a random offset (drawing all is slow)."""
    height, width = pixels.shape[:2]
    tile = np.round(np.float32(sigma) * rng.standard_normal((256, 256, 3), np.float32)).astype(np.int16)
    tile = np.roll(tile, tuple(int(v) for v in rng.integers(0, 256, 2)), (0, 1))
    noise = np.tile(tile, (height // 256 + 1, width // 256 + 1, 1))[:height, :width]
    seen: Pixels = np.clip(pixels.astype(np.int16) + noise, 0, 255).astype(np.uint8)
    return seen


# --- pictures that show no cervix --------------------------------------------------------------------------------------------------


def _form(width: int, height: int, rng: np.random.Generator) -> Image.Image:
    """A consent form or referral letter on a desk."""
    desk = tuple(int(v) for v in rng.integers(40, 130, 3))
    page = Image.new("RGB", (width, height), (238, 236, 228))
    pen = ImageDraw.Draw(page)
    step = height / rng.integers(16, 28)
    pen.rectangle((width * 0.1, step, width * rng.uniform(0.4, 0.8), step * 1.9), fill=(60, 60, 70))
    for row in range(3, int(height / step) - 1):
        x = width * 0.1
        while x < width * rng.uniform(0.6, 0.9):
            word = rng.uniform(0.02, 0.09) * width
            pen.line((x, row * step, x + word, row * step), fill=(90, 90, 100), width=max(1, int(step * 0.22)))
            x += word + width * 0.015
    if rng.random() < 0.6:
        pen.rectangle((width * 0.1, height * 0.62, width * 0.9, height * 0.85), outline=(50, 50, 60), width=2)
        pen.line((width * 0.5, height * 0.62, width * 0.5, height * 0.85), fill=(50, 50, 60), width=2)
    points = [(float(x), height * 0.9 + float(rng.normal(0, step * 0.5))) for x in np.linspace(width * 0.5, width * 0.85, 24)]
    pen.line(points, fill=(30, 50, 140), width=2)
    return _laid(page, desk, rng)


def _laid(page: Image.Image, desk: tuple[int, ...], rng: np.random.Generator) -> Image.Image:
    """A sheet turned and laid on a surface."""
    width, height = page.size
    share = rng.uniform(0.72, 1.05)
    sheet = page.resize((max(8, round(width * share)), max(8, round(height * share)))).convert("RGBA").rotate(rng.normal(0, 7), expand=True)
    table = Image.new("RGB", (width, height), (desk[0], desk[1], desk[2]))
    table.paste(sheet, ((width - sheet.width) // 2, (height - sheet.height) // 2), sheet)
    return table


def _hand(width: int, height: int, rng: np.random.Generator) -> Image.Image:
    """A hand, bare or in a glove, over a drape."""
    drape = [(60, 120, 110), (70, 110, 170), (200, 205, 210)][int(rng.integers(3))]
    skin = [(214, 164, 134), (150, 100, 70), (92, 60, 44), (206, 214, 232), (150, 170, 220)][int(rng.integers(5))]
    sheet = Image.new("RGB", (width, height), drape)
    pen = ImageDraw.Draw(sheet)
    unit, x, y = min(width, height) * rng.uniform(0.16, 0.24), width * rng.uniform(0.4, 0.6), height * rng.uniform(0.55, 0.7)
    tilt = rng.normal(0, 0.3)
    for finger, (spread, long) in enumerate(((-1.15, 1.2), (-0.45, 1.9), (-0.12, 2.1), (0.2, 1.95), (0.52, 1.5))):
        angle = tilt + spread - math.pi / 2
        root = (x + unit * 0.7 * math.cos(angle), y + unit * 0.7 * math.sin(angle))
        tip = (x + unit * long * math.cos(angle), y + unit * long * math.sin(angle))
        tone = tuple(int(v * (0.92 + 0.02 * finger)) for v in skin)
        wide = int(unit * 0.42)
        pen.line((root, tip), fill=tone, width=wide)
        pen.ellipse((tip[0] - wide / 2, tip[1] - wide / 2, tip[0] + wide / 2, tip[1] + wide / 2), fill=tone)
    pen.ellipse((x - unit, y - unit, x + unit, y + unit * 1.2), fill=skin)
    pen.line((x, y, x + unit * 0.2, height + unit), fill=skin, width=int(unit * 1.35))
    return sheet.filter(ImageFilter.GaussianBlur(unit * 0.05))


def _room(width: int, height: int, rng: np.random.Generator) -> Image.Image:
    """An examination room: wall, floor, window, couch, lamp."""
    wall = tuple(int(v) for v in rng.integers(150, 225) + rng.integers(-18, 18, 3))
    sheet = Image.new("RGB", (width, height), wall)
    pen = ImageDraw.Draw(sheet)
    horizon = height * rng.uniform(0.55, 0.75)
    pen.rectangle((0, horizon, width, height), fill=tuple(int(v) for v in rng.integers(60, 140, 3)))
    x, y = width * rng.uniform(0.05, 0.6), height * rng.uniform(0.05, 0.2)
    pen.rectangle((x, y, x + width * 0.25, y + height * 0.3), fill=(246, 248, 252), outline=(110, 100, 90), width=4)
    pen.line((x + width * 0.125, y, x + width * 0.125, y + height * 0.3), fill=(110, 100, 90), width=3)
    left, top = width * rng.uniform(0.1, 0.45), horizon - height * 0.12
    couch = [(40, 80, 130), (50, 100, 80), (120, 60, 50)][int(rng.integers(3))]
    pen.polygon(
        ((left, top), (left + width * 0.45, top), (left + width * 0.52, top + height * 0.14), (left - width * 0.05, top + height * 0.14)),
        fill=couch,
    )
    for leg in (0.02, 0.42):
        pen.line((left + width * leg, top + height * 0.14, left + width * leg, height * 0.95), fill=(50, 50, 55), width=5)
    lamp = width * rng.uniform(0.7, 0.9)
    pen.line((lamp, height * 0.95, lamp, height * 0.3), fill=(170, 170, 175), width=4)
    pen.ellipse((lamp - 18, height * 0.24, lamp + 18, height * 0.34), fill=(250, 246, 220))
    return sheet.filter(ImageFilter.GaussianBlur(0.8))


def _chart(width: int, height: int, rng: np.random.Generator) -> Image.Image:
    """A colour chart, as held up before a session."""
    page = Image.new("RGB", (width, height), (28, 28, 30))
    pen = ImageDraw.Draw(page)
    columns, rows = (6, 4) if width >= height else (4, 6)
    cell = min(width / (columns + 0.5), height / (rows + 0.5))
    for row in range(rows):
        for column in range(columns):
            grey = int(245 - 40 * column) if row == rows - 1 else -1
            fill = (grey, grey, grey) if grey >= 0 else tuple(int(v) for v in rng.integers(20, 245, 3))
            x, y = (width - columns * cell) / 2 + column * cell, (height - rows * cell) / 2 + row * cell
            pen.rectangle((x + cell * 0.08, y + cell * 0.08, x + cell * 0.92, y + cell * 0.92), fill=fill)
    return _laid(page, (90, 96, 100), rng)


def _cap(width: int, height: int, rng: np.random.Generator) -> Image.Image:
    """A frame taken with the cap on, or a finger before the lens: next to black with a dull glow at one side."""
    glow = np.array(rng.choice([[70, 18, 10], [30, 30, 34], [16, 14, 22]]), np.float32)
    x = np.linspace(0, 1, width, dtype=np.float32)[None, :]
    y = np.linspace(0, 1, height, dtype=np.float32)[:, None]
    far = np.hypot(x - np.float32(rng.uniform(0, 1)), y - np.float32(rng.choice([0, 1])))
    return Image.fromarray(as_pixels(glow * np.exp(-3 * far)[..., None] + np.float32(6)))


def _tray(width: int, height: int, rng: np.random.Generator) -> Image.Image:
    """Instruments and gauze on a steel tray."""
    brushed = (
        np.float32(150)
        + np.float32(9) * smooth_noise(rng, width, height, 3, 2)
        + np.float32(5) * rng.standard_normal((height, 1), np.float32)
    )
    sheet = Image.fromarray(as_pixels(np.repeat(brushed[..., None], 3, axis=2)))
    pen = ImageDraw.Draw(sheet)
    for _ in range(int(rng.integers(2, 5))):
        x, lean = width * rng.uniform(0.1, 0.8), width * rng.normal(0, 0.12)
        grey = int(rng.integers(70, 225))
        pen.line((x, height * 0.12, x + lean, height * 0.9), fill=(grey, grey, grey + 8), width=int(rng.integers(5, 15)))
        pen.ellipse((x + lean - 16, height * 0.84, x + lean + 16, height * 0.97), outline=(grey, grey, grey), width=6)
    x, y, side = width * rng.uniform(0.1, 0.6), height * rng.uniform(0.1, 0.6), min(width, height) * rng.uniform(0.2, 0.35)
    pen.rectangle((x, y, x + side, y + side), fill=(236, 236, 232))
    for line in np.linspace(0, side, 14):
        pen.line((x + line, y, x + line, y + side), fill=(214, 214, 210))
    return sheet


_OTHERS: tuple[Callable[[int, int, np.random.Generator], Image.Image], ...] = (_form, _hand, _room, _chart, _cap, _tray)


def _not_cervix(rng: np.random.Generator, style: Style, size: Size, subject: int | None = None) -> Scene:
    """One of the pictures that end up in a patient's folder by mistake; which one is drawn when `subject` is None."""
    width, height = _work_size(size)
    which = int(rng.integers(len(_OTHERS))) if subject is None else subject % len(_OTHERS)
    drawn = _OTHERS[which](width, height, rng)
    image = np.asarray(drawn, np.float32)
    # Uneven light of a room, then the same device as for the other pictures.
    image = image * (1 + np.float32(0.06) * smooth_noise(rng, width, height, 2, 2))[..., None]
    pixels = as_pixels(_lens(image, replace(style, contrast=1.0), rng))
    return Scene(_developed(pixels, "not_cervix", replace(style, timer=0.0), size, rng), None, None)


# --- what others call --------------------------------------------------------------------------------------------------------------


def draw_strength(rng: np.random.Generator, kind: str) -> float:
    """A plausible strength of the tint of `kind`: green is faint in two of five, iodine 0.55-1; 0 for kinds without a tint."""
    if kind == "green_filter":
        return float(rng.uniform(0.12, 0.33) if rng.random() < 0.4 else rng.uniform(0.4, 1.0))
    return float(rng.uniform(0.55, 1.0)) if kind == "lugol_iodine" else 0.0


def draw_scene(
    rng: np.random.Generator,
    *,
    kind: str,
    style: Style | str,
    size: Size | None = None,
    strength: float | None = None,
    anatomy: Anatomy | None = None,
    pose: Pose | None = None,
    acid: float | None = None,
) -> tuple[Pixels, Box | None]:
    """One picture and the box of the visible cervix in its pixels (None without a cervix).

    kind: one of KINDS. style: a Style or the name of a site. size: width and height, the device's own by default. strength: 0..1 of the
    tint, drawn when None. anatomy, pose: a known patient's; a new one's when None. acid: 0..1 of whitening by acetic acid, drawn when None.
    """
    if kind not in KINDS:
        raise ValueError(f"unknown kind {kind!r}; one of {', '.join(KINDS)}")
    scene = _drawn(rng, kind, STYLES[style] if isinstance(style, str) else style, size, strength, anatomy, pose, acid)
    return scene.pixels, scene.box


def _drawn(
    rng: np.random.Generator,
    kind: str,
    style: Style,
    size: Size | None,
    strength: float | None,
    anatomy: Anatomy | None,
    pose: Pose | None,
    acid: float | None,
) -> Scene:
    frame = size or style.size
    if kind == "not_cervix":
        return _not_cervix(rng, style, frame)
    known = anatomy or draw_anatomy(rng, style)
    place = pose or draw_pose(rng, style)
    tint = draw_strength(rng, kind) if strength is None else strength
    white = draw_acid(rng) if acid is None else acid
    return render(rng, kind=kind, style=style, size=frame, anatomy=known, pose=place, strength=tint, acid=white)


def draw_acid(rng: np.random.Generator, share: float = 0.5) -> float:
    """Whitening 0.35-0.95 in `share` of the pictures, else 0."""
    return float(rng.uniform(0.35, 0.95)) if rng.random() < share else 0.0


TRAINING_SHARES = {"regular": 0.48, "green_filter": 0.22, "lugol_iodine": 0.2, "not_cervix": 0.1}


def draw_training_scenes(
    rng: np.random.Generator, count: int, *, side: int = 400, shares: dict[str, float] | None = None
) -> Iterator[tuple[Pixels, Box | None, str, float]]:
    """`count` pictures (longest side `side` pixels), each of a new patient: image, box or None, kind, strength of the tint.

    The styles are those of the example sites with the device shaken well beyond them, so that a model learns the anatomy and the tint
    rather than three devices. `shares`: kind -> share, TRAINING_SHARES by default.
    """
    chosen = shares or TRAINING_SHARES
    kinds, weights = list(chosen), np.array(list(chosen.values()), np.float64)
    for _ in range(count):
        kind = str(rng.choice(kinds, p=weights / weights.sum()))
        style = _shaken(STYLES[str(rng.choice(list(STYLES)))], rng)
        scale = side / max(style.size)
        strength = draw_strength(rng, kind)
        image, box = draw_scene(
            rng, kind=kind, style=style, size=(round(style.size[0] * scale), round(style.size[1] * scale)), strength=strength
        )
        yield image, box, kind, strength


def _shaken(style: Style, rng: np.random.Generator) -> Style:
    """A device like `style`, with other white balance, zoom, contrast and noise."""
    red, luma, blue = (float(gain * np.exp(rng.normal(0, 0.05))) for gain in style.balance)
    low, high = style.zoom
    return replace(
        style,
        balance=(red, luma, blue),
        zoom=(low * float(rng.uniform(0.75, 1.0)), high * float(rng.uniform(1.0, 1.25))),
        contrast=style.contrast * float(rng.uniform(0.85, 1.2)),
        noise=style.noise * float(rng.uniform(0.2, 1.5)),
        specula=("ring", "blades", "plastic", "none"),
    )


# --- the example set ---------------------------------------------------------------------------------------------------------------


def _plan(rng: np.random.Generator, patients: int) -> list[tuple[tuple[str, float], ...]]:
    """For each patient the kind and strength of her images, in order of capture (3-6 each).

    43 % of the patients have a non-regular image, and most of these have both green and iodine: so each of four splits by patient
    (70/10/10/10) is likely to hold both. The patterns are dealt in turn, not drawn, so that their number is exact; then shuffled.
    """
    positive = round(0.43 * patients)
    plans = []
    for index in range(patients):
        count = int(rng.integers(3, 6))
        kinds: list[tuple[str, float]] = [("regular", 0.0)] * count
        if index < positive:
            kinds[-1:] = _findings(index, rng)
        elif index % 3 == 0:
            kinds[int(rng.integers(count))] = ("unusable", 0.0)
        elif index % 3 == 1:
            kinds[int(rng.integers(count))] = ("not_cervix", 0.0)
        plans.append(tuple(kinds[:6]))
    return [plans[i] for i in rng.permutation(patients)]


def _findings(index: int, rng: np.random.Generator) -> list[tuple[str, float]]:
    """The non-regular images at the end of an exam, in the order of a colposcopy: green, then iodine."""
    faint = ("green_filter", float(rng.uniform(0.14, 0.32)))
    strong = ("green_filter", float(rng.uniform(0.5, 1.0)))
    iodine = ("lugol_iodine", float(rng.uniform(0.6, 1.0)))
    # Faint green alone is the case that only her other pictures give away.
    patterns = ([strong, iodine], [faint, iodine], [strong, iodine, iodine], [faint], [iodine, iodine], [strong, iodine], [faint, strong])
    return patterns[index % len(patterns)]


def draw_examples(out: Path, *, seed: int = 7, patients: int = 40) -> list[ExampleImage]:
    """Draw the example set into `out` and say the truth of each image, in order. The same seed gives the same files, byte for byte.

    Files: `<site>/<patient>_<n>.jpg` (JPEG quality 90, capture time in EXIF), `<site>/metadata.csv` (what an uploader would send along; the
    stated kind is left empty) and `truth.csv` (paths relative to `out`). `ExampleImage.path` is absolute.
    """
    rng = np.random.default_rng(seed)
    sites = list(STYLES.values())
    examples: list[ExampleImage] = []
    for number, kinds in enumerate(_plan(rng, patients)):
        style = sites[number % len(sites)]
        patient = f"{style.code}-{number // len(sites) + 1:03d}"
        # A generator of her own: a patient looks the same however many come after her.
        hers = np.random.default_rng((seed, number))
        # Dealt in turn: of a few drawn by chance, most may show the same thing.
        subject = sum(e.kind == "not_cervix" for e in examples)
        examples += _draw_patient(out.resolve(), style, patient, kinds, subject, hers)
    for style in sites:
        _write_metadata(out / style.site, [e for e in examples if e.site == style.site])
    _write_truth(out, examples)
    return examples


def _draw_patient(
    out: Path, style: Style, patient: str, kinds: Sequence[tuple[str, float]], subject: int, rng: np.random.Generator
) -> list[ExampleImage]:
    folder = out / style.site
    folder.mkdir(parents=True, exist_ok=True)
    anatomy, pose = draw_anatomy(rng, style), draw_pose(rng, style)
    taken = dt.datetime(2024, 1, 8, 8, 0) + dt.timedelta(days=int(rng.integers(0, 500)), minutes=int(rng.integers(0, 480)))
    examples = []
    for number, (kind, strength) in enumerate(kinds, start=1):
        # White light comes first in an exam, acetic acid after it.
        acid = draw_acid(rng, 0.0 if number == 1 else 0.65)
        if kind == "not_cervix":
            scene = _not_cervix(rng, style, style.size, subject)
        else:
            scene = _drawn(rng, kind, style, None, strength, anatomy, moved(pose, rng), acid)
        taken += dt.timedelta(seconds=int(rng.integers(20, 150)))
        path = folder / f"{patient}_{number}.jpg"
        Image.fromarray(scene.pixels).save(path, quality=90, exif=_exif(taken, style.device))
        examples.append(ExampleImage(str(path), style.site, patient, f"{patient}-E1", style.device, kind, strength, scene.box))
    return examples


def _exif(taken: dt.datetime, device: str) -> Image.Exif:
    """Device and capture time, as a camera writes them."""
    exif, stamp = Image.Exif(), taken.strftime("%Y:%m:%d %H:%M:%S")
    exif[0x0110] = device
    exif[0x0132] = stamp
    exif.get_ifd(0x8769)[0x9003] = stamp
    return exif


def _write_metadata(folder: Path, examples: Sequence[ExampleImage]) -> None:
    if not examples:
        return
    with (folder / "metadata.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("file", "patient", "exam", "device", "stated_kind"))
        writer.writerows((Path(e.path).name, e.patient, e.exam, e.device, "") for e in examples)


def _write_truth(out: Path, examples: Sequence[ExampleImage]) -> None:
    out.mkdir(parents=True, exist_ok=True)
    with (out / "truth.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("path", "site", "patient", "exam", "device", "kind", "strength", "box_x0", "box_y0", "box_x1", "box_y1"))
        for e in examples:
            path = Path(e.path)
            name = f"{path.parent.name}/{path.name}"
            writer.writerow((name, e.site, e.patient, e.exam, e.device, e.kind, f"{e.strength:.3f}", *(e.box or ("", "", "", ""))))
