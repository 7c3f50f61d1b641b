"""The measured facts of one region: how large it is, how it looks, what its outline is like.

This is the door to `scene` (pixels and rings), `appearance` (brightness, texture) and `outline` (margin,
shape); it adds sizes and mean HU, and knows which questions a region can answer at all:

==============  ====  ===  ==================  ===========
fact            mask  box  several in one      whole image
==============  ====  ===  ==================  ===========
share           yes   yes  yes                 yes (1)
size            yes   yes  yes                 None
mean HU         yes   yes  yes                 None
brightness      yes   yes  yes                 None
texture         yes   --   --                  None
margin, shape   yes   --   --                  None
==============  ====  ===  ==================  ===========

**Why** a box has no texture and no margin: it holds what is around the lesion too, so it is uneven by
construction, and its edge is nobody's outline. Why several regions in one have none: they differ among
themselves, and the words would speak of all.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from medtrinity25m.description import appearance, outline
from medtrinity25m.description.appearance import Brightness, Texture
from medtrinity25m.description.outline import Margin, Shape
from medtrinity25m.description.scene import Scene
from medtrinity25m.roi.geometry import size_mm
from medtrinity25m.triplet import Window


@dataclass(frozen=True)
class RegionFacts:
    """What was measured of one region; None is for what cannot be told.

    Args:
        share: of the image's pixels, above 0 to 1: of the mask where there is one, else of the box.
        size_px: width and height of the box in pixels.
        size_mm: the same in millimeters, where spacing is known.
        mean_hu: mean attenuation, rounded.
        brightness: against the ring around the region.
        texture: of the region's core.
        margin: of the mask's outline.
        shape: of the mask, in millimeters where spacing is known.
    """

    share: Fraction
    size_px: tuple[int, int] | None = None
    size_mm: tuple[float, float] | None = None
    mean_hu: int | None = None
    brightness: Brightness | None = None
    texture: Texture | None = None
    margin: Margin | None = None
    shape: Shape | None = None


def measure(scene: Scene, index: int) -> RegionFacts:
    """Return the facts of region `index` of a scene."""
    roi = scene.rois[index]
    if roi.origin == "whole_image":
        return RegionFacts(share=Fraction(1))
    x0, y0, x1, y1 = roi.xyxy
    view = scene.surroundings(index)
    single = roi.mask is not None and roi.count == 1
    whole = single and not _cut_off(scene, index)
    return RegionFacts(
        share=scene.share(index),
        size_px=(x1 - x0, y1 - y0),
        size_mm=size_mm(roi.xyxy, scene.spacing_mm),
        mean_hu=mean_hu(scene, index),
        brightness=appearance.brightness(view),
        texture=appearance.texture(view, scene.unit_px) if single else None,
        margin=outline.margin(view, scene.unit_px) if single else None,
        shape=outline.shape(scene.mask(index), scene.spacing_mm) if whole else None,
    )


def _cut_off(scene: Scene, index: int) -> bool:
    """Say whether a region reaches the image's edge, where its outline may go on unseen."""
    x0, y0, x1, y1 = scene.rois[index].xyxy
    height, width = scene.gray.shape
    return x0 == 0 or y0 == 0 or x1 == width or y1 == height


def mean_hu(scene: Scene, index: int) -> int | None:
    """Return the mean attenuation of a region in HU, rounded, or None where nobody could find it again.

    It is known on calibrated CT only. It is given only when the picture itself, put back through its window
    (DICOM PS3.3 C.11.2.1.2.1), has the same mean to one gray level: where a window cuts values off, the row
    does not hold them.
    """
    window, values = scene.window, scene.values
    if window is None or values is None or window.width <= 1:
        return None
    x0, y0, x1, y1 = scene.rois[index].xyxy
    mask = scene.mask(index)
    mean = float(values[y0:y1, x0:x1][mask].mean(dtype=np.float64))
    shown = float(scene.gray[y0:y1, x0:x1][mask].mean())
    if not math.isfinite(mean) or abs(mean - unwindowed(shown, window)) > one_level(window):
        return None
    return round(mean)


def unwindowed(level: float, window: Window) -> float:
    """Return the value that a window shows as gray `level` (the inverse of DICOM's linear VOI function)."""
    return (level / 255 - 0.5) * (window.width - 1) + window.center - 0.5


def one_level(window: Window) -> float:
    """Return how much one gray level is worth under a window; at least 1, what rounding to integers costs."""
    return max(1.0, (window.width - 1) / 255)
