"""Drawn regions and pictures with known answers, for the tests of what is measured and said."""

from __future__ import annotations

import math

import numpy as np
from scipy import ndimage

from medtrinity25m.description.measure import RegionFacts, measure
from medtrinity25m.description.scene import Scene
from medtrinity25m.roi import geometry
from medtrinity25m.triplet import ROI

SIDE = 256


def ellipse(
    radius: float = 20, ratio: float = 1.0, turn: float = 0.0, center: tuple[float, float] = (128, 128)
) -> np.ndarray:
    """A filled ellipse of SIDE x SIDE pixels; `ratio` is short over long axis, `turn` in degrees."""
    y, x = np.mgrid[:SIDE, :SIDE]
    down, across, angle = y - center[0], x - center[1], math.radians(turn)
    along = across * math.cos(angle) + down * math.sin(angle)
    aside = down * math.cos(angle) - across * math.sin(angle)
    return (along / radius) ** 2 + (aside / (radius * ratio)) ** 2 <= 1


def star(radius: float = 30) -> np.ndarray:
    """A five-pointed star."""
    y, x = np.mgrid[:SIDE, :SIDE] - SIDE // 2
    point = np.abs(np.arctan2(y, x) * 5 / (2 * np.pi) % 1 - 0.5) * 2
    return np.hypot(x, y) <= radius * (0.4 + 0.6 * point)


def picture(mask: np.ndarray, inside: float, outside: float, blur: float = 0, noise: float = 0) -> np.ndarray:
    """A gray picture of a mask: two levels, an edge of sigma `blur`, noise everywhere."""
    levels = ndimage.gaussian_filter(mask.astype(float), blur) if blur else mask.astype(float)
    grain = np.random.default_rng(1).normal(0, noise, mask.shape) if noise else 0
    return np.clip(np.round(outside + (inside - outside) * levels + grain), 0, 255).astype(np.uint8)


def region(mask: np.ndarray, label: str = "lesion", count: int = 1) -> ROI:
    """The region of a mask, as annotations make it."""
    piece = geometry.cut(mask)
    assert piece is not None
    share = geometry.area_fraction(piece.area_px, *mask.shape)
    place = geometry.position(piece.xyxy, *mask.shape)
    return ROI(
        xyxy=piece.xyxy,
        label=label,
        origin="mask",
        mask=piece.mask,
        count=count,
        area_fraction=share,
        position=place,
    )


def boxed(mask: np.ndarray) -> ROI:
    """The region of a mask when only its box is known."""
    return region(mask).with_(mask=None, origin="box")


def facts(gray: np.ndarray, *rois: ROI, **more: object) -> RegionFacts:
    """The facts of the first region."""
    return measure(Scene(gray, rois, **more), 0)  # type: ignore[arg-type]
