"""How a region looks: darker or lighter than its surroundings, even or uneven.

A judgment is one word or None; None means that the picture does not say, and then the text does not either.
Grays are levels 0 to 255; frames and units as in `medtrinity25m.description.scene`.

**Why**

- *A visible step.* Differences are held against what an eye sees on a display, not against a test's p-value:
  with thousands of pixels any difference is significant.
- *Ranks beside means.* The chance that a pixel of the region is lighter than one of its surroundings does not
  change under any brightness curve of a viewer, and a strip of air in the ring moves it less than a mean.
- *Between two thresholds nothing is said.* One threshold would turn noise into words for regions near it.
- *Calibrated* on outlines drawn by people: 125 nuclei (stardist's `img2d`), eight tumor sections on CT and MR
  (pyradiomics' `brain1`, `brain2`, `lung1`, `lung2`, `breast1`) and the liver lesion of pydicom's
  `examples_overlay`: what the thresholds give for each of them was checked by eye.
"""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
from scipy import ndimage

from medtrinity25m.description.scene import LEAST_PX, Gray, Surroundings
from medtrinity25m.roi.geometry import Mask

Brightness = Literal["lower", "equal", "higher"]
Texture = Literal["homogeneous", "heterogeneous"]

VISIBLE_STEP = 5.0
"""Gray levels: 2 % of 255. Weber fractions of 1 to 2 % are what people tell apart in large fields, and
reading rooms are rarely as dark as a laboratory: below this two areas look alike."""

DETECTABLE = 0.76
"""Chance that a pixel inside is lighter than one outside, from which on a region stands out: d' = 1, the mean
one standard deviation above its surroundings (Phi(1 / sqrt 2) = 0.76)."""

SIMILAR_SPREAD = 2.0
"""Two areas with the same mean look alike only when neither varies more than twice as much as the other."""

HETEROGENEOUS_STEP = 3 * VISIBLE_STEP
"""Gray levels of standard deviation beyond noise. Two thirds of a region then span 30 levels, six visible
steps."""

CORRELATED = 4.0
"""Neighboring pixels repeat each other (reconstruction, demosaicking, JPEG): n of them tell as much as n /
4."""

LEAST_TEXTURE_PX = 50
"""Pixels of the region's core for a texture: 7 x 7, below which an eye sees a blot and no texture."""

CORE_RIM = 2.0
"""Pixels off a region's border that are not its core: one for the outline, one for the scanner's point
spread."""

CLIPPED = 0.1
"""Share of an area at gray 0 or 255 above which its evenness may be the window's and not the patient's."""

NOISE_WINDOW = 5
"""Pixels, at the reference side: wide enough for the grain of resampled MR and for ultrasound speckle, of two
to four pixels, and narrow enough to leave structure out."""


def clipped(levels: Gray) -> bool:
    """Say whether more of an area is black or white than what chance puts there."""
    ends = np.count_nonzero(levels == 0) + np.count_nonzero(levels == 255)
    return bool(ends > CLIPPED * levels.size)


def lighter_chance(inside: Gray, outside: Gray) -> float:
    """Return the chance that a pixel of `inside` is lighter than one of `outside`, ties counting half."""
    ours, theirs = (np.bincount(part, minlength=256).astype(np.int64) for part in (inside, outside))
    below = np.cumsum(theirs) - theirs
    return float((ours * (2 * below + theirs)).sum()) / (2 * inside.size * outside.size)


def brightness(view: Surroundings) -> Brightness | None:
    """Judge a region against its ring: `lower`, `equal`, `higher`, or None.

    Higher or lower: the means differ by a visible step and a pixel is lighter (darker) with the detectable
    chance. Equal: the means differ by less, both areas vary alike, there are enough pixels to know, and
    neither is at an end of the gray scale, where different things look the same.
    """
    if view.ring is None or np.count_nonzero(view.inside) < LEAST_PX:
        return None
    inside, ring = view.gray[view.inside], view.gray[view.ring]
    step = float(inside.mean() - ring.mean())
    chance = lighter_chance(inside, ring)
    if abs(step) >= VISIBLE_STEP:
        if step > 0:
            return "higher" if chance >= DETECTABLE else None
        return "lower" if chance <= 1 - DETECTABLE else None
    if clipped(inside) or clipped(ring):
        return None
    spreads = float(inside.std()) + VISIBLE_STEP, float(ring.std()) + VISIBLE_STEP
    known = float(inside.std()) * math.sqrt(CORRELATED / inside.size) <= VISIBLE_STEP
    return "equal" if known and max(spreads) <= SIMILAR_SPREAD * min(spreads) else None


def noise(gray: Gray, mask: Mask, unit_px: float) -> float:
    """Return the grain of an area in gray levels: the median standard deviation within small square windows.

    Only pixels of `mask` count in a window, so nothing across its border does.
    """
    window_px = 2 * round((NOISE_WINDOW * unit_px - 1) / 2) + 1  # the nearest odd: a window has a middle
    weight = mask.astype(np.float64)
    level = gray * weight
    count = ndimage.uniform_filter(weight, window_px, mode="constant")[mask]
    mean = ndimage.uniform_filter(level, window_px, mode="constant")[mask] / count
    square = ndimage.uniform_filter(level * gray, window_px, mode="constant")[mask] / count
    return float(np.sqrt(np.median(np.maximum(square - mean**2, 0.0))))


def texture(view: Surroundings, unit_px: float) -> Texture | None:
    """Judge how much a region varies beyond the grain of its surroundings.

    The core, without the rim where inside and outside mix, has a standard deviation; the ring's grain is
    taken off it in quadrature. Up to a visible step the region looks even, from three steps on uneven;
    between them None, as in small cores. Where the ring is missing, black or white, the core's own grain
    stands in: it holds fine texture too, so that only coarse unevenness is told. A core at the end of the
    gray scale tells nothing.
    """
    core = view.depth > max(CORE_RIM, 0.1 * view.radius)
    if np.count_nonzero(core) < LEAST_TEXTURE_PX:
        return None
    levels = view.gray[core]
    ring = np.zeros_like(core) if view.ring is None else view.ring & (view.gray > 0) & (view.gray < 255)
    known = np.count_nonzero(ring) >= LEAST_PX
    grain = noise(view.gray, ring if known else core, unit_px)
    beyond = math.sqrt(max(0.0, float(levels.var()) - grain**2))
    if beyond >= HETEROGENEOUS_STEP:
        return "heterogeneous"
    even = beyond <= VISIBLE_STEP if known else float(levels.std()) <= VISIBLE_STEP
    return "homogeneous" if even and not clipped(levels) else None
