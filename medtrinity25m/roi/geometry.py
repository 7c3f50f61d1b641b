"""Boxes, connected components, position words and sizes: the arithmetic of a region of interest.

Frames and units are those of `medtrinity25m.triplet`: boxes are integer half-open `xyxy` with x to the right
and y down, masks are (H, W) bool, `spacing_mm` is (row, column).

**Why** components are 4-connected: it is the default of `scipy.ndimage.label`, so anybody can count them
again, and two lesions that meet at the corner of one pixel stay two.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from medtrinity25m.errors import RefusedError
from medtrinity25m.triplet import XYXY

Mask = NDArray[np.bool_]

HORIZONTAL = ("left", "left-center", "center", "right-center", "right")
VERTICAL = ("upper", "upper-middle", "middle", "lower-middle", "lower")
_BINS = 5  # five equal bins a side fit the boxes and words of the published captions (arXiv 2408.02900)
_BOX_DECIMALS = 3  # thousandths of a pixel: a fraction times a size returns 29.999999999999996 for 30


class Piece(NamedTuple):
    """A region cut out of its image: tightest half-open box, and the (y1 - y0, x1 - x0) bool crop to it."""

    xyxy: XYXY
    mask: Mask

    @property
    def area_px(self) -> int:
        """Number of pixels in the region."""
        return int(np.count_nonzero(self.mask))


def tight_box(mask: Mask) -> XYXY | None:
    """Return the smallest half-open box around the true pixels of an (H, W) mask, None when it has none."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not rows.size:
        return None
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def cut(mask: Mask) -> Piece | None:
    """Return all true pixels of an (H, W) mask as one piece, or None when there are none."""
    box = tight_box(mask)
    return None if box is None else Piece(box, mask[box[1] : box[3], box[0] : box[2]].copy())


def components(mask: Mask) -> list[Piece]:
    """Return the 4-connected components of an (H, W) mask, in the order of `scipy.ndimage.label`."""
    labels, _ = ndimage.label(mask)
    return _pieces(labels)


def instances(labels: NDArray[np.integer]) -> list[Piece]:
    """Return one piece for every non-zero value of an (H, W) label map, by increasing value.

    An instance stays one piece where another instance, or a fold of the tissue, cuts it in two.
    """
    values, compact = np.unique(labels, return_inverse=True)
    # values may be 24-bit colours; find_objects allocates one slot up to the largest, so number them anew
    numbers = np.where(values == 0, 0, np.cumsum(values != 0))
    return _pieces(numbers[compact].reshape(labels.shape))


def _pieces(labels: NDArray[np.integer]) -> list[Piece]:
    """Cut a map of labels 1…n into pieces."""
    found = []
    for number, place in enumerate(ndimage.find_objects(labels), start=1):
        rows, columns = place
        box = (columns.start, rows.start, columns.stop, rows.stop)
        found.append(Piece(box, labels[place] == number))
    return found


def clip(box: tuple[float, float, float, float], height: int, width: int) -> XYXY:
    """Return the whole pixels of an image that a float box (x0, y0, x1, y1) touches.

    Corners are rounded to a thousandth of a pixel, then x0 and y0 go down to the next integer and x1 and y1
    up, then the box is cut at the image's edges. Raises `RefusedError` `roi.empty_box` when nothing of it
    lies inside, when it is turned inside out or thinner than a thousandth of a pixel, or when a corner is not
    finite.
    """
    x0, y0, x1, y1 = (round(side, _BOX_DECIMALS) for side in box)
    if not all(math.isfinite(side) for side in box):
        raise RefusedError("roi.empty_box", f"box {box} has a corner that is not a number; correct it")
    if x0 >= x1 or y0 >= y1:
        raise RefusedError("roi.empty_box", f"box {box} (x0, y0, x1, y1) has no area; correct the annotation")
    left, top = max(0, math.floor(x0)), max(0, math.floor(y0))
    right, bottom = min(width, math.ceil(x1)), min(height, math.ceil(y1))
    if left >= right or top >= bottom:
        raise RefusedError(
            "roi.empty_box",
            f"box {box} (x0, y0, x1, y1) lies outside the {width} x {height} pixels of its image; "
            "check the annotation's unit and which image it belongs to",
        )
    return left, top, right, bottom


def box_area_px(xyxy: XYXY) -> int:
    """Return the number of pixels in a box."""
    x0, y0, x1, y1 = xyxy
    return (x1 - x0) * (y1 - y0)


def area_fraction(area_px: int, height: int, width: int) -> float:
    """Return the share of an image of `height` x `width` pixels that `area_px` pixels are, above 0 to 1."""
    return area_px / (height * width)


def bins(xyxy: XYXY, height: int, width: int) -> tuple[int, int]:
    """Return (horizontal, vertical) bin of a box's center, 0 to 4 from the left and from the top.

    Five equal bins a side, cut at 0.2, 0.4, 0.6 and 0.8; a center exactly on a cut belongs to the higher bin.
    Integers throughout, so that no rounding moves a center off its cut.
    """
    x0, y0, x1, y1 = xyxy
    return (x0 + x1) * _BINS // (2 * width), (y0 + y1) * _BINS // (2 * height)


def position(xyxy: XYXY, height: int, width: int) -> str:
    """Return where a box's center lies as `<horizontal>, <vertical>`, in image coordinates."""
    horizontal, vertical = bins(xyxy, height, width)
    return f"{HORIZONTAL[horizontal]}, {VERTICAL[vertical]}"


def size_mm(xyxy: XYXY, spacing_mm: tuple[float, float] | None) -> tuple[float, float] | None:
    """Return (width, height) of a box in millimeters, or None when `spacing_mm` (row, column) is unknown."""
    if spacing_mm is None:
        return None
    x0, y0, x1, y1 = xyxy
    # a nanometer: far below any spacing, far above what floating point adds
    return round((x1 - x0) * spacing_mm[1], 6), round((y1 - y0) * spacing_mm[0], 6)
