"""Cells in fluorescence microscopy: bright, compact, on a dark ground, most of one size (`blobs`).

Score of the finding: `blobs.set_score`, how well the objects are many of one size and shape that explain what is
bright.

**Why** not contrast as the score: body sections, fundus photographs and ultrasound sectors have more of it than cells.
What they do not have is many compact objects of one size that explain all that is bright.
**Why** the label is `nucleus` only where the metadata say nuclei: the picture alone does not tell a nucleus from a
small cell.
"""

from __future__ import annotations

import numpy as np

from medtrinity25m.roi.classical.blobs import find_blobs, full_size, set_score
from medtrinity25m.roi.classical.regions import Plane
from medtrinity25m.roi.protocol import Finding, Query

SMALLEST_SIDE = 24  # pixels; below, not one cell with its surroundings fits in
BRIGHT_GROUND = 0.35  # of the brightest level: above it the ground is not dark, and this is no fluorescence


def fluorescence_cells(query: Query) -> list[Finding]:
    """Return one finding with an instance map (label `cell`, or `nucleus` where the metadata say so), or none."""
    pixels = query.pixels
    image = np.asarray(pixels.max(axis=2) if pixels.ndim == 3 else pixels, np.float32)
    if min(image.shape) < SMALLEST_SIDE or not _dark_ground(image):
        return []
    blobs = find_blobs(image)
    if blobs is None or not blobs.labels.any():
        return []
    label = "nucleus" if "cell_nucleus" in query.organs else "cell"
    instances = full_size(blobs.labels, blobs.factor, image.shape)
    return [Finding(label=label, instances=instances, score=set_score(blobs))]


def _dark_ground(image: Plane) -> bool:
    """Say whether most of the picture is dark beside its brightest objects."""
    low, middle, high = np.percentile(image, (5, 50, 99.8))
    return bool(high - low >= 8 and middle - low < BRIGHT_GROUND * (high - low) and low < BRIGHT_GROUND * high)
