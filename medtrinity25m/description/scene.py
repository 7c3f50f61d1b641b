"""What measuring needs of a row: its gray levels, its regions, and the ring around each of them.

`gray` is the picture as it is shown (8 bit; luminance where it has color), so that whoever holds a row can
measure again and get the same. Arrays are (H, W), boxes half-open `xyxy`, lengths in pixels unless a name
ends in `_mm`. A length in *units* is one in pixels of a picture as large on the screen as one of 512 pixels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from medtrinity25m.roi.geometry import Mask, box_area_px
from medtrinity25m.triplet import ROI, XYXY, Sample, Window

Gray = NDArray[np.uint8]

REFERENCE_SIDE = 512
"""Pixels of the shorter side at which one pixel counts as one: a picture is fitted to the screen for reading,
so in one of 2048 pixels a margin of four pixels looks as one pixel does here."""

RING_GAP = 1.0
"""Pixels between region and ring: a drawn outline is off by about one, and pixels there mix both sides."""

RING_SHARE, RING_MIN, RING_MAX_SHARE = 0.5, 3.0, 0.04
"""Ring width: half the radius of a disc as large as the region, so that the ring holds about as many pixels
(1.5^2 - 1 = 1.25 times as many); at least 3 pixels, for a sample; at most 4 % of the image's shorter side,
because what lies farther away are no surroundings."""

RING_COMPLETE = 0.4
"""Share of the ring that must be left after the image's edge and other regions are taken off it: less than
about half and the rest stands on one side only."""

FRAME = 4.0
"""Units of picture kept around region and ring, so that filters there see the picture and no cut edge."""

LEAST_PX = 25
"""Pixels for the brightness of a region or ring. A chance to be lighter has a standard error of 0.29 /
sqrt(n), 0.06 here; as neighbors are alike, twice that, half of what `appearance.DETECTABLE` asks beyond one
half."""


def luminance(pixels: NDArray[np.uint8]) -> Gray:
    """Return (H, W) gray levels of (H, W) or (H, W, 3) pixels: ITU-R BT.601, exactly Pillow's L."""
    if pixels.ndim == 2:
        return pixels
    weighted = pixels.astype(np.uint32) @ np.array([19595, 38470, 7471], dtype=np.uint32)
    gray: Gray = ((weighted + 0x8000) >> 16).astype(np.uint8)
    return gray


@dataclass(frozen=True, eq=False)
class Surroundings:
    """A region and the ring around it, in a window of the image; every array has the window's shape.

    Args:
        gray: levels.
        inside: the region.
        others: pixels outside it that belong to regions taken off the ring.
        ring: None where too little of it is left.
        away: distance of a pixel from the nearest one of the region, 0 inside.
        radius: of a disc as large as the region, or as one instance of it.
    """

    gray: Gray
    inside: Mask
    others: Mask
    ring: Mask | None
    away: NDArray[np.float64]
    radius: float

    @cached_property
    def depth(self) -> NDArray[np.float64]:
        """Distance of a pixel inside from the nearest one outside, which the image's edge is too."""
        padded = ndimage.distance_transform_edt(np.pad(self.inside, 1))
        depth: NDArray[np.float64] = padded[1:-1, 1:-1]
        return depth


@dataclass(frozen=True, eq=False)
class Scene:
    """What measuring needs of a row: gray levels, regions, and what is known about scale and values."""

    gray: Gray
    rois: tuple[ROI, ...]
    spacing_mm: tuple[float, float] | None = None
    values: NDArray[np.float32] | None = None
    """HU, or None."""
    window: Window | None = None

    @classmethod
    def of(cls, sample: Sample) -> Scene:
        """Return the scene a decoded sample shows."""
        if sample.pixels is None:
            raise ValueError(f"{sample.id} has no pixels; describe samples after reading and before writing")
        values = sample.values if sample.values_unit == "HU" else None
        return cls(luminance(sample.pixels), sample.rois, sample.spacing_mm, values, sample.window)

    @cached_property
    def unit_px(self) -> float:
        """Pixels that look like one pixel of an image with the reference side; at least 1."""
        return max(1.0, float(min(self.gray.shape)) / REFERENCE_SIDE)

    def mask(self, index: int) -> Mask:
        """Return the crop of a region to its box; a box without a mask is full."""
        roi = self.rois[index]
        x0, y0, x1, y1 = roi.xyxy
        return np.ones((y1 - y0, x1 - x0), dtype=np.bool_) if roi.mask is None else roi.mask

    def area_px(self, index: int) -> int:
        """Return the number of pixels of a region: of its mask, else of its box."""
        roi = self.rois[index]
        return box_area_px(roi.xyxy) if roi.mask is None else int(np.count_nonzero(roi.mask))

    def share(self, index: int) -> Fraction:
        """Return the share of the image a region covers, above 0 to 1, exactly."""
        return Fraction(self.area_px(index), self.gray.size)

    def surroundings(self, index: int) -> Surroundings:
        """Return a region and its ring: the pixels up to a ring's width around it, a pixel of gap between.

        Other regions are taken off the ring, except larger ones with another label: the liver is what
        surrounds its tumor, while a second tumor is not.
        """
        radius = math.sqrt(self.area_px(index) / self.rois[index].count / math.pi)
        width = max(RING_MIN, min(RING_SHARE * radius, RING_MAX_SHARE * min(self.gray.shape)))
        pad = math.ceil(RING_GAP + width + FRAME * self.unit_px)
        frame = _grown(self.rois[index].xyxy, pad, self.gray.shape)
        inside = self.painted(index, frame)
        distance = ndimage.distance_transform_edt(~np.pad(inside, pad))  # also beyond the image's edge
        away = distance[pad:-pad, pad:-pad]
        whole = (distance > RING_GAP) & (distance <= RING_GAP + width)
        others = np.zeros_like(inside)
        for other in range(len(self.rois)):
            if self._interrupts(other, index):
                others |= self.painted(other, frame)
        others &= ~inside
        ring = whole[pad:-pad, pad:-pad] & ~others
        gray = self.gray[frame[1] : frame[3], frame[0] : frame[2]]
        left = np.count_nonzero(ring)
        enough = left >= max(LEAST_PX, RING_COMPLETE * np.count_nonzero(whole))
        return Surroundings(gray, inside, others, ring if enough else None, away, radius)

    def _interrupts(self, other: int, index: int) -> bool:
        """Say whether region `other` is taken off the ring of region `index`."""
        if other == index or self.rois[other].origin == "whole_image":
            return False
        same = self.rois[other].label == self.rois[index].label
        return same or self.area_px(other) <= self.area_px(index)

    def painted(self, index: int, frame: XYXY) -> Mask:
        """Return a region's pixels in a frame of the image."""
        out = np.zeros((frame[3] - frame[1], frame[2] - frame[0]), dtype=np.bool_)
        x0, y0, x1, y1 = self.rois[index].xyxy
        left, top, right, bottom = max(x0, frame[0]), max(y0, frame[1]), min(x1, frame[2]), min(y1, frame[3])
        if left < right and top < bottom:
            crop = self.mask(index)[top - y0 : bottom - y0, left - x0 : right - x0]
            out[top - frame[1] : bottom - frame[1], left - frame[0] : right - frame[0]] = crop
        return out


def _grown(xyxy: XYXY, by: int, shape: tuple[int, ...]) -> XYXY:
    """Return a box grown by `by` pixels on each side, cut at the image's edges."""
    x0, y0, x1, y1 = xyxy
    return max(0, x0 - by), max(0, y0 - by), min(shape[1], x1 + by), min(shape[0], y1 + by)
