"""The round field of a fundus photograph: where the retina is, how wide it is, and whether it looks like one.

**Why** the field must be round: its diameter is the only scale that a photograph without a scale has. On a crop out of
the middle of a retina a vessel may have any width, so there nobody is asked to tell a disc from a spot.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from medtrinity25m.roi.classical import regions
from medtrinity25m.roi.classical.regions import Plane
from medtrinity25m.roi.geometry import Mask

SMALLEST_SIDE = 128  # pixels; below, vessels are thinner than one
SEARCH_SIDE = 256  # pixels of the longer side, for finding the field
DARKEST = 0.15  # of the brightest level: the frame around the field is below it
LEAST_SHARE = 0.15  # of the image that the field covers
CORNER = 0.02  # of the box; a field cut above and below, as many cameras do, still leaves more
LEAST_REDDISH = 0.5  # share of the field


@dataclass(frozen=True)
class Retina:
    """A fundus photograph at working size.

    Args:
        image: (H, W, 3) float32, 0 to 255.
        field: (H, W), where the retina is.
        diameter: of the field's circle, in pixels of `image`, whether or not the frame cuts it.
        likeness: share of the field whose red is brightest and blue darkest, as of retina, times roundness: 1 where two
            or more corners of the field's box are empty, a half for one, 0 for none.
        size: (height, width) of the picture.
    """

    image: Plane
    field: Mask
    diameter: float
    likeness: float
    size: tuple[int, int]

    def full(self, mask: Mask) -> Mask:
        """Return a mask of working size at the picture's size, its outline interpolated."""
        if mask.shape == self.size:
            return mask
        soft = Image.fromarray(mask.astype(np.float32)).resize(self.size[::-1], Image.Resampling.BILINEAR)
        return np.asarray(np.asarray(soft) >= 0.5)


def find_retina(pixels: NDArray[np.uint8], work_diameter: int) -> Retina | None:
    """Return the retina of a picture at most `work_diameter` pixels across, None where there is none."""
    if pixels.ndim != 3 or min(pixels.shape[:2]) < SMALLEST_SIDE:
        return None
    height, width = pixels.shape[:2]
    coarse = _resized(pixels, min(1.0, SEARCH_SIDE / max(height, width)))
    field = _field(coarse)
    if field is None:
        return None
    red, green, blue = (coarse[..., channel][field] for channel in range(3))
    reddish = float(np.mean((red > 1.15 * green) & (green >= blue)))
    if reddish < LEAST_REDDISH:
        return None
    rows, columns = np.flatnonzero(field.any(axis=1)), np.flatnonzero(field.any(axis=0))
    across = (max(np.ptp(rows), np.ptp(columns)) + 1) * height / coarse.shape[0]
    image = _resized(pixels, min(1.0, work_diameter / across))
    own = _field(image)
    if own is None:
        return None
    likeness = reddish * min(1.0, _empty_corners(own) / 2)
    return Retina(image, own, across * image.shape[0] / height, likeness, (height, width))


def _empty_corners(field: Mask) -> int:
    """Return how many corners of its bounding box a field leaves empty."""
    rows, columns = np.flatnonzero(field.any(axis=1)), np.flatnonzero(field.any(axis=0))
    box = field[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    side = max(1, round(CORNER * min(box.shape)))
    corners = [box[:side, :side], box[:side, -side:], box[-side:, :side], box[-side:, -side:]]
    return sum(not corner.any() for corner in corners)


def _resized(pixels: NDArray[np.uint8], scale: float) -> Plane:
    """Return the means of the pixels that each pixel of a copy `scale` times as large covers."""
    size = [max(1, round(side * scale)) for side in pixels.shape[1::-1]]
    copy = Image.fromarray(pixels).resize((size[0], size[1]), Image.Resampling.BOX)
    return np.asarray(copy, np.float32)


def _field(image: Plane) -> Mask | None:
    bright = ndimage.gaussian_filter(image.max(axis=2), 1)
    inside = bright > max(DARKEST * float(np.percentile(bright, 95)), 8)
    field = regions.largest(regions.opened(regions.filled(inside), 0.02 * min(bright.shape)))
    return regions.filled(field) if np.count_nonzero(field) >= LEAST_SHARE * field.size else None


def flattened(plane: Plane, field: Mask, sigma: float) -> Plane:
    """Return a plane without its slow changes: minus its weighted mean over `sigma` pixels within the field."""
    weight = regions.blurred(field, sigma)
    mean = regions.blurred(np.where(field, plane, 0), sigma) / np.maximum(weight, 1e-3)
    return np.asarray(np.where(field, plane - mean, 0), np.float32)
