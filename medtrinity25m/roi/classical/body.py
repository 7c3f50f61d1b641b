"""The patient in a CT image: everything denser than air that hangs together, without table, cushions and clothes.

Score: the share of the body's contour that has air (below AIR_HU) within a few pixels beyond it. Where the image's edge
cuts the body, that edge is contour without air.

**Why** an opening before the largest component: the table is a thin shell and touches the back; whatever is thinner
than 3 % of the image's shorter side falls away. Ears and fingers fall away with it and come back by growing within the
threshold, a few pixels far.
"""

from __future__ import annotations

import numpy as np

from medtrinity25m.roi.classical import regions
from medtrinity25m.roi.classical.regions import Plane
from medtrinity25m.roi.geometry import Mask
from medtrinity25m.roi.protocol import Finding, Query

SMALLEST_SIDE = 32  # pixels
TISSUE_HU = -350.0  # between skin, fat (-100) and air (-1000), near the middle of a blurred edge
AIR_HU = -600.0  # clothes and cushions, mostly air, are below it too
CORE = 0.03  # of the shorter side: half the width of what the opening removes is the half of it
LEAST_SHARE = 0.02  # of the image; anything smaller is no section of a body


def ct_body(query: Query) -> list[Finding]:
    """Return one finding (label `body`) with the patient's cross-section, or none."""
    values = hounsfield(query)
    if values is None:
        return []
    mask = body_mask(values)
    return [] if mask is None else [Finding(label="body", mask=mask, score=_score(mask, values))]


def hounsfield(query: Query) -> Plane | None:
    """Return the image's calibrated values, None where there are none, they do not fit or the image is tiny."""
    values = query.values
    if values is None or query.values_unit != "HU" or values.ndim != 2 or min(values.shape) < SMALLEST_SIDE:
        return None
    return np.nan_to_num(values, nan=-1024.0, posinf=3071.0, neginf=-1024.0).astype(np.float32)


def body_mask(values: Plane) -> Mask | None:
    """Return the (H, W) section of the body with all that it encloses, None where there is none."""
    tissue = values > TISSUE_HU
    if tissue.all() or not tissue.any():
        return None
    radius = CORE * min(values.shape) / 2
    core = regions.largest(regions.opened(_enclosed(tissue), radius))
    if np.count_nonzero(core) < LEAST_SHARE * core.size:
        return None
    near = regions.largest(regions.dilate(core, radius) & _enclosed(tissue))
    return regions.filled(regions.opened(near, 1.5) | core)


def _enclosed(tissue: Mask) -> Mask:
    """Return the tissue with the air it encloses, also where the image's edge does the enclosing."""
    full = regions.filled(tissue)
    for axis in (0, 1):
        for side in (0, -1):
            full |= _filled_against(full, axis, side)
    return full


def _filled_against(mask: Mask, axis: int, side: int) -> Mask:
    """Return a mask filled as if the stretch of one edge between its outermost pixels were tissue.

    A chest that is wider than the field of view opens its lungs to the image's edge; air beside a body that the edge
    cuts once, as a table does, stays outside.
    """
    line = mask.take(side, axis=axis)
    touching = np.flatnonzero(line)
    if not touching.size or np.count_nonzero(line) < 0.5 * (touching[-1] - touching[0] + 1):
        return mask
    closed = mask.copy()
    index = (side, slice(touching[0], touching[-1] + 1))
    closed[index if axis == 0 else index[::-1]] = True
    return regions.filled(closed) & ~(closed & ~mask)


def _score(mask: Mask, values: Plane) -> float:
    edge = regions.border(mask.shape)
    contour = regions.outline(mask)
    whole = contour | (mask & edge)
    free = contour & ~edge
    beyond = regions.ring(mask, 2, 5) & (values < AIR_HU)
    open_to_air = free & regions.dilate(beyond, 4)
    return regions.share(open_to_air, whole)
