"""From stored values to 8 bits: modality LUT, VOI LUT, photometric interpretation (PS3.3 C.11, PS3.4 N.2).

Every step after decoding depends on the stored value alone, so it is computed once for each value between the
least and the greatest of a frame, and looked up for its pixels.

**Why** a look-up of our own: pydicom's indexes with the type of the table's entries, so an 8-bit table for
12-bit pixels wraps, and it reads tables of big-endian files in the machine's byte order.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.pixels.processing import apply_color_lut

from medtrinity25m.errors import RefusedError
from medtrinity25m.readers.dicom_attributes import (
    READ_ERRORS,
    FrameGroups,
    first,
    number,
    numbers,
    text,
    value,
    words,
)
from medtrinity25m.readers.dicom_pixels import PixelLayout
from medtrinity25m.readers.window import (
    PRESETS,
    VoiFunction,
    apply_linear,
    explicit_window,
    percentile_window,
    show,
)
from medtrinity25m.registry import WindowRule, vocabulary
from medtrinity25m.triplet import Window

Values = NDArray[np.float32]
Greys = NDArray[np.uint8]

TABLE_SPAN = 1 << 16  # all values of 16 bits; beyond (32-bit doses, floats) each pixel is computed by itself
LARGEST_FACTOR = 1e9  # no slope or intercept of a device comes near; larger ones would overflow float32
EIGHT_BITS = 255


@dataclass(frozen=True)
class Table:
    """A look-up table of PS3.3 C.11: inputs below `start` give the first entry, beyond the end the last."""

    start: int
    entries: NDArray[Any]
    bits: int

    def __call__(self, inputs: NDArray[Any]) -> NDArray[Any]:
        """Return the entries for inputs of any shape."""
        place = np.clip(np.rint(inputs.astype(np.float64)) - self.start, 0, len(self.entries) - 1)
        found: NDArray[Any] = self.entries[np.nan_to_num(place).astype(np.intp)]
        return found


@dataclass(frozen=True)
class Modality:
    """What turns stored values into the modality's own (PS3.3 C.11.1): a table, or slope and intercept."""

    table: Table | None = None
    slope: float = 1.0
    intercept: float = 0.0
    rescaled: bool = False
    """Whether the file states slope and intercept."""

    @property
    def identity(self) -> bool:
        """Whether stored values come out unchanged."""
        return self.table is None and self.slope == 1.0 and self.intercept == 0.0

    def __call__(self, stored: NDArray[Any]) -> Values:
        """Return the modality values of stored values of any shape."""
        if self.table is not None:
            return self.table(stored).astype(np.float32)
        return (stored.astype(np.float64) * self.slope + self.intercept).astype(np.float32)


@dataclass(frozen=True)
class Voi:
    """How values are shown: the window to record, None for pixels as stored, and the function itself."""

    window: Window | None
    paint: Callable[[NDArray[Any]], Greys]


@dataclass(frozen=True)
class Grey:
    """One rendered frame: pixels (H, W) uint8, values (H, W) float32, and the window between them."""

    pixels: Greys
    values: Values
    window: Window | None


def read_table(item: Dataset | None, little: bool) -> Table | None:
    """Return the table of a LUT sequence's item, None when it is damaged (PS3.3 C.11.1.1, C.11.2.1.1)."""
    described = () if item is None else numbers(item, "LUTDescriptor")
    if item is None or len(described) != 3:
        return None
    count, start, bits = (int(part) for part in described)
    count = count & 0xFFFF or 1 << 16  # 0 stands for 65,536; a signed reading of 32,768 and more is negative
    entries = _entries(value(item, "LUTData"), count, little)
    if entries is None or not 8 <= bits <= 16:
        return None
    return Table(start, entries, bits)


def _entries(data: object, count: int, little: bool) -> NDArray[Any] | None:
    """Return `count` entries from bytes or from 16-bit words; 8-bit entries may be packed two to a word."""
    if isinstance(data, bytes):
        wide = len(data) >= 2 * count
        found: NDArray[Any] = np.frombuffer(
            data, ("<u2" if little else ">u2") if wide else "u1", count=min(count, len(data))
        )
        return found.astype(np.uint16) if len(found) == count else None
    try:
        words_ = np.asarray(data, dtype=np.int64).ravel() & 0xFFFF
    except READ_ERRORS:
        return None
    if len(words_) < count:
        words_ = np.stack([words_ & 0xFF, words_ >> 8], axis=1).ravel()
    return words_[:count].astype(np.uint16) if len(words_) >= count else None


