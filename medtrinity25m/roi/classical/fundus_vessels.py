"""Vessels of the retina: dark lines in green light, found by line filters of many directions and three widths.

1. Green is flattened within the field and divided by its own local deviation.
2. Each pixel gets the largest answer of elongated second derivatives of a Gaussian, 12 directions a width.
3. Hysteresis keeps lines that are clear somewhere; specks are dropped.

Score: likeness x share x lines, each 0 to 1. Likeness is that of a retina (`fundus_field`); share how near the vessels'
part of the field is to that of real ones (4 to 16 %: 1, falling linearly to 0 at 0 and 30 %); lines the share of the
vessels' pixels in pieces longer than a fifth of the field.

**Why** filters in the frequency domain: their cost does not grow with their width, and 36 of them take about a second.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import fft, ndimage

from medtrinity25m.roi.classical import regions
from medtrinity25m.roi.classical.fundus_field import Retina, find_retina, flattened
from medtrinity25m.roi.classical.regions import Plane
from medtrinity25m.roi.geometry import Mask
from medtrinity25m.roi.protocol import Finding, Query

WORK_DIAMETER = 900  # pixels: the thinnest vessel people draw is two of them wide
SIGMAS = (0.8, 1.4, 2.4)  # in 640ths of the field
LENGTH = 2.0  # of the filter, in sigmas
DIRECTIONS = 12
CLEAR, FAINT = 0.4, 0.28  # answers, in local deviations of flattened green
BRIGHT = 0.5  # local deviations; what is brighter (disc, exudates) makes no dark line of its surroundings
SPECK = 3e-4  # of the squared diameter
USUAL = (0.04, 0.16, 0.30)  # share of the field: from, to, and where it is no vessels anymore
LONG = 0.2  # of the diameter
PAD = 32  # pixels mirrored around the picture, several filter widths


def fundus_vessels(query: Query) -> list[Finding]:
    """Return one finding (label `vessel`) with the vessels of the retina, or none."""
    retina = find_retina(query.pixels, WORK_DIAMETER)
    if retina is None:
        return []
    vessels = _vessels(retina)
    if not vessels.any():
        return []
    mask = retina.full(vessels)
    return [Finding(label="vessel", mask=mask, score=_score(vessels, retina))] if mask.any() else []


def _vessels(retina: Retina) -> Mask:
    from skimage.filters import apply_hysteresis_threshold

    diameter, field = retina.diameter, retina.field
    dark = normalized(-retina.image[..., 1], field, diameter)
    dark = np.maximum(dark, -BRIGHT)
    answer = np.where(regions.erode(field, 0.01 * diameter), line_answer(dark, [s * diameter / 640 for s in SIGMAS]), 0)
    lines = apply_hysteresis_threshold(answer, FAINT, CLEAR)  # type: ignore[no-untyped-call]
    labels, _ = ndimage.label(lines, structure=np.ones((3, 3)))
    return np.asarray((regions.areas(labels) >= SPECK * diameter**2)[labels])


def normalized(plane: Plane, field: Mask, diameter: float) -> Plane:
    """Return a plane of a retina without its slow changes, in units of its own local deviation; 0 outside the field."""
    flat = flattened(plane, field, diameter / 25)
    weight = np.maximum(regions.blurred(field, diameter / 8), 1e-3)
    spread = np.sqrt(np.maximum(regions.blurred(flat**2, diameter / 8), 0) / weight)
    return np.asarray(flat / np.maximum(spread, 0.5), np.float32)  # 0.5: half a level of an 8-bit picture


def line_answer(plane: Plane, sigmas: list[float]) -> Plane:
    """Return the largest answer over directions and widths; a straight bright ridge of its width answers about 0.7."""
    height, width = plane.shape
    shape = fft.next_fast_len(height + 2 * PAD, True), fft.next_fast_len(width + 2 * PAD, True)
    pads = [(PAD, whole - side - PAD) for whole, side in zip(shape, plane.shape, strict=True)]
    spectrum = fft.rfft2(np.pad(plane, pads, mode="symmetric"))
    down = fft.fftfreq(shape[0]).astype(np.float32)[:, None]
    across = fft.rfftfreq(shape[1]).astype(np.float32)[None]
    best = np.full(plane.shape, -np.inf, np.float32)
    for sigma in sigmas:
        for turn in np.pi * np.arange(DIRECTIONS) / DIRECTIONS:
            answer = fft.irfft2(spectrum * _transfer(down, across, sigma, turn), s=shape)
            np.maximum(best, answer[PAD : PAD + height, PAD : PAD + width], out=best)
    return best


def _transfer(down: NDArray[np.float32], across: NDArray[np.float32], sigma: float, turn: float) -> NDArray[np.float32]:
    """Return the spectrum of a negative second derivative of a Gaussian across a line, smoothed along it."""
    scale = np.float32(2 * np.pi * sigma)
    over = down * (scale * np.float32(np.cos(turn))) + across * (scale * np.float32(np.sin(turn)))
    along = (across * np.float32(np.cos(turn)) - down * np.float32(np.sin(turn))) * (scale * np.float32(LENGTH))
    over *= over
    along *= along
    return over * np.exp(-(over + along) / 2)


def _score(vessels: Mask, retina: Retina) -> float:
    share = np.count_nonzero(vessels) / np.count_nonzero(retina.field)
    usual = float(np.interp(share, (0, *USUAL), (0, 1, 1, 0)))
    labels, _ = ndimage.label(vessels, structure=np.ones((3, 3)))
    spans = [max(side.stop - side.start for side in place) for place in ndimage.find_objects(labels)]
    long = np.array([False, *(span > LONG * retina.diameter for span in spans)])
    return retina.likeness * usual * float(np.count_nonzero(long[labels]) / np.count_nonzero(vessels))
