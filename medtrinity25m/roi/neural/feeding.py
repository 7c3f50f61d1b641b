"""What a bare network is fed, and how its scores come back to the grid of the image or volume.

Arrays only, the same for every backend, so that two backends with the same weights see the same numbers. A grid is
resampled by its outer edges: `n` voxels become `m` that cover the same extent, none is shifted by half a voxel.

**Why** masks are decided on the image's own grid, after the scores were interpolated there: a mask enlarged from
the network's grid has its steps, and a box around it is off by up to half a step on each side.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Literal, TypeVar

import numpy as np
from nibabel import orientations
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from medtrinity25m.roi.protocol import Query, Volume
from medtrinity25m.roi.run_options import Geometry, Network

ornt: Any = orientations  # nibabel does not annotate these functions
Floats = NDArray[np.float32]
S = TypeVar("S", bound=np.generic)
Mask = NDArray[np.bool_]
FOUND = 0.5
"""Independent labels are found where their score is at least this; classes where theirs is the largest."""


def feed_image(query: Query, geometry: Geometry) -> Floats | None:
    """Return (C, H', W') of one image, or None where it lacks the values the network needs."""
    if geometry.values == "HU":
        if query.values is None or query.values_unit != "HU":
            return None
        planes: list[NDArray[Any]] = [query.values]
    elif query.pixels.ndim == 3 and geometry.channels == 3:
        planes = [query.pixels[..., channel] for channel in range(3)]
    else:
        planes = [np.asarray(Image.fromarray(query.pixels).convert("L"))]
    floats = [np.nan_to_num(plane.astype(np.float32)) for plane in planes]
    if not geometry.windowed:
        height, width = geometry.size[0], geometry.size[1]
        floats = [_resize_image(plane, (height, width)) for plane in floats]
    return _normalized(np.stack(floats), geometry)


def feed_volume(volume: Volume, geometry: Geometry) -> Floats | None:
    """Return (C, X', Y', Z') of a volume, or None where it lacks the values the network needs."""
    if geometry.values == "HU" and volume.values_unit != "HU":
        return None
    voxels, affine = turned(np.nan_to_num(volume.voxels), volume.affine, geometry.orientation)
    if geometry.spacing_mm is not None:
        edges = np.linalg.norm(affine[:3, :3], axis=0)
        extent = np.array(voxels.shape) * edges / np.array(geometry.spacing_mm)
        voxels = resample(voxels, tuple(max(1, round(side)) for side in extent.tolist()))
    if not geometry.windowed:
        voxels = resample(voxels, tuple(geometry.size))
    return _normalized(voxels[None], geometry)


def image_masks(
    scores: Floats, shape: tuple[int, int], run: Network, wanted: Sequence[int]
) -> Iterator[tuple[int, Mask, float]]:
    """Yield (channel, (H, W) mask, mean score inside) of the wanted channels that were found.

    Args:
        scores: (K, H', W') scores of 0 to 1.
        shape: (H, W) of the image.
        run: says whether classes exclude each other.
        wanted: channel numbers, all below K.
    """
    planes = (_resize_image(plane, shape) for plane in scores)
    yield from _masks(planes, run.activation, wanted)


def volume_masks(
    scores: Floats, volume: Volume, run: Network, wanted: Sequence[int]
) -> Iterator[tuple[int, Mask, float]]:
    """Yield the same for (K, X', Y', Z') scores of a volume, as (X, Y, Z) masks."""
    turn = run.geometry.orientation
    shape = turned(volume.voxels, volume.affine, turn)[0].shape
    for channel, mask, score in _masks((resample(plane, shape) for plane in scores), run.activation, wanted):
        yield channel, turned_back(mask, volume.affine, turn), score


def turned(array: NDArray[S], affine: NDArray[np.float64], orientation: str) -> tuple[NDArray[S], NDArray[np.float64]]:
    """Return an (X, Y, Z) array with its axes laid as `orientation` says, a view, and the affine that goes with it."""
    way = _way(affine, orientation)
    moved: NDArray[S] = ornt.apply_orientation(array, way)
    return moved, np.asarray(affine @ ornt.inv_ornt_aff(way, array.shape), np.float64)


def turned_back(array: NDArray[S], affine: NDArray[np.float64], orientation: str) -> NDArray[S]:
    """Return an array that `turned` laid otherwise as it was; `affine` is that of the array before."""
    back = ornt.ornt_transform(ornt.axcodes2ornt(orientation), ornt.io_orientation(affine))
    moved: NDArray[S] = ornt.apply_orientation(array, back)
    return moved


def _way(affine: NDArray[np.float64], orientation: str) -> NDArray[Any]:
    way: NDArray[Any] = ornt.ornt_transform(ornt.io_orientation(affine), ornt.axcodes2ornt(orientation))
    return way


def resample(voxels: Floats, shape: tuple[int, ...]) -> Floats:
    """Return an (X, Y, Z) array with `shape` voxels over the same extent, linearly interpolated."""
    if voxels.shape == shape:
        return voxels
    step = np.array(voxels.shape) / np.array(shape)
    made: Floats = ndimage.affine_transform(
        voxels, step, offset=(step - 1) / 2, output_shape=shape, order=1, mode="nearest", output=np.float32
    )
    return made


def _resize_image(plane: Floats, shape: tuple[int, int]) -> Floats:
    """Return an (H, W) array resized linearly; where it shrinks, every pixel counts."""
    if plane.shape == shape:
        return plane
    height, width = shape
    resized = Image.fromarray(plane).resize((width, height), Image.Resampling.BILINEAR)
    return np.asarray(resized, np.float32)


def _normalized(array: Floats, geometry: Geometry) -> Floats:
    """Return (C, ...) values in the range and with the channels the network was trained on."""
    limits = geometry.clip
    if geometry.percentiles is not None:
        low, high = np.percentile(array, geometry.percentiles).tolist()
        limits = (low, high)
    if limits is not None:
        low, high = limits
        array = (np.clip(array, low, high) - low) / ((high - low) or 1)  # one value everywhere: it becomes 0
    if geometry.normalize == "zscore":
        array = (array - array.mean()) / (array.std() or 1)
    if len(array) < geometry.channels:
        array = np.repeat(array, geometry.channels, axis=0)
    per_channel = (-1, *([1] * (array.ndim - 1)))
    if geometry.mean:
        array = array - np.array(geometry.mean, np.float32).reshape(per_channel)
    if geometry.std:
        array = array / np.array(geometry.std, np.float32).reshape(per_channel)
    return np.ascontiguousarray(array, np.float32)


def _masks(
    planes: Iterator[Floats], activation: Literal["softmax", "sigmoid"], wanted: Sequence[int]
) -> Iterator[tuple[int, Mask, float]]:
    """Decide the masks; `planes` are the K channels on the grid of the image, made one after another."""
    if activation == "sigmoid":
        for channel, plane in enumerate(planes):
            if channel in wanted and (mask := plane >= FOUND).any():
                yield channel, mask, _mean(plane, mask)
        return
    best = next(planes).copy()  # the largest score so far, and whose it is: K planes at once would not fit
    owner = np.zeros(best.shape, np.uint16)
    for channel, plane in enumerate(planes, start=1):
        higher = plane > best
        best[higher], owner[higher] = plane[higher], channel
    for channel in wanted:
        if (mask := owner == channel).any():
            yield channel, mask, _mean(best, mask)


def _mean(scores: Floats, mask: Mask) -> float:
    return float(np.clip(scores[mask].mean(dtype=np.float64), 0, 1))