def modality_of(dataset: Dataset, groups: FrameGroups, index: int, little: bool) -> Modality:
    """Return the modality transformation of one frame: its own functional group's, else the file's.

    Raises:
        RefusedError: `dicom.bad_lut` when there is a modality LUT that cannot be read: without it the values
            are not what the file says.
    """
    lut = first(dataset, "ModalityLUTSequence")
    if lut is not None:
        table = read_table(lut, little)
        if table is None:
            raise RefusedError("dicom.bad_lut", "the Modality LUT Sequence does not hold the entries that it describes")
        return Modality(table=table)
    holder = groups.macro("PixelValueTransformationSequence", index) or dataset
    slope, intercept = number(holder, "RescaleSlope"), number(holder, "RescaleIntercept")
    usable = slope is not None and intercept is not None and 0 < abs(slope) < LARGEST_FACTOR > abs(intercept)
    if slope is None or intercept is None or not usable:
        return Modality()
    return Modality(slope=slope, intercept=intercept, rescaled=True)


def header_voi(dataset: Dataset, groups: FrameGroups, index: int, little: bool) -> Voi | None:
    """Return the VOI transformation the file states for a frame: the LUT, else the first window, else None.

    A table that cannot be read, a width that is zero, negative or below 1 for LINEAR, and an unknown function
    count as not stated (PS3.3 C.11.2).
    """
    holder = groups.macro("FrameVOILUTSequence", index) or dataset
    table = read_table(first(holder, "VOILUTSequence"), little)
    if table is not None:
        return _table_voi(table)
    center, width = number(holder, "WindowCenter"), number(holder, "WindowWidth")
    function = next(iter(words(holder, "VOILUTFunction")), "LINEAR")
    if center is None or width is None or width <= 0 or (function == "LINEAR" and width < 1):
        return None
    if function not in ("LINEAR", "LINEAR_EXACT", "SIGMOID") or max(abs(center), width) > LARGEST_FACTOR:
        return None
    shape: VoiFunction = function  # type: ignore[assignment]
    window = Window(center=center, width=width, name="header")
    return Voi(window, lambda values: apply_linear(values, center, width, function=shape))


def _table_voi(table: Table) -> Voi:
    """Return a VOI LUT as a transformation; the window recorded is the span of its inputs."""
    span = max(len(table.entries) - 1, 1)
    top = max((1 << table.bits) - 1, int(table.entries.max()))  # entries may use more bits than they admit
    window = Window(center=table.start + span / 2, width=span, name="voi_lut")
    return Voi(window, lambda values: np.rint(table(values) * (EIGHT_BITS / top)).astype(np.uint8))


def own_voi(rule: WindowRule, hounsfield: bool, body_part: str | None) -> Voi | None:
    """Return the window a rule asks for, for `header` the body part's preset; presets only for HU."""
    window = explicit_window(rule)
    if window is None and hounsfield and body_part is not None:
        found = vocabulary("anatomy").from_dicom(body_part)
        window = None if found is None else explicit_window(vocabulary("anatomy")[found].window or "header")
    if window is None or (window.name in PRESETS and not hounsfield):
        return None
    chosen = window
    return Voi(chosen, lambda values: show(values, chosen))


def plain_voi(layout: PixelLayout, modality: Modality) -> Voi | None:
    """Return how values that need no window are shown: 8 bits as stored, fewer over the full range."""
    if layout.signed or layout.bits_stored > 8 or not modality.identity:
        return None
    if layout.bits_stored == 8:
        return Voi(None, lambda values: values.astype(np.uint8))
    top = (1 << layout.bits_stored) - 1
    window = Window(center=top / 2, width=top, name="full_range")
    return Voi(window, lambda values: show(values, window))


def is_hounsfield(dataset: Dataset, groups: FrameGroups, index: int, modality: Modality, ct_class: bool) -> bool:
    """Say whether the modality values of a frame are Hounsfield units.

    Rescale Type (0028,1054) HU says so. Where it is absent the CT image classes mean HU: the attribute is
    required when the unit is another one (PS3.3 C.8.2.1, C.8.15.3.10). Without slope and intercept the values
    are the device's own; a localizer holds projections, whose values are no attenuation of a place, whatever
    they are called; and multi-energy images may hold any quantity.
    """
    if text(dataset, "Modality") != "CT" or not modality.rescaled or "LOCALIZER" in words(dataset, "ImageType"):
        return False
    holder = groups.macro("PixelValueTransformationSequence", index) or dataset
    unit = words(holder, "RescaleType")
    if unit:
        return unit == ("HU",)
    return ct_class and words(dataset, "MultienergyCTAcquisition") != ("YES",)


