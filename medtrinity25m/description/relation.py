"""How regions lie to one another, and to the two halves of the image.

Frames and units as in `medtrinity25m.description.scene`; directions are those of the image (left is the left
edge of the picture), never the patient's. The *gap* of two regions is the distance between their nearest
pixels as areas: 0 where they touch, even at a corner; one empty pixel between them is a gap of one pixel.

**Why** the gap is measured between the edges of pixels and not between their centers: two neighbors would be
one pixel apart, and a caliper laid between them on the screen reads nothing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from medtrinity25m.description.scene import Scene
from medtrinity25m.roi.geometry import Mask
from medtrinity25m.triplet import XYXY

Contact = Literal["same", "inside", "around", "overlapping", "touching", "apart"]
Half = Literal["left", "right", "both"]

_DIAGONAL = math.tan(math.radians(67.5))
"""Eight directions of 45 degrees each: a slope beyond this is straight up, down, left or right."""

_DECIMALS = 6
"""Of a gap in pixels or millimeters: equal gaps must stay equal, and scaling coordinates leaves noise below 1e-9."""

_WORDS = {(-1, 0): "left", (1, 0): "right", (0, -1): "above", (0, 1): "below"}


@dataclass(frozen=True)
class PairFacts:
    """How region `first` lies to region `second`.

    Args:
        contact: `inside` and `around` say that one lies within the other, holes of the outer one filled.
        gap_px: between their edges; 0 unless apart.
        gap_mm: the same, where spacing is known.
        direction: from the center of the second's box to the first's: `left`, `above`, `below left`, …; None
            where the centers coincide.
    """

    first: int
    second: int
    contact: Contact
    gap_px: float
    gap_mm: float | None
    direction: str | None


@dataclass(frozen=True)
class HalfFacts:
    """On which side of the image's vertical midline a region lies.

    Args:
        half: `both` where it crosses.
        gap_px: from the region to the midline, 0 where it reaches or crosses it.
        gap_mm: the same, where spacing is known.
        left_share: share of the region's area left of the midline, 0 to 1.
    """

    half: Half
    gap_px: float
    gap_mm: float | None
    left_share: Fraction


def halves(scene: Scene, index: int) -> HalfFacts:
    """Return where a region lies to the vertical midline of the image."""
    x0, _, x1, _ = scene.rois[index].xyxy
    middle = scene.gray.shape[1] / 2
    gap = max(0.0, x0 - middle, middle - x1)
    half: Half = "left" if x1 <= middle else "right" if x0 >= middle else "both"
    columns = scene.mask(index).sum(axis=0)
    # half columns left of the midline, 0 to 2 of each: on odd widths the midline runs through a column
    left = np.clip(scene.gray.shape[1] - 2 * np.arange(x0, x1), 0, 2)
    share = Fraction(int((columns * left).sum()), 2 * int(columns.sum()))
    return HalfFacts(half, gap, None if scene.spacing_mm is None else gap * scene.spacing_mm[1], share)


def box_gap(scene: Scene, first: int, second: int) -> float:
    """Return the gap between the boxes of two regions, never more than the gap between the regions.

    In millimeters where spacing is known, else in pixels.
    """
    one, other = scene.rois[first].xyxy, scene.rois[second].xyxy
    down, across = scene.spacing_mm or (1.0, 1.0)
    horizontal = max(0, one[0] - other[2], other[0] - one[2]) * across
    return round(math.hypot(horizontal, max(0, one[1] - other[3], other[1] - one[3]) * down), _DECIMALS)


def pair(scene: Scene, first: int, second: int) -> PairFacts:
    """Return how one region lies to another."""
    contact = _contact(scene, first, second)
    gap_px, gap_mm = 0.0, None if scene.spacing_mm is None else 0.0
    if contact == "apart":
        gap_px = _gap(scene, first, second, (1.0, 1.0))
        if scene.spacing_mm is not None:
            gap_mm = _gap(scene, first, second, scene.spacing_mm)
    return PairFacts(first, second, contact, gap_px, gap_mm, _direction(scene, first, second))


def _contact(scene: Scene, first: int, second: int) -> Contact:
    """Return the closest way in which two regions meet."""
    if box_gap(scene, first, second) > 0:
        return "apart"
    frame = _shared(scene.rois[first].xyxy, scene.rois[second].xyxy)
    ours, theirs = scene.painted(first, frame), scene.painted(second, frame)
    if not np.count_nonzero(ndimage.binary_dilation(ours, np.ones((3, 3))) & theirs):
        return "apart"
    if np.array_equal(ours, theirs):
        return "same"
    if np.all(_filled(theirs)[ours]):
        return "inside"
    if np.all(_filled(ours)[theirs]):
        return "around"
    return "overlapping" if np.count_nonzero(ours & theirs) else "touching"


def _filled(mask: Mask) -> Mask:
    """Return a mask with its holes filled."""
    filled: Mask = ndimage.binary_fill_holes(mask)
    return filled


def _shared(one: XYXY, other: XYXY) -> XYXY:
    """Return the box around two boxes."""
    return min(one[0], other[0]), min(one[1], other[1]), max(one[2], other[2]), max(one[3], other[3])


def _gap(scene: Scene, first: int, second: int, scale: tuple[float, float]) -> float:
    """Return the distance between the edges of two regions that do not touch, in the units of `scale`.

    The unit squares around two pixels are as far apart as one pixel is from the nearest of the nine around
    the other, so growing one region by a pixel turns the question into one about centers.
    """
    from scipy.spatial import KDTree  # costs 0.1 s, needed from the second region on

    ours = _border(scene, first, grow=True) * scale
    theirs = _border(scene, second, grow=False) * scale
    distances, _ = KDTree(ours).query(theirs)
    return round(float(np.min(distances)), _DECIMALS)


def _border(scene: Scene, index: int, *, grow: bool) -> NDArray[np.float64]:
    """Return the (n, 2) rows and columns of a region's border pixels, of the grown region when asked."""
    x0, y0, _, _ = scene.rois[index].xyxy
    mask = np.pad(scene.mask(index), 1)
    if grow:
        mask = ndimage.binary_dilation(mask, np.ones((3, 3)))
    rim = mask & ~ndimage.binary_erosion(mask)
    places: NDArray[np.float64] = np.argwhere(rim) + np.array([y0 - 1.0, x0 - 1.0])
    return places


def _direction(scene: Scene, first: int, second: int) -> str | None:
    """Return where the first box's center lies from the second's, in one of eight directions."""
    spacing = scene.spacing_mm or (1.0, 1.0)
    ours, theirs = scene.rois[first].xyxy, scene.rois[second].xyxy
    across = (ours[0] + ours[2] - theirs[0] - theirs[2]) * spacing[1]
    down = (ours[1] + ours[3] - theirs[1] - theirs[3]) * spacing[0]
    if across == 0 and down == 0:
        return None
    horizontal = 0 if abs(down) > _DIAGONAL * abs(across) else int(math.copysign(1, across))
    vertical = 0 if abs(across) > _DIAGONAL * abs(down) else int(math.copysign(1, down))
    words = [_WORDS[0, vertical]] if vertical else []
    return " ".join([*words, *([_WORDS[horizontal, 0]] if horizontal else [])])
