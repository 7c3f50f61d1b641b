"""Cell nuclei in H&E: blue-black and compact in pink, most of one size.

The stains are parted by color deconvolution (Ruifrok and Johnston 2001, as scikit-image has it); nuclei are the blobs
of the hematoxylin plane. An object is left out where its hematoxylin hardly exceeds that of the ring around it.

Score of the finding: color x contrast x shape x number, each 0 to 1. Color is the share of stained pixels whose green
is the darkest channel: near 1 for H&E, where both stains absorb green most; low for brown DAB, skin and retina (blue is
darkest) and for gray pictures. Contrast is the mean of the objects' (in - out) / (in + out) in hematoxylin, shape their
mean solidity, number n / (n + 2).

**Why** fixed stain vectors: the plane that vectors estimated from each picture give (Macenko 2009) looks the same on
the three fields at hand, and estimated vectors may change places where one stain is missing.
**Why** IHC is left alone: under DAB the blue of a nucleus and the brown of a membrane part badly, and on the colon
slide at hand many outlines were wrong.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from medtrinity25m.roi.classical import regions
from medtrinity25m.roi.classical.blobs import Blobs, find_blobs, full_size
from medtrinity25m.roi.classical.regions import Labels
from medtrinity25m.roi.geometry import Mask
from medtrinity25m.roi.protocol import Finding, Query

SMALLEST_SIDE = 48  # pixels; below, nuclei have too little around them
STAINED = 0.15  # optical density; the glass of the slides at hand has 0.02
LEAST_COLOR = 0.1  # no score can be higher than the share of H&E color
LEAST_STAINED = 0.05  # share of the picture; with less it is glass
LEAST_RADIUS_UM, MOST_RADIUS_UM = 1.5, 10.0  # a lymphocyte has about 3, a large tumor nucleus 8
SMOOTHING = 0.7  # pixels, sigma; the blocks of JPEG color show otherwise
BLACKEST = 12  # level; below, a scanner's black is noise and the color of it means nothing
CAP = 2  # in Otsu thresholds of the tissue: beyond, how black a nucleus is says nothing more
LEAST_STAIN = 0.8  # of Otsu's threshold, in the mean of an object; clouds in the ground have less
LEAST_AREA = 0.25  # of the typical object
LEAST_CONTRAST = 0.18  # of an object's hematoxylin to its surroundings', (in - out) / (in + out)


def he_nuclei(query: Query) -> list[Finding]:
    """Return one finding with an instance map of nuclei (label `nucleus`), or none."""
    pixels = query.pixels
    if pixels.ndim != 3 or min(pixels.shape[:2]) < SMALLEST_SIDE:
        return []
    color = _color(pixels)
    if color < LEAST_COLOR:
        return []
    blobs = find_blobs(_hematoxylin(pixels), LEAST_AREA)
    if blobs is None or not _nuclear_size(blobs, query.spacing_mm):
        return []
    labels, quality = _judged(blobs)
    if not labels.any():
        return []
    instances = full_size(labels, blobs.factor, pixels.shape[:2])
    return [Finding(label="nucleus", instances=instances, score=color * quality)]


def _nuclear_size(blobs: Blobs, spacing_mm: tuple[float, float] | None) -> bool:
    """Say whether the typical blob has the size of a nucleus; yes where nobody knows the scale."""
    if spacing_mm is None:
        return True
    radius_um = 1000 * blobs.radius * blobs.factor * float(np.sqrt(spacing_mm[0] * spacing_mm[1]))
    return LEAST_RADIUS_UM <= radius_um <= MOST_RADIUS_UM


def _color(pixels: NDArray[np.uint8]) -> float:
    """Return the share of stained pixels in whose color green is darkest, 0 where next to nothing is stained."""
    stained = _stained(pixels)
    if np.count_nonzero(stained) < LEAST_STAINED * stained.size:
        return 0.0
    red, green, blue = (pixels[..., channel][stained].astype(np.int16) for channel in range(3))
    return float(np.mean((green < red) & (green < blue)))


def _stained(pixels: NDArray[np.uint8]) -> Mask:
    return np.asarray(-np.log10(np.maximum(pixels, 1) / 255).mean(axis=2) > STAINED)


def _hematoxylin(pixels: NDArray[np.uint8]) -> regions.Plane:
    """Return the amount of hematoxylin, in an arbitrary unit: 100 in a dark nucleus."""
    from skimage.color import rgb2hed

    light = ndimage.gaussian_filter(pixels.astype(np.float32), (SMOOTHING, SMOOTHING, 0))
    stain = 1000 * np.maximum(rgb2hed(np.maximum(light, BLACKEST) / 255)[..., 0], 0)
    tissue = stain[_stained(pixels)]
    return np.asarray(np.minimum(stain, CAP * regions.otsu(tissue)), np.float32)


def _judged(blobs: Blobs) -> tuple[Labels, float]:
    """Return the objects with clearly more stain than what is around them, and contrast x shape x number of the set."""
    labels, image = blobs.labels, ndimage.gaussian_filter(blobs.image, 0.5)
    margin = int(np.ceil(blobs.radius)) + 1
    least = LEAST_STAIN * float(image.max()) / CAP
    contrast, solidity = np.zeros((2, int(labels.max()) + 1))
    for number, place in enumerate(ndimage.find_objects(labels), start=1):
        wide = tuple(slice(max(0, side.start - margin), side.stop + margin) for side in place)
        own = labels[wide] == number
        around = regions.ring(own, 0.15 * blobs.radius, 0.8 * blobs.radius) & (labels[wide] == 0)
        inside = float(image[wide][own].mean())
        if inside < least:
            continue
        outside = float(image[wide][around].mean()) if around.any() else inside
        contrast[number] = (inside - outside) / (inside + outside)
        solidity[number] = regions.solidity(own)
    good = contrast >= LEAST_CONTRAST
    count = np.count_nonzero(good)
    if not count:
        return np.zeros_like(labels), 0.0
    quality = contrast[good].mean() * solidity[good].mean() * count / (count + 2)
    return regions.kept(labels, good), float(quality)
