"""Grey-scale windows: from stored values to the 8 bits of a picture, by the formulas of DICOM PS3.3 C.11.2.1.

Windows this package chooses itself (presets, percentiles, full range) are applied with `LINEAR_EXACT`, whose
ends are exactly `center ± width / 2`. A DICOM header means `LINEAR` unless it says otherwise: there the last
value of the ramp is `center + width / 2 - 1`, which matters for integers and narrow windows.

**Why** percentiles and not the full range: one metal clip, one hot voxel or one padding value stretches the
range until the tissue fills a tenth of the greys.
"""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from medtrinity25m.errors import ConfigError
from medtrinity25m.registry import WindowRule
from medtrinity25m.triplet import Window

VoiFunction = Literal["LINEAR", "LINEAR_EXACT", "SIGMOID"]
"""VOI LUT Function (0028,1056)."""

PRESETS: dict[str, tuple[float, float]] = {
    "lung": (-600.0, 1500.0),  # -1350..150 HU: aerated lung to soft tissue
    "soft_tissue": (40.0, 400.0),  # -160..240 HU: fat to enhanced vessels, for abdomen and mediastinum
    "bone": (400.0, 1800.0),  # -500..1300 HU: marrow fat to cortical bone
    "brain": (40.0, 80.0),  # 0..80 HU: water to fresh blood, narrow enough to part grey from white matter
}
"""(center, width) in HU, after the customary presets of CT consoles; textbooks differ by some tens of HU."""

PERCENTILES = (0.5, 99.5)  # one voxel in two hundred may saturate at each end: outliers, not tissue
SAMPLE = 1 << 24  # values looked at: a volume of 256^3 is taken whole, beyond it a rank errs by 2e-5
BLOCK = 1 << 20  # values shown at a time: what float64 copies of them take stays at some 20 MB
LARGEST = 1e30  # no measured quantity reaches it; larger floats are damage and would overflow a width


def apply_linear(
    values: NDArray[Any], center: float, width: float, *, function: VoiFunction = "LINEAR"
) -> NDArray[np.uint8]:
    """Return `values` as 8-bit greys, rounded to the nearest.

    Args:
        values: one dimension or more, real numbers. What is not finite (NaN, ±inf) carries no measurement
            and becomes black.
        center: middle of the window, in the units of `values`.
        width: its width, in the same units.
        function: PS3.3 C.11.2.1.2.1 (`LINEAR`), C.11.2.1.3.2 (`LINEAR_EXACT`), C.11.2.1.3.1 (`SIGMOID`).

    Raises:
        ValueError: the width is not positive and finite, or below 1 for `LINEAR` (PS3.3 C.11.2.1.2.1).
    """
    least = 1.0 if function == "LINEAR" else math.ulp(0.0)
    if not (math.isfinite(center) and math.isfinite(width) and width >= least):
        raise ValueError(f"a {function} window has a finite center and a width from {least}, not {center}, {width}")
    pixels = np.empty(values.shape, np.uint8)
    rows = max(1, BLOCK * len(values) // max(1, values.size))
    for start in range(0, len(values), rows):
        pixels[start : start + rows] = _greys(values[start : start + rows], center, width, function)
    return pixels


def _greys(values: NDArray[Any], center: float, width: float, function: VoiFunction) -> NDArray[np.float64]:
    """Return `values` through the formula, half a grey added: cut off to integers they are rounded, halves up."""
    with np.errstate(all="ignore"):  # far from a narrow window the ramp overflows; clipping makes that right
        grey = np.array(values, dtype=np.float64)
        lost = ~np.isfinite(grey)
        if function == "SIGMOID":
            grey = 255.0 / (1.0 + np.exp((grey - center) * (-4.0 / width)))
        elif function == "LINEAR" and width == 1.0:  # the ramp has no length: a step, and 0 / 0 in the formula
            grey = np.where(grey > center - 0.5, 255.0, 0.0)
        else:
            middle, length = (center - 0.5, width - 1.0) if function == "LINEAR" else (center, width)
            grey -= middle
            grey /= length
            grey += 0.5
            grey *= 255.0
    grey[lost] = 0.0
    np.clip(grey, 0.0, 255.0, out=grey)
    grey += 0.5
    return grey


def show(values: NDArray[Any], window: Window) -> NDArray[np.uint8]:
    """Return `values` under a window of our own choice, by `LINEAR_EXACT`."""
    return apply_linear(values, window.center, window.width, function="LINEAR_EXACT")


def explicit_window(rule: WindowRule) -> Window | None:
    """Return the window a rule states: a preset by its name, (center, width) as `source`, None for `header`.

    Raises:
        ConfigError: center or width is not a finite number, or the width not positive.
    """
    if isinstance(rule, str):
        return None if rule == "header" else Window(center=PRESETS[rule][0], width=PRESETS[rule][1], name=rule)
    center, width = rule
    if not (math.isfinite(center) and math.isfinite(width) and width > 0):
        raise ConfigError(f"window = [{center}, {width}]: give center and width as numbers, the width above 0")
    return Window(center=center, width=width, name="source")


def sample(values: NDArray[Any]) -> NDArray[Any]:
    """Return all values as one row, or every k-th in memory order where there are more than `SAMPLE`.

    The step is odd, so that it walks through all columns of an image whose width is a power of two.
    """
    flat = values.ravel(order="K")
    step = -(-flat.size // SAMPLE) | 1
    return flat if flat.size <= SAMPLE else flat[::step]


def percentile_window(values: NDArray[Any]) -> Window:
    """Return the window from the 0.5th to the 99.5th percentile of `values`, any shape, named `percentile`.

    Where more than half of the values are zero, zeros are left out: they are padding or air, and with nine
    tenths of them the 99.5th percentile of all would be the 95th of the patient, brightest lesions burnt out.
    Where the two percentiles coincide (a drawing in two greys), it is the full range.
    """
    finite = _finite(values)
    inside = np.count_nonzero(finite)
    if 0 < 2 * inside < finite.size:
        finite = finite[finite != 0]
    low, high = np.percentile(finite, PERCENTILES) if finite.size else (0.0, 0.0)
    return _between(float(low), float(high), "percentile") if low < high else full_range(values)


def full_range(values: NDArray[Any]) -> Window:
    """Return the window from the least to the greatest of `values`, any shape, named `full_range`.

    A constant image gets a width of 1, an image without a finite value center 0 and width 1.
    """
    finite = _finite(values)
    low, high = (finite.min(), finite.max()) if finite.size else (0.0, 0.0)
    return _between(float(low), float(high), "full_range")


def _finite(values: NDArray[Any]) -> NDArray[Any]:
    """Return the usable values of the sample as one row of floats that hold them exactly, or as nearly as float64."""
    some = sample(values)
    with np.errstate(invalid="ignore"):  # a signalling NaN says so when it is copied
        floats: NDArray[Any] = some.astype(np.float32 if some.dtype.itemsize <= 2 else np.float64, copy=False)
    usable = (floats > -LARGEST) & (floats < LARGEST)
    return floats if usable.all() else floats[usable]


def _between(low: float, high: float, name: str) -> Window:
    """Return the window whose `LINEAR_EXACT` ramp runs from `low` to `high`; of width 1 where they are one.

    Rounded to a hundred-thousandth of the width, a five-hundredth of a grey level, so that it reads well.
    """
    width = high - low if high > low else 1.0
    digits = 5 - math.floor(math.log10(width))
    center = round((low + high) / 2, digits) + 0.0  # not -0.0
    return Window(center=center, width=round(width, digits), name=name)
