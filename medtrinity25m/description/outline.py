"""What the outline of a region tells: its shape, and how sharply the picture changes across it.

The words are those of the ACR BI-RADS lexicon for masses (shape: round, oval, irregular), whose mammography
and ultrasound chapters are the commonest reference for describing a region's outline. Frames and units as in
`medtrinity25m.description.scene`.

**Why** an ellipse and a hull, and not a circularity 4 pi A / P^2: the perimeter of a drawn outline on a pixel
grid depends on how it was drawn, areas hardly do.
"""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from medtrinity25m.description.appearance import VISIBLE_STEP, brightness, noise
from medtrinity25m.description.scene import Surroundings
from medtrinity25m.roi.geometry import Mask

Shape = Literal["round", "oval", "irregular"]
Margin = Literal["sharp", "ill-defined"]

LEAST_SHAPE_PX = 100
"""Pixels for a shape: a disc of 11 pixels across. Below, the steps of the pixel grid are a tenth of the size
and a drawn disc can miss the words for it."""

ROUND_FROM, OVAL_TO, OVAL_FROM = 0.85, 0.75, 0.33
"""Short over long axis. A disc drawn one pixel too wide on each side at a radius of 12 has 0.85, so that is
still round; at 3 : 4 elongation is plain; beyond 1 : 3 people say elongated or linear, which is no word of
the three."""

ELLIPTIC = 0.88
"""Overlap (intersection over union) with the ellipse of the same moments, from which on a region is round or
oval. A disc or ellipse on the pixel grid reaches 0.95 from 100 pixels on, a square 0.83."""

IRREGULAR_SOLIDITY, IRREGULAR_OVERLAP = 0.85, 0.80
"""Area over convex hull, and overlap with the ellipse, below both of which a region is irregular: neither
round nor oval, as the lexicon says, and with dents. Angular regions have a hull of 1.0, ellipses on the pixel
grid 0.87 or more; a five-pointed star has 0.67."""

LEAST_MARGIN_RADIUS = 6.0
"""Radius in units for a margin: the profile reaches 4 inwards, the level of the inside lies beyond."""

PROFILE_REACH = 4
"""Units the profile across an outline reaches to each side: drawn outlines stray by up to three."""

ARC = 8
"""Units of outline that share one profile. Eight pixels bring noise down to a third; drawn outlines stray in
bends longer than that, so an edge is not smeared as it would be in a profile around the whole region."""

SHARP_TO, ILL_DEFINED_FROM = 4.0, 7.0
"""Width of an edge, contrast over steepest slope, in units, smoothing with sigma 1 included: a step measures
2.5, a step through a scanner's point spread of 2 pixels FWHM 3.2. 7 is an edge blurred by sigma 3, whose 10
to 90 % rise takes nearly eight pixels: the eye finds no line in it. Loose outlines of sharp tumors reach
5.3."""

LEAST_CONTRAST, LEAST_CONTRAST_TO_NOISE = 3 * VISIBLE_STEP, 5.0
"""Between inside and outside for a margin: gray levels, and multiples of the ring's grain (Rose's criterion).
A twelfth of the grain is left in a profile's slopes: 2 % of such a contrast; an ill-defined edge has 14 %."""

MOST_HOLE = 0.05  # of the filled area: a larger hole is seen as one, and its region is a ring, not a disc


def shape(mask: Mask, spacing_mm: tuple[float, float] | None) -> Shape | None:
    """Judge the shape of a region from its crop, small holes filled, in millimeters where spacing is known.

    Round and oval: close to its ellipse. Irregular: far from it and with dents. None for the rest (angular,
    elongated, ring-shaped, between two words) and for small ones.
    """
    filled: Mask = ndimage.binary_fill_holes(mask)
    area = np.count_nonzero(filled)
    if area < LEAST_SHAPE_PX or area - np.count_nonzero(mask) > MOST_HOLE * area:
        return None
    ratio, overlap = _ellipse(filled, spacing_mm or (1.0, 1.0))
    if overlap < IRREGULAR_OVERLAP and solidity(filled) < IRREGULAR_SOLIDITY:
        return "irregular"
    if overlap < ELLIPTIC:
        return None
    if ratio >= ROUND_FROM:
        return "round"
    return "oval" if OVAL_FROM <= ratio <= OVAL_TO else None