def padding_of(dataset: Dataset) -> tuple[float, float] | None:
    """Return the (least, greatest) stored value that stands for no pixel (PS3.3 C.7.5.1.1.2), or None."""
    pad = number(dataset, "PixelPaddingValue")
    limit = number(dataset, "PixelPaddingRangeLimit")
    if pad is None:
        return None
    return min(pad, pad if limit is None else limit), max(pad, pad if limit is None else limit)


def render(
    stored: NDArray[Any],
    layout: PixelLayout,
    modality: Modality,
    voi: Voi | None,
    padding: tuple[float, float] | None,
) -> Grey:
    """Return a frame as greys; without a `voi` by the percentiles of its own values, padding left out."""
    ramp, place = _ramp(stored)
    values = modality(ramp)
    if voi is None:
        frame = values if place is None else values[place]
        inside = frame if padding is None else frame[(stored < padding[0]) | (stored > padding[1])]
        window = percentile_window(inside if inside.size else frame)
        voi = Voi(window, lambda shown: show(shown, window))
    greys = voi.paint(values)
    if layout.photometric == "MONOCHROME1":  # PS3.3 C.7.6.3.1.2: the least value is white
        greys = EIGHT_BITS - greys
    if place is None:
        return Grey(greys, values, voi.window)
    return Grey(greys[place], values[place], voi.window)


def _ramp(stored: NDArray[Any]) -> tuple[NDArray[Any], NDArray[np.intp] | None]:
    """Return all values between a frame's least and greatest, and each pixel's place; or the frame itself."""
    if stored.dtype.kind == "f":
        return stored, None
    low, high = int(stored.min()), int(stored.max())
    if high - low >= TABLE_SPAN or high - low >= stored.size:
        return stored, None
    return np.arange(low, high + 1, dtype=np.int64), stored.astype(np.intp) - low


def render_palette(stored: NDArray[Any], dataset: Dataset, little: bool) -> Greys:
    """Return palette indices (H, W) as RGB (H, W, 3) (PS3.3 C.7.6.3.1.5, C.7.6.3.1.6; segmented: C.7.9.2).

    Raises:
        RefusedError: `dicom.bad_lut` when the palettes are missing or do not hold the entries that they
            describe.
    """
    colours = ("Red", "Green", "Blue")
    described = numbers(dataset, "RedPaletteColorLookupTableDescriptor")
    if len(described) == 3:
        count, start, bits = int(described[0]) & 0xFFFF or 1 << 16, int(described[1]), int(described[2])
        data = [value(dataset, f"{colour}PaletteColorLookupTableData") for colour in colours]
        entries = [_entries(part, count, little) for part in data]
        if all(part is None for part in data):
            entries = _segmented(dataset, start, count)
        if all(entry is not None for entry in entries):
            palette = np.stack([entry for entry in entries if entry is not None], axis=1)
            if bits > 8 and palette.max() > EIGHT_BITS:  # the high byte, whether entries are v * 257 or v * 256
                palette = palette >> 8
            return np.ascontiguousarray(Table(start, palette.astype(np.uint8), 8)(stored))
    raise RefusedError("dicom.bad_lut", "the palette does not hold the entries that it describes")


def _segmented(dataset: Dataset, start: int, count: int) -> list[NDArray[Any] | None]:
    """Return the three expanded segmented palettes; pydicom expands them."""
    ramp = np.arange(start, start + count, dtype=np.int64)
    try:
        table = apply_color_lut(ramp, dataset)
    except READ_ERRORS:
        return [None, None, None]
    return [table[:, channel].astype(np.uint16) for channel in range(3)]


def render_colour(stored: NDArray[Any], layout: PixelLayout) -> tuple[Greys, Window | None]:
    """Return RGB (H, W, 3): 8 bits as stored, other depths scaled by Bits Stored, window `full_range`."""
    if layout.bits_stored == 8 and stored.dtype == np.uint8:
        return np.ascontiguousarray(stored), None
    top = (1 << layout.bits_stored) - 1
    window = Window(center=top / 2, width=top, name="full_range")
    return show(stored, window), window
