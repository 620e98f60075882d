"""Draws pictures of anything but a cervix, for the not-a-cervix head: what ends up in a folder by mistake, and a wide range beyond it.

No photograph goes into a drawing. What a head learns from a few kinds of drawing it takes for drawing itself; so sorts differ in
palette, texture and edges, some have the colours and the round shape of a cervix, and drawn cervices stand on the other side.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from training import synthetic
from training.degrade import defocus, sensed
from training.tints import Pixels, Plane, as_pixels, smooth_noise, smoothstep

SIZES = ((480, 360), (360, 480), (400, 400), (512, 288), (224, 224))
TISSUE = ((214, 150, 130), (190, 100, 95), (150, 60, 55), (232, 190, 170), (120, 75, 55), (90, 55, 40), (200, 160, 90))

Drawing = Callable[[int, int, np.random.Generator], Pixels]


def _colour(rng: np.random.Generator, tissue: float = 0.35) -> Plane:
    """Any colour; in `tissue` of the cases one of skin, mucosa or stained tissue."""
    if rng.random() < tissue:
        return np.array(TISSUE[int(rng.integers(len(TISSUE)))], np.float32) + rng.normal(0, 12, 3).astype(np.float32)
    return rng.uniform(0, 255, 3).astype(np.float32)


def _plain(width: int, height: int, rng: np.random.Generator) -> Pixels:
    """A wall, a sheet, the lens before a cloth: one colour, next to no texture."""
    light = 1 + np.float32(rng.uniform(0, 0.12)) * smooth_noise(rng, width, height, 2, 2)
    grain = np.float32(rng.uniform(0, 6)) * smooth_noise(rng, width, height, 120, 1)
    return as_pixels(_colour(rng) * light[..., None] + grain[..., None])


def _gradient(width: int, height: int, rng: np.random.Generator) -> Pixels:
    """A ramp or a glow from one colour to another."""
    x, y = np.linspace(-1, 1, width, dtype=np.float32)[None, :], np.linspace(-1, 1, height, dtype=np.float32)[:, None]
    angle, cx, cy = rng.uniform(0, math.pi), rng.uniform(-0.7, 0.7), rng.uniform(-0.7, 0.7)
    ramp = x * math.cos(angle) + y * math.sin(angle) if rng.random() < 0.5 else np.hypot(x - cx, y - cy) - 0.7
    share = smoothstep(-rng.uniform(0.2, 1.2), rng.uniform(0.2, 1.2), ramp.astype(np.float32))[..., None]
    return as_pixels(_colour(rng) * share + _colour(rng) * (1 - share))


def _clouds(width: int, height: int, rng: np.random.Generator) -> Pixels:
    """Noise between three colours: marble, fabric, foliage, foam."""
    a = smoothstep(-1.5, 1.5, smooth_noise(rng, width, height, rng.uniform(2, 30), int(rng.integers(1, 6))))[..., None]
    b = smoothstep(-0.8, 0.8, smooth_noise(rng, width, height, rng.uniform(3, 60), int(rng.integers(1, 5))))[..., None]
    mixed: Plane = _colour(rng) * a + _colour(rng) * (1 - a)
    return as_pixels(mixed + (_colour(rng) - mixed) * b * np.float32(rng.uniform(0.2, 0.9)))


def _leaves(width: int, height: int, rng: np.random.Generator) -> Pixels:
    """Shapes that hide one another, small ones more often than large: the statistics of a photograph (dead leaves, Lee et al. 2001)."""
    base, spread = _colour(rng), rng.uniform(15, 90)
    sheet = Image.new("RGB", (width, height), tuple(int(v) for v in np.clip(base, 0, 255)))
    pen, least = ImageDraw.Draw(sheet), rng.uniform(3, 10)
    round_share = rng.random()
    for _ in range(int(rng.integers(60, 500))):
        radius = min(least / rng.random() ** 0.6, 0.45 * min(width, height))
        x, y, stretch = rng.uniform(0, width), rng.uniform(0, height), rng.uniform(0.4, 1.6)
        fill = tuple(int(v) for v in np.clip(base + rng.normal(0, spread, 3) + rng.normal(0, spread), 0, 255))
        corners = (x - radius * stretch, y - radius, x + radius * stretch, y + radius)
        (pen.ellipse if rng.random() < round_share else pen.rectangle)(corners, fill=fill)
    texture = 1 + np.float32(rng.uniform(0, 0.15)) * smooth_noise(rng, width, height, rng.uniform(10, 80), 3)
    return as_pixels(np.asarray(sheet, np.float32) * texture[..., None])


def _stripes(width: int, height: int, rng: np.random.Generator) -> Pixels:
    """Blinds, tiles, weave, grilles."""
    x, y = np.arange(width, dtype=np.float32)[None, :], np.arange(height, dtype=np.float32)[:, None]
    angle, pitch = rng.uniform(0, math.pi), rng.uniform(6, 70)
    warp = np.float32(rng.choice([0.0, rng.uniform(0, 3)])) * smooth_noise(rng, width, height, 5)
    u = (x * math.cos(angle) + y * math.sin(angle)).astype(np.float32) / np.float32(pitch) + warp
    v = (y * math.cos(angle) - x * math.sin(angle)).astype(np.float32) / np.float32(pitch * rng.uniform(0.5, 2)) + warp
    wave = np.sin(2 * np.float32(math.pi) * u) * (np.sin(2 * np.float32(math.pi) * v) if rng.random() < 0.5 else np.float32(1))
    share = smoothstep(-rng.uniform(0.02, 1), rng.uniform(0.02, 1), wave)[..., None]
    return as_pixels(_colour(rng) * share + _colour(rng) * (1 - share))


def _skin(width: int, height: int, rng: np.random.Generator) -> Pixels:
    """Skin with pores, creases, hairs and moles, now and then with an edge of cloth."""
    tone = np.array(((226, 180, 152), (198, 140, 108), (150, 98, 68), (98, 62, 44), (66, 42, 32))[int(rng.integers(5))], np.float32)
    pores = np.float32(0.03) * smooth_noise(rng, width, height, rng.uniform(60, 140), 1)
    light = 1 + np.float32(0.1) * smooth_noise(rng, width, height, 3, 2) + pores
    sheet = Image.fromarray(as_pixels(tone * light[..., None]))
    pen = ImageDraw.Draw(sheet)
    for _ in range(int(rng.integers(0, 60))):
        x, y, angle, long = rng.uniform(0, width), rng.uniform(0, height), rng.normal(0.8, 0.5), rng.uniform(8, 50)
        dark = tuple(int(v) for v in tone * rng.uniform(0.25, 0.75))
        pen.line((x, y, x + long * math.cos(angle), y + long * math.sin(angle)), fill=dark, width=1)
    for _ in range(int(rng.integers(0, 5))):
        x, y, r = rng.uniform(0, width), rng.uniform(0, height), rng.uniform(2, 14)
        pen.ellipse((x - r, y - r * 0.8, x + r, y + r * 0.8), fill=tuple(int(v) for v in tone * rng.uniform(0.35, 0.7)))
    if rng.random() < 0.4:
        edge = rng.uniform(0.1, 0.45) * height
        pen.polygon(((0, 0), (width, 0), (width, edge * rng.uniform(0.5, 1.5)), (0, edge)), fill=tuple(int(v) for v in _colour(rng, 0)))
    return np.asarray(sheet.filter(ImageFilter.GaussianBlur(rng.uniform(0.3, 1.2))))


def _landscape(width: int, height: int, rng: np.random.Generator) -> Pixels:
    """Sky, hills behind one another, ground."""
    y = np.linspace(0, 1, height, dtype=np.float32)[:, None]
    sky, ground = rng.uniform((60, 110, 150), (190, 210, 250)), rng.uniform((30, 50, 20), (170, 150, 110))
    image: Plane = (sky * (1 - 0.3 * y[..., None]) * np.ones((height, width, 1))).astype(np.float32)
    for layer in range(int(rng.integers(1, 4))):
        ridge = 0.35 + 0.18 * layer + 0.07 * smooth_noise(rng, width, 2, rng.uniform(2, 9), 4)[:1]
        below = smoothstep(-0.004, 0.004, y - ridge)[..., None]
        texture = 1 + np.float32(0.2) * smooth_noise(rng, width, height, rng.uniform(20, 90), 4)
        tone = (ground * rng.uniform(0.5, 1.1) + sky * (0.3 - 0.12 * layer)).astype(np.float32)
        image += below * (tone * texture[..., None] - image)
    return as_pixels(image)


def _page(width: int, height: int, rng: np.random.Generator) -> Pixels:
    """A printed or shown page: lines of letters, boxes, a table; white, tinted or dark."""
    dark = rng.random() < 0.3
    paper, ink = (rng.uniform(10, 60, 3), rng.uniform(150, 255, 3)) if dark else (rng.uniform(200, 255, 3), rng.uniform(0, 110, 3))
    sheet = Image.new("RGB", (width, height), tuple(int(v) for v in paper))
    pen, step = ImageDraw.Draw(sheet), rng.uniform(9, 26)
    for _ in range(int(rng.integers(0, 4))):
        x, y = rng.uniform(0, 0.7) * width, rng.uniform(0, 0.7) * height
        tone = tuple(int(v) for v in _colour(rng, 0))
        pen.rectangle((x, y, x + rng.uniform(0.1, 0.5) * width, y + rng.uniform(0.05, 0.4) * height), outline=tone, width=2)
    for row in range(int(height / step)):
        letters = "".join(chr(int(c)) for c in rng.integers(97, 123, int(rng.integers(0, 70))))
        spaced = "".join(" " if rng.random() < 0.17 else c for c in letters)
        pen.text((width * 0.05, row * step), spaced, fill=tuple(int(v) for v in ink), font_size=step * 0.75)
    return np.asarray(sheet.rotate(rng.normal(0, 4), expand=False, fillcolor=tuple(int(v) for v in paper)))


def _round_thing(width: int, height: int, rng: np.random.Generator) -> Pixels:
    """Round things in the middle that are none: plates, fruit, lids, coins, lamps, pupils, with rings, spokes or a stem."""
    x, y = np.arange(width, dtype=np.float32)[None, :] - width / 2, np.arange(height, dtype=np.float32)[:, None] - height / 2
    side = min(width, height)
    cx, cy, radius = rng.normal(0, 0.05) * side, rng.normal(0, 0.05) * side, rng.uniform(0.2, 0.48) * side
    far, angle = (np.hypot(x - cx, y - cy) / radius).astype(np.float32), np.arctan2(y - cy, x - cx).astype(np.float32)
    rings = np.sin(np.float32(rng.uniform(2, 40)) * far) if rng.random() < 0.5 else np.sin(np.float32(rng.integers(3, 40)) * angle)
    tone: Plane = _colour(rng) * (1 + np.float32(rng.uniform(0.02, 0.4)) * rings * smoothstep(0.1, 0.4, far))[..., None]
    tone = tone * (1 + np.float32(rng.uniform(0, 0.4)) * (1 - far))[..., None]
    hole = smoothstep(rng.uniform(0.15, 0.5), 0.1, far)[..., None] * np.float32(rng.random() < 0.5)
    tone = tone + hole * (_colour(rng) - tone)
    ground = Image.fromarray((_leaves, _plain, _clouds, _stripes)[int(rng.integers(4))](width, height, rng))
    behind = np.asarray(ground.filter(ImageFilter.GaussianBlur(rng.uniform(0, 3))), np.float32)
    return as_pixels(behind + smoothstep(1.01, 0.99, far)[..., None] * (tone - behind))


def _cells(width: int, height: int, rng: np.random.Generator) -> Pixels:
    """A stained smear under the microscope: pale ground, round cells with dark nuclei."""
    ground, body, core = (
        rng.uniform((200, 170, 190), (250, 235, 250)),
        rng.uniform((150, 90, 140), (230, 190, 220)),
        rng.uniform(30, 120, 3),
    )
    sheet = Image.new("RGB", (width, height), tuple(int(v) for v in ground))
    pen, size = ImageDraw.Draw(sheet), rng.uniform(5, 40)
    for _ in range(int(rng.integers(15, 160))):
        x, y, r = rng.uniform(0, width), rng.uniform(0, height), size * rng.uniform(0.6, 1.5)
        pen.ellipse((x - r, y - r, x + r, y + r * 0.9), fill=tuple(int(v) for v in body * rng.uniform(0.85, 1.1)))
        pen.ellipse((x - r * 0.35, y - r * 0.3, x + r * 0.3, y + r * 0.3), fill=tuple(int(v) for v in core))
    return np.asarray(sheet.filter(ImageFilter.GaussianBlur(rng.uniform(0.5, 2))))


def _scan(width: int, height: int, rng: np.random.Generator) -> Pixels:
    """Ultrasound or X-ray: grey on black, a sector or a frame."""
    x, y = np.linspace(-1, 1, width, dtype=np.float32)[None, :], np.linspace(0, 1, height, dtype=np.float32)[:, None]
    speckle = np.abs(smooth_noise(rng, width, height, rng.uniform(20, 120), 2))
    body = smoothstep(-1, 1.5, smooth_noise(rng, width, height, rng.uniform(2, 7), 3)) * (0.4 + np.float32(rng.uniform(0, 0.8)) * speckle)
    inside = smoothstep(1.0, 0.97, np.hypot(x, y - np.float32(0.02))) * smoothstep(
        -0.02, 0.02, y * np.float32(rng.uniform(0.7, 1.6)) - np.abs(x)
    )
    grey = body * (inside if rng.random() < 0.6 else np.float32(1)) * np.float32(rng.uniform(120, 280))
    return as_pixels(np.repeat(grey[..., None], 3, axis=2))


def _mistake(width: int, height: int, rng: np.random.Generator) -> Pixels:
    """The example set's own: forms, hands, rooms, charts, caps, trays."""
    style = list(synthetic.STYLES.values())[int(rng.integers(len(synthetic.STYLES)))]
    return synthetic.draw_scene(rng, kind="not_cervix", style=style, size=(width, height))[0]