def _ellipse(mask: Mask, spacing: tuple[float, float]) -> tuple[float, float]:
    """Return short over long axis, and overlap with the ellipse of equal second moments."""
    rows, columns = (axis.astype(np.float64) for axis in np.nonzero(mask))
    points = np.stack([rows * spacing[0], columns * spacing[1]])
    center = points.mean(axis=1)
    # a pixel is a square, not a point: it adds the variance of a uniform side, 1/12, to each axis
    covariance = np.cov(points, bias=True) + np.diag([spacing[0] ** 2 / 12, spacing[1] ** 2 / 12])
    short, long = np.sqrt(np.linalg.eigvalsh(covariance))
    offset = points - center[:, None]
    squares = np.einsum("in,ij,jn->n", offset, np.linalg.inv(covariance), offset)
    both = np.count_nonzero(squares <= 4.0)  # semi-axes of 2 sigma
    ellipse = 4 * math.pi * short * long / (spacing[0] * spacing[1])
    return float(short / long), float(both / (rows.size + ellipse - both))


def solidity(mask: Mask) -> float:
    """Return a region's area over the area of the convex hull of its pixels' corners, above 0 to 1."""
    from scipy.spatial import ConvexHull  # costs 0.1 s, needed for odd shapes only

    rows, columns = np.nonzero(mask)
    corners = np.concatenate([np.stack([rows + y, columns + x], 1) for y in (0, 1) for x in (0, 1)])
    return float(rows.size / ConvexHull(np.unique(corners, axis=0)).volume)


def margin(view: Surroundings, unit_px: float) -> Margin | None:
    """Judge how sharply gray levels change across a region's outline.

    For each arc of the outline the levels are averaged along it, which gives a profile across; the contrast
    of the region over the median of the profiles' steepest slopes is the width of its edge. None where the
    region is small, does not stand out from its ring, or has an edge between the two words.
    """
    if view.ring is None or view.radius < LEAST_MARGIN_RADIUS * unit_px:
        return None
    if brightness(view) in (None, "equal"):
        return None
    core, far = view.depth > view.radius / 3, view.ring & (view.away > np.median(view.away[view.ring]))
    if not core.any() or not far.any():
        return None
    contrast = float(view.gray[core].mean() - view.gray[far].mean())
    grain = noise(view.gray, view.ring, unit_px)
    if abs(contrast) < max(LEAST_CONTRAST, LEAST_CONTRAST_TO_NOISE * grain):
        return None
    outwards = np.where(view.inside, 0.5 - view.depth, view.away - 0.5) / unit_px
    slope = _steepest(view, outwards, math.copysign(1.0, contrast))
    if slope is None:
        return None
    width = abs(contrast) / slope if slope > 0 else math.inf
    if width <= SHARP_TO:
        return "sharp"
    return "ill-defined" if width >= ILL_DEFINED_FROM else None


def _steepest(view: Surroundings, outwards: NDArray[np.float64], sign: float) -> float | None:
    """Return the median over the arcs of an outline of the steepest rise (`sign` 1) or fall (-1) inwards.

    `outwards` is the distance of each pixel from the outline in units, negative inside. The slope is in gray
    levels a unit, after a Gaussian of one unit; None where most arcs are cut off by the image's edge or by
    other regions.
    """
    near = (outwards >= -PROFILE_REACH) & (outwards < PROFILE_REACH)
    rows, columns = np.nonzero(near & ~view.others)
    center = [float(axis.mean()) for axis in np.nonzero(view.inside)]
    turn = np.arctan2(rows - center[0], columns - center[1]) / (2 * math.pi) % 1.0
    length = np.count_nonzero(np.floor(outwards) == -1)
    arcs = max(ARC, round(length / ARC))
    cell = np.minimum(np.floor(turn * arcs).astype(np.intp), arcs - 1) * 2 * PROFILE_REACH
    cell += np.floor(outwards[rows, columns]).astype(np.intp) + PROFILE_REACH
    size = arcs * 2 * PROFILE_REACH
    held = np.bincount(cell, minlength=size).reshape(arcs, -1)
    total = np.bincount(cell, view.gray[rows, columns], minlength=size).reshape(arcs, -1)
    full = held.all(axis=1)
    if np.count_nonzero(full) < arcs / 2:
        return None
    profiles = ndimage.gaussian_filter1d(total[full] / held[full], 1.0, axis=1, mode="nearest")
    return float(np.median((-sign * np.diff(profiles, axis=1)).max(axis=1)))
