"""Drawn images with known outlines, for experts no real outline is at hand for. They test code, not medicine.

Each returns (picture or HU values, mask or label map) and depends on nothing but its seed.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Array = NDArray[Any]
SKINS = ((222, 175, 150), (205, 150, 120), (230, 190, 175), (180, 120, 90), (215, 150, 140), (150, 100, 75))
LESIONS = ((95, 55, 35), (120, 75, 50), (150, 80, 75), (70, 50, 45))


def _texture(rng: np.random.Generator, shape: tuple[int, int], sigma: float) -> Array:
    """Return smooth noise of deviation 1."""
    soft = ndimage.gaussian_filter(rng.normal(0, 1, shape), sigma, mode="wrap")
    return np.asarray(soft / soft.std())


def _ellipse(shape: tuple[int, int], center: tuple[float, float], half: tuple[float, float], turn: float = 0) -> Array:
    """Return (r / R)**2 of an ellipse at every pixel, `half` axes down and across before turning."""
    down, across = np.indices(shape).astype(float)
    down, across = down - center[0], across - center[1]
    along = down * np.cos(turn) + across * np.sin(turn)
    aside = across * np.cos(turn) - down * np.sin(turn)
    return np.asarray((along / half[0]) ** 2 + (aside / half[1]) ** 2)


def _line(shape: tuple[int, int], points: Array, width: float) -> Array:
    """Return a soft line through (N, 2) points, 1 on it."""
    inside = ((points >= 0) & (points < shape)).all(axis=1)
    away = np.ones(shape, np.bool_)
    away[tuple(points[inside].astype(int).T)] = False
    return np.asarray(np.clip(width / 2 + 0.5 - ndimage.distance_transform_edt(away), 0, 1))


@cache
def skin(seed: int, *, lesion: bool = True) -> tuple[Array, Array]:
    """Return dermoscopic skin, 300 x 400, of six tones, with hairs, every second time a lens's frame, and a lesion."""
    rng, shape = np.random.default_rng(seed), (300, 400)
    picture = np.array(SKINS[seed % len(SKINS)], float) * (1 + 0.02 * _texture(rng, shape, 1.5)[..., None])
    picture *= 1 + 0.03 * _texture(rng, shape, 75)[..., None]
    down, across = np.indices(shape).astype(float)
    down, across = (
        down - 300 * rng.uniform(0.42, 0.58),
        (across - 400 * rng.uniform(0.42, 0.58)) / rng.uniform(0.9, 1.25),
    )
    turn = np.arctan2(down, across)
    waves = sum(rng.normal(0, 0.17 / (k + 1)) * np.cos(k * turn + rng.uniform(0, 6.3)) for k in range(2, 7))
    inside = 300 * rng.uniform(0.18, 0.33) * (1 + waves) - np.hypot(down, across)
    if lesion:
        mottled = rng.uniform(0.45, 0.95) * (1 + 0.12 * _texture(rng, shape, 10))
        depth = np.clip(mottled / (1 + np.exp(-inside / (300 * rng.uniform(0.006, 0.02)))), 0, 1)[..., None]
        picture = picture * (1 - depth) + np.array(LESIONS[rng.integers(4)]) * depth
    steps = np.linspace(0, 1, 1500)[:, None]
    for _ in range(rng.integers(0, 9)):
        start, stop, bend = rng.uniform(0, 1, 2) * shape, rng.uniform(0, 1, 2) * shape, rng.normal(0, 50, 2)
        hair = 0.8 * _line(shape, start + (stop - start) * steps + bend * np.sin(np.pi * steps), 2)[..., None]
        picture = picture * (1 - hair) + np.array([35, 25, 20]) * hair
    if seed % 2:
        radius = np.sqrt(_ellipse(shape, (150, 200), (1, 1)))
        picture /= 1 + np.exp((radius - 205) / 4)[..., None]
    picture += rng.normal(0, 3, picture.shape)
    return picture.clip(0, 255).astype(np.uint8), (inside > 0) & lesion


@cache
def thorax(seed: int, *, lungs: bool = True) -> tuple[Array, Array, Array]:
    """Return HU of a chest slice, 320 x 320, on a table; label map of the lungs (1, 2); the body's mask."""
    rng, shape = np.random.default_rng(seed), (320, 320)
    values = np.full(shape, -1000.0)
    values[285:288, 40:280] = 60
    body = _ellipse(shape, (155, 160), (105, 140)) < 1
    values[body] = -100
    values[_ellipse(shape, (155, 160), (94, 128)) < 1] = 40
    values[_ellipse(shape, (225, 160), (16, 20)) < 1] = 350
    found = np.zeros(shape, np.int32)
    if lungs:
        for number, (side, tall) in enumerate(((-66, rng.uniform(55, 74)), (66, rng.uniform(50, 70))), start=1):
            lung = (
                _ellipse(
                    shape, (150 + rng.uniform(-5, 5), 160 + side), (tall, rng.uniform(38, 50)), 0.15 * np.sign(side)
                )
                < 1
            )
            found[lung] = number
            values[lung] = -850
        vessels = ndimage.gaussian_filter((rng.random(shape) > 0.997).astype(float), 1.2) * 9
        values[found > 0] += 600 * vessels[found > 0].clip(0, 1)
        found[_ellipse(shape, (130, 160), (8, 8)) < 1] = 0
    values[_ellipse(shape, (130, 160), (8, 8)) < 1] = -1000
    return ndimage.gaussian_filter(values, 0.8) + rng.normal(0, 20, shape), found, body


