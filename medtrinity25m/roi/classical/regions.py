"""Masks and label maps: the few operations the classical methods share.

Masks are (H, W) bool, label maps (H, W) int32 with 0 for background. Radii are in pixels.

**Why** morphology is done on distances: `scipy.ndimage` erodes with a structuring element whose cost grows with
its area; a distance transform costs the same for every radius. It also leaves a structure alone where the image
ends, so that a lung cut by the field of view keeps its straight side.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import ConvexHull

from medtrinity25m.roi.geometry import Mask

Labels = NDArray[np.int32]
Plane = NDArray[np.float32]


def dilate(mask: Mask, radius: float) -> Mask:
    """Return every pixel at most `radius` away from the mask."""
    if not mask.any():
        return mask.copy()
    return np.asarray(ndimage.distance_transform_edt(~mask) <= radius)


def erode(mask: Mask, radius: float) -> Mask:
    """Return every pixel of the mask more than `radius` away from a pixel outside it."""
    if mask.all():
        return mask.copy()
    return np.asarray(ndimage.distance_transform_edt(mask) > radius)


def opened(mask: Mask, radius: float) -> Mask:
    """Return the mask without what is thinner than twice `radius`."""
    return dilate(erode(mask, radius), radius)


def closed(mask: Mask, radius: float) -> Mask:
    """Return the mask with gaps and bays thinner than twice `radius` filled."""
    return erode(dilate(mask, radius), radius)


def share(part: Mask, whole: Mask) -> float:
    """Return how much of `whole` lies in `part`, 0 to 1; 0 where there is no whole."""
    return int(np.count_nonzero(part & whole)) / max(int(np.count_nonzero(whole)), 1)


def otsu(values: NDArray[np.floating]) -> float:
    """Return Otsu's threshold between two groups of values."""
    from skimage.filters import threshold_otsu

    return float(threshold_otsu(values))  # type: ignore[no-untyped-call]


def filled(mask: Mask) -> Mask:
    """Return the mask with its holes filled."""
    return np.asarray(ndimage.binary_fill_holes(mask))


def numbered(mask: Mask) -> tuple[Labels, int]:
    """Return the 4-connected components of a mask as a label map, and how many there are."""
    labels, count = ndimage.label(mask, output=np.int32)
    return labels, int(count)


def areas(labels: Labels) -> NDArray[np.intp]:
    """Return the number of pixels of each label, label 0 counted as 0."""
    counts = np.bincount(labels.ravel())
    counts[0] = 0
    return counts


def largest(mask: Mask) -> Mask:
    """Return the largest 4-connected component, an empty mask where there is none."""
    labels, count = numbered(mask)
    return labels == areas(labels).argmax() if count else mask.copy()


def kept(labels: Labels, keep: NDArray[np.bool_]) -> Labels:
    """Return the labels for which `keep[label]` is true, numbered anew from 1."""
    keep = keep.copy()
    keep[0] = False
    return np.where(keep, np.cumsum(keep), 0).astype(np.int32)[labels]


def ring(mask: Mask, near: float, far: float) -> Mask:
    """Return the pixels outside the mask between `near` (exclusive) and `far` pixels away from it."""
    distance = ndimage.distance_transform_edt(~mask)
    return np.asarray((distance > near) & (distance <= far)) if mask.any() else np.zeros_like(mask)


def outline(mask: Mask) -> Mask:
    """Return the pixels of the mask that touch a pixel outside it; the image's edge is not outside."""
    return mask & ~erode(mask, 1)


def border(shape: tuple[int, ...]) -> Mask:
    """Return the outermost pixels of an image."""
    edge = np.ones(shape, dtype=np.bool_)
    edge[1:-1, 1:-1] = False
    return edge


def roundness(mask: Mask) -> float:
    """Return the share of the mask's equal-area ellipse with its own second moments that it covers, 0 to 1.

    1 for a filled ellipse of any length and turn, 0.95 for a square, low for crescents, rings and branches.
    """
    rows, columns = np.nonzero(mask)
    if rows.size < 3:
        return 0.0
    points = np.stack([rows, columns]).astype(np.float64)
    offset = points - points.mean(axis=1, keepdims=True)
    spread = offset @ offset.T / rows.size + np.eye(2) / 12  # a pixel is a square of variance 1/12
    inside = np.einsum("in,ij,jn->n", offset, np.linalg.inv(spread), offset) <= 4
    return float(np.count_nonzero(inside) / rows.size)


def solidity(mask: Mask) -> float:
    """Return the mask's area over that of its convex hull, 0 to 1; the mask must not be empty."""
    rows = np.flatnonzero(mask.any(axis=1))
    lefts = mask[rows].argmax(axis=1)
    rights = mask.shape[1] - mask[rows, ::-1].argmax(axis=1)
    corners = [
        (row + down, column)
        for row, *ends in zip(rows, lefts, rights, strict=True)
        for column in ends
        for down in (0, 1)
    ]
    return float(np.count_nonzero(mask) / ConvexHull(corners).volume)


def shrunk(plane: NDArray[np.generic], factor: int) -> Plane:
    """Return the means of blocks of `factor` x `factor` pixels; (H, W) or (H, W, C), edges repeated."""
    image = plane.astype(np.float32)
    if factor == 1:
        return image
    pad = [(0, -size % factor) for size in image.shape[:2]] + [(0, 0)] * (image.ndim - 2)
    image = np.pad(image, pad, mode="edge")
    height, width = image.shape[0] // factor, image.shape[1] // factor
    blocks = image.reshape(height, factor, width, factor, *image.shape[2:])
    return np.asarray(blocks.mean(axis=(1, 3)), np.float32)


def enlarged(plane: NDArray[np.generic], factor: int, shape: tuple[int, int]) -> Plane:
    """Return a plane shrunk by `factor` at its old (height, width), values interpolated linearly."""
    if factor == 1:
        return plane.astype(np.float32)
    rows = (np.arange(shape[0]) + 0.5) / factor - 0.5
    columns = (np.arange(shape[1]) + 0.5) / factor - 0.5
    across = _interpolated(plane.astype(np.float32), rows)
    return _interpolated(across.T, columns).T


def _interpolated(plane: Plane, at: NDArray[np.float64]) -> Plane:
    """Return rows of a plane at fractional positions, linear between neighbors."""
    at = np.clip(at, 0, plane.shape[0] - 1)
    low = np.floor(at).astype(np.intp)
    high = np.minimum(low + 1, plane.shape[0] - 1)
    share = (at - low).astype(np.float32)[:, None]
    return np.asarray(plane[low] * (1 - share) + plane[high] * share, np.float32)


def blurred(plane: NDArray[np.generic], sigma: float) -> Plane:
    """Return a plane after a Gaussian of `sigma` pixels; a wide one is taken on a smaller copy, which costs less."""
    image = plane.astype(np.float32)
    factor = max(1, int(sigma // 8))
    soft = ndimage.gaussian_filter(shrunk(image, factor), sigma / factor)
    return enlarged(soft, factor, (image.shape[0], image.shape[1]))
