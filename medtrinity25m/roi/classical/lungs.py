"""Lungs in CT by their density: air-filled tissue inside the body, with the vessels it surrounds.

1. Candidates are the pieces of what is lighter than -400 HU inside the body (`body.body_mask`).
2. A lung's air is mixed with tissue and blood. Windpipe, bowel gas, sinuses and mastoid cells are bare air: compact
   bare air is cut out, and what bare air remains counts against the piece.
3. A piece whose two halves hang together by a thin bridge becomes two lungs; vessels and the bays they leave at the
   hilum are closed.

One finding a lung, label `lung`; which side of the patient it is nobody can tell from the pixels, so nobody is told.
Score: mixed x walled x chest, each 0 to 1. Mixed is the share of the piece, smoothed, that is no bare air; walled the
share of its outline with soft tissue or bone beyond it; chest the area of all pieces that are mostly mixed, over 3 % of
the body's section, at most 1.

**Why** chest: a bubble in stool is mixed and walled like a lung. In a slice with lungs there is more of it; the last
sliver at the lung's base is given up for that.
**Why** no atlas of size and place: children, coronal slices and every turn of the image come too.
**Why** bare air is below -940 HU after smoothing: in 28 slices of two real chests it made 0 to 10 % of every lung, and
74 % or more of every windpipe. Severe emphysema goes beyond that, and such a lung may be missed.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from medtrinity25m.roi.classical import regions
from medtrinity25m.roi.classical.body import body_mask, hounsfield
from medtrinity25m.roi.classical.regions import Labels, Plane
from medtrinity25m.roi.geometry import Mask
from medtrinity25m.roi.protocol import Finding, Query

LIGHT_HU = -400.0  # the middle between lung (-850) and soft tissue (50)
BARE_HU = -940.0
TUBE_HU = -975.0  # emphysema lies above, the air of a windpipe at -1000
WALL_HU = -300.0
LEAST_SHARE = 0.004  # of the body's section: smaller pieces are airways, gas and noise
CHEST_SHARE = 0.03  # of the same
MOST_BARE = 0.3  # share of a piece that counts for the chest
TUBE_SHARE = 0.01  # of the body's section: a windpipe at its widest
TUBE_ROUNDNESS = 0.85
HOLE_SHARE = 0.015  # of the body's section: a vessel, a bulla or a tumor of 4 cm is filled, the liver's dome is not
BRIDGE = 0.02  # of the image's shorter side: 7 mm in a field of view of 35 cm
CLOSING = 0.015  # of the same: vessels up to 1 cm lie within


def ct_lungs(query: Query) -> list[Finding]:
    """Return a finding (label `lung`) for each lung in the image, none where there is none."""
    values = hounsfield(query)
    body = None if values is None else body_mask(values)
    if values is None or body is None:
        return []
    smooth = np.asarray(ndimage.gaussian_filter(values, 1), np.float32)
    side, section = min(values.shape), np.count_nonzero(body)
    light = regions.opened((values < LIGHT_HU) & regions.erode(body, 2), 1)
    whole, _ = regions.numbered(light)
    whole = regions.kept(whole, regions.areas(whole) >= LEAST_SHARE * section)
    mixed = _mixed(whole, smooth)
    chest = min(1.0, float(regions.areas(whole)[mixed >= 1 - MOST_BARE].sum()) / (CHEST_SHARE * section))
    airways = _airways(smooth, whole > 0, TUBE_SHARE * section)
    found = []
    for number in range(1, mixed.size):
        lung = (whole == number) & ~airways
        for piece in _parted(regions.opened(lung, 1), BRIDGE * side / 2, LEAST_SHARE * section):
            room = body & ~airways & ~((whole > 0) & ~piece)
            mask = _closed(piece, room, CLOSING * side, HOLE_SHARE * section)
            found.append(Finding(label="lung", mask=mask, score=float(mixed[number]) * _walled(mask, values) * chest))
    return found


def _mixed(labels: Labels, smooth: Plane) -> regions.Plane:
    """Return for each label the share of its inner pixels that are no bare air, 0 for label 0."""
    inner = np.where(regions.erode(labels > 0, 1.5), labels, 0)
    size = int(labels.max()) + 1
    bare = np.bincount(inner[smooth < BARE_HU], minlength=size)
    share = 1 - bare / np.maximum(np.bincount(inner.ravel(), minlength=size), 1)
    share[0] = 0
    return np.asarray(share, np.float32)


def _airways(smooth: Plane, light: Mask, most: float) -> Mask:
    """Return the windpipe and its main branches: compact pieces of bare air below `most` pixels."""
    labels, count = regions.numbered(regions.opened((smooth < TUBE_HU) & light, 2))
    tube = np.zeros(count + 1, np.bool_)
    for number, place in enumerate(ndimage.find_objects(labels), start=1):
        own = labels[place] == number
        tube[number] = np.count_nonzero(own) < most and regions.roundness(own) > TUBE_ROUNDNESS
    return regions.dilate(tube[labels], 3) & light


def _parted(piece: Mask, radius: float, least: float) -> list[Mask]:
    """Return a piece as it is, or as two lungs where it hangs together by a thin bridge only; nothing below `least`."""
    cores, _ = regions.numbered(regions.erode(piece, radius))
    large = np.flatnonzero(regions.areas(cores) >= 4 * least)
    if large.size < 2:
        whole = regions.largest(piece)
        return [whole] if np.count_nonzero(whole) >= least else []
    nearest = ndimage.distance_transform_edt(~np.isin(cores, large), return_distances=False, return_indices=True)
    owner = cores[tuple(nearest)]
    return [regions.largest(piece & (owner == number)) for number in large]


def _closed(piece: Mask, room: Mask, radius: float, most: float) -> Mask:
    """Return a lung with its vessels, the bays of its outline and holes up to `most` pixels filled, in one piece."""
    lung = regions.largest(regions.closed(piece, radius) & room)
    holes, _ = regions.numbered(regions.filled(lung) & ~lung)
    small = regions.areas(holes) <= most
    small[0] = False
    return lung | small[holes]


def _walled(lung: Mask, values: Plane) -> float:
    """Return the share of the outline with soft tissue or bone within 4 pixels beyond it."""
    outline = regions.outline(lung)
    wall = regions.dilate(regions.ring(lung, 1, 4) & (values > WALL_HU), 3.5)
    return regions.share(wall, outline)
