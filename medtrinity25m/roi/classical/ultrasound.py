"""The acquisition area of an ultrasound image: the fan or rectangle that holds echoes, without the screen around it.

Echoes are speckle: nearly every pixel of a patch is above the screen's black, where letters and rulers leave half of
it black. Patches dense with signal that hang together, their dark inside filled and their outline made convex, are an
acquisition area; two views side by side are two.

Score: filled x sharp x convex x straight x gray, each 0 to 1. Filled is the root of the share of the area with signal;
sharp the share of its outline with the screen's black beyond it, where it is not the image's edge; convex area over
convex hull before the outline was made convex; straight the share of its sides, above the widest row, that lie on two
straight lines, as those of a fan and of a rectangle do and those of a body or an eye do not; gray the share of pixels
without color, which flow does not cover.

**Why** `sector` means `background` in the card: it is no anatomy, so it makes no region of its own. It is where a
measurement or another expert may look, and everything outside it (names, rulers, gray bars) is not the patient.
**Why** a file's own record goes first: DICOM says where its regions lie (0018,6011), as boxes at least; this is for
images without that record.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from medtrinity25m.roi.classical import regions
from medtrinity25m.roi.geometry import Mask
from medtrinity25m.roi.protocol import Finding, Query

SMALLEST_SIDE = 48  # pixels
WORK_SIDE = 320  # pixels: speckle and letters are still told apart
DARK = 64  # the screen's black is the commonest level below this
SIGNAL = 3  # levels above black; compression leaves 1 or 2 beside letters
PATCH = 0.035  # of the shorter side: wider than a letter's stroke, narrower than the smallest area
DENSE = 0.6  # share of a patch with signal: speckle has more, text less
THINNEST = 0.06  # of the shorter side: gray bars and lines of text are thinner
MOST_SHARE = 0.95  # of the image: nothing is left to tell apart
COLORLESS = 24  # levels between the channels: some gray maps are tinted
NEAR_LINE = 1.5  # pixels of the smaller copy
SAME_COLUMNS = 0.7  # of two patches, shared over all: a fluid-filled depth between them, not a bar of buttons
LEAST_SHARE = 0.04  # of the image


def ultrasound_sector(query: Query) -> list[Finding]:
    """Return a finding (label `sector`) for each acquisition area, none where there is none."""
    pixels = query.pixels
    gray = pixels.max(axis=2) if pixels.ndim == 3 else pixels
    height, width = gray.shape
    if min(height, width) < SMALLEST_SIDE:
        return []
    factor = max(1, min(height, width) // WORK_SIDE)
    signal = regions.shrunk(_speckle(gray), factor) > 0.5
    found = []
    for area in _areas(signal):
        hull = _convex(area)
        if np.count_nonzero(hull) > MOST_SHARE * hull.size:
            continue
        mask = regions.enlarged(hull, factor, (height, width)) >= 0.5
        score = _score(area, hull, signal) * _gray(pixels[mask])
        found.append(Finding(label="sector", mask=mask, score=score))
    return found


def _gray(colors: NDArray[np.uint8]) -> float:
    """Return the share of (N, 3) or (N,) pixels without color."""
    if colors.ndim == 1:
        return 1.0
    spread = colors.max(axis=1).astype(np.int16) - colors.min(axis=1)
    return float(np.mean(spread <= COLORLESS))


def _speckle(gray: NDArray[np.uint8]) -> Mask:
    """Return the pixels above the screen's black that differ from a neighbor; a flat panel has few of them."""
    counts = np.bincount(gray.ravel(), minlength=256)
    level = gray.astype(np.int16)
    down, right = (
        np.diff(level, axis=0, append=level[-1:] - 1) != 0,
        np.diff(level, axis=1, append=level[:, -1:] - 1) != 0,
    )
    return np.asarray((level >= counts[:DARK].argmax() + SIGNAL) & (down | right))


def _areas(signal: Mask) -> list[Mask]:
    """Return the dense patches that hang together; patches above each other are one area with a dark depth between."""
    side = min(signal.shape)
    dense = ndimage.uniform_filter(signal.astype(np.float32), max(3, round(PATCH * side))) > DENSE
    solid = regions.opened(regions.filled(regions.closed(dense, PATCH * side)), THINNEST * side / 2)
    labels, _ = regions.numbered(solid)
    sizes = regions.areas(labels)
    areas: list[Mask] = []
    for number in np.argsort(-sizes)[: np.count_nonzero(sizes >= LEAST_SHARE / 4 * signal.size)]:
        patch = labels == number
        above = [at for at, area in enumerate(areas) if _overlap(area, patch) > SAME_COLUMNS]
        if above:
            areas[above[0]] = areas[above[0]] | patch
        else:
            areas.append(patch)
    return [area for area in areas if np.count_nonzero(area) >= LEAST_SHARE * signal.size]


def _overlap(area: Mask, patch: Mask) -> float:
    """Return the columns that an area and a patch share over those of either."""
    one, other = area.any(axis=0), patch.any(axis=0)
    return float(np.count_nonzero(one & other) / np.count_nonzero(one | other))


def _convex(area: Mask) -> Mask:
    from skimage.morphology import convex_hull_image

    return np.asarray(convex_hull_image(area))  # type: ignore[no-untyped-call]


def _score(area: Mask, hull: Mask, signal: Mask) -> float:
    outline = regions.outline(hull)
    quiet = ndimage.uniform_filter(signal.astype(np.float32), 3) < 0.5
    sharp = outline & regions.dilate(regions.ring(hull, 2, 6) & quiet, 5)
    return float(
        np.sqrt(regions.share(signal, hull)) * regions.share(sharp, outline) * regions.solidity(area) * _straight(hull)
    )


def _straight(hull: Mask) -> float:
    """Return the share of the rows, from the top to the widest, with ends on two straight lines; or of the columns.

    An end at the image's edge lies on no line: the edge is straight, whatever it cuts.
    """
    return max(_straight_sides(hull), _straight_sides(hull.T))


def _straight_sides(hull: Mask) -> float:
    rows = np.flatnonzero(hull.any(axis=1))
    left = hull[rows].argmax(axis=1)
    right = hull.shape[1] - 1 - hull[rows, ::-1].argmax(axis=1)
    width = right - left
    last = int(np.flatnonzero(width >= 0.97 * width.max())[-1]) + 1
    if last < 8:
        return 0.0
    inside = [left[:last] > 0, right[:last] < hull.shape[1] - 1]
    return min(_on_line(ends[:last], free) for ends, free in zip((left, right), inside, strict=True))


def _on_line(ends: NDArray[np.intp], free: Mask) -> float:
    """Return the share of points that are free and that the best line through two of them comes within a pixel of."""
    at = np.arange(ends.size, dtype=np.float64)
    picked = np.linspace(0, ends.size - 1, 12).astype(np.intp)
    first, second = (grid.ravel() for grid in np.meshgrid(picked, picked))
    first, second = first[first < second], second[first < second]
    slope = (ends[second] - ends[first]) / (second - first)
    away = np.abs(ends[first, None] + slope[:, None] * (at - first[:, None]) - ends)
    return float(((away <= NEAR_LINE) & free).mean(axis=1).max())