@cache
def retina(seed: int, *, disc: bool = True) -> tuple[Array, Array, Array]:
    """Return a fundus photograph, 600 x 600, mask of its disc, mask of its vessels."""
    rng, shape = np.random.default_rng(seed), (600, 600)
    field = _ellipse(shape, (300, 300), (285, 285)) < 1
    shade = (1 - 0.35 * _ellipse(shape, (300, 300), (285, 285))) * (1 + 0.03 * _texture(rng, shape, 30))
    picture = np.array([205.0, 95, 50]) * shade[..., None]
    center = 300 + rng.uniform(-40, 40), 300 + rng.choice((-1, 1)) * rng.uniform(120, 180)
    inside = _ellipse(shape, center, (44, 38)) if disc else np.full(shape, 9.0)
    glow = 1 / (1 + np.exp((np.sqrt(inside) - 1) / 0.04))[..., None]
    picture = picture * (1 - 0.8 * glow) + np.array([250.0, 205, 140]) * 0.8 * glow
    vessels = np.zeros(shape)
    steps = np.linspace(0, 1, 3000)[:, None]
    for turn in np.linspace(0, 2 * np.pi, 11)[:-1] + rng.uniform(0, 0.5, 10):
        way = np.array([np.sin(turn), np.cos(turn)])
        bent = 60 * rng.normal() * np.array([way[1], -way[0]]) * np.sin(2 * np.pi * steps * rng.uniform(0.3, 0.8))
        vessels = np.maximum(vessels, _line(shape, np.array(center) + 520 * way * steps + bent, rng.uniform(2.5, 6)))
    vessels *= field
    picture *= 1 - vessels[..., None] * np.array([0.2, 0.42, 0.3])
    picture = ndimage.gaussian_filter(picture, (0.8, 0.8, 0)) + rng.normal(0, 2.5, picture.shape)
    picture[~field] = rng.normal(3, 1, (np.count_nonzero(~field), 3))
    return picture.clip(0, 255).astype(np.uint8), (inside < 1) & field, vessels > 0.5


@cache
def stained(seed: int, *, nuclei: bool = True) -> tuple[Array, Array]:
    """Return an H&E field, 400 x 400, and the label map of its nuclei."""
    rng, shape = np.random.default_rng(seed), (400, 400)
    hematoxylin = np.clip(0.12 + 0.05 * _texture(rng, shape, 6), 0, None)
    eosin = np.clip(0.6 + 0.15 * _texture(rng, shape, 12) + 0.08 * _texture(rng, shape, 2), 0.05, None)
    labels = np.zeros(shape, np.int32)
    for number in range(1, 141 if nuclei else 1):
        half, turn = (rng.uniform(6, 11), rng.uniform(5, 8)), rng.uniform(0, np.pi)
        top, left = rng.integers(-6, 376, 2)
        place = slice(max(0, top), top + 30), slice(max(0, left), left + 30)
        middle = top + 15 - place[0].start, left + 15 - place[1].start
        nucleus = _ellipse(labels[place].shape, middle, half, turn)
        if not labels[place][nucleus < 1.4].any():  # 1.4: a gap of a pixel or two
            labels[place][nucleus < 1] = number
            hematoxylin[place][nucleus < 1] = rng.uniform(0.6, 1.3)
    hematoxylin[labels > 0] *= 1 + 0.12 * _texture(rng, shape, 1.5)[labels > 0]
    vectors = np.array([[0.65, 0.70, 0.29], [0.07, 0.99, 0.11]])  # Ruifrok and Johnston 2001
    density = ndimage.gaussian_filter(np.stack([hematoxylin, eosin], -1), (0.8, 0.8, 0)) @ vectors
    picture = 245 * 10**-density + rng.normal(0, 2, (*shape, 3))
    return picture.clip(0, 255).astype(np.uint8), np.unique(labels, return_inverse=True)[1].reshape(shape)


@cache
def scan(seed: int) -> tuple[Array, Array]:
    """Return an ultrasound screen, 480 x 640, fan for even seeds and rectangle for odd ones, and the area's mask."""
    rng, shape = np.random.default_rng(seed), (480, 640)
    down, across = np.indices(shape).astype(float)
    if seed % 2:
        left, wide, top, deep = rng.uniform(140, 200), rng.uniform(200, 320), rng.uniform(30, 60), rng.uniform(300, 380)
        area = (across > left) & (across < left + wide) & (down > top) & (down < top + deep)
    else:
        apex = np.array([rng.uniform(-20, 20), 320 + rng.uniform(-30, 30)])
        radius, turn = np.hypot(down - apex[0], across - apex[1]), np.arctan2(across - apex[1], down - apex[0])
        area = (radius > 70) & (radius < 420) & (np.abs(turn) < rng.uniform(0.5, 0.75))
    speckle = rng.rayleigh(45, shape) * (1 + 0.4 * _texture(rng, shape, 25)).clip(0.15, None)
    picture = np.where(area, speckle.clip(1, 255), 0)
    picture[_ellipse(shape, (230, 320), (35, 45)) < 1] *= 0.2
    for row in range(20, 460, 24):  # rows of blocks the size of letters, and a ruler
        picture[row : row + 9, 8:60] = np.where(rng.random((9, 52)) > 0.55, 220, 0)
        picture[row : row + 2, 625:635] = 200
    return picture.clip(0, 255).astype(np.uint8), area