SORTS: dict[str, Drawing] = {
    "plain": _plain, "gradient": _gradient, "clouds": _clouds, "leaves": _leaves, "stripes": _stripes, "skin": _skin,
    "landscape": _landscape, "page": _page, "round_thing": _round_thing, "cells": _cells, "scan": _scan, "mistake": _mistake,
}  # fmt: skip
SHARES = {"leaves": 0.16, "round_thing": 0.14, "mistake": 0.2, "clouds": 0.1, "skin": 0.1}
"""The rest is shared out evenly."""


def draw(rng: np.random.Generator, count: int, *, sorts: tuple[str, ...] = ()) -> Iterator[tuple[Pixels, str]]:
    """`count` pictures (H, W, 3) without a cervix and the sort of each (of SORTS, or only `sorts`), through cameras of varied quality."""
    chosen = sorts or tuple(SORTS)
    spare = max(0.0, 1 - sum(SHARES.get(name, 0) for name in chosen)) / max(1, sum(name not in SHARES for name in chosen))
    weights = np.array([SHARES.get(name, spare) for name in chosen]) + 1e-6
    for _ in range(count):
        sort = str(rng.choice(chosen, p=weights / weights.sum()))
        width, height = SIZES[int(rng.integers(len(SIZES)))]
        pixels = SORTS[sort](width, height, rng)
        if rng.random() < 0.15:
            pixels = defocus(pixels, float(rng.uniform(0.003, 0.03)))
        yield sensed(pixels, rng), sort
