"""Everything a row knows about itself, in the form that checking needs: from a sample in the making or a shipped row.

Frames and units are those of `medtrinity25m.triplet`. A row of `metadata/` has no pixels and no masks: what needs them
cannot be decided there. Pictures and masks of a row of `data/` are decoded when a statement first asks for them.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from medtrinity25m.description.scene import Gray, Scene, luminance
from medtrinity25m.knowledge.snippet import Snippet
from medtrinity25m.registry import RESERVED, vocabulary
from medtrinity25m.release.png import decode_mask
from medtrinity25m.roi.geometry import Mask, bins
from medtrinity25m.triplet import ROI, Sample, Window

_ANGLES = np.deg2rad(np.arange(0, 180, 3))  # a diameter measured 1.5 degrees off its axis is short by 0.03 %


@dataclass(frozen=True, eq=False)
class Evidence:
    """What a row holds. `rois` may lack masks that the row has: `mask` gives them.

    Args:
        width, height: of the image, in pixels.
        encoded: bytes of the image file, when the row is a shipped one with pixels.
        masks: bytes of each region's mask, None where the region is a box or the row holds no masks.
        pixelless: the row was read without pixels and masks, so a region without mask may have one.
    """

    modality: str
    width: int
    height: int
    rois: tuple[ROI, ...] = ()
    view: str | None = None
    laterality: str | None = None
    image_left: str | None = None
    organs: tuple[str, ...] = ()
    disease: str = "unknown"
    diseases: tuple[str, ...] = ()
    spacing_mm: tuple[float, float] | None = None
    window: Window | None = None
    experts: tuple[str, ...] = ()
    passages: tuple[Snippet, ...] = ()
    shown: Gray | None = None
    encoded: bytes | None = None
    masks: tuple[bytes | None, ...] = ()
    pixelless: bool = False

    @classmethod
    def of_sample(cls, sample: Sample, passages: Sequence[Snippet] = ()) -> Evidence:
        """Return what a decoded sample knows; without pixels it has no size, and no place can be checked."""
        experts = sample.asked if sample.provenance is None else sample.provenance.experts
        return cls(
            width=sample.width,
            height=sample.height,
            rois=sample.rois,
            experts=experts,
            passages=tuple(passages),
            shown=None if sample.pixels is None else luminance(sample.pixels),
            pixelless=sample.pixels is None,
            window=sample.window,
            **{name: getattr(sample, name) for name in _COLUMNS},
        )

    @classmethod
    def of_row(cls, row: Mapping[str, Any], passages: Sequence[Snippet] = ()) -> Evidence:
        """Return what a row of `data/` or `metadata/` knows, a dict of plain Python values."""
        rois = list(row.get("rois") or ())
        image = row.get("image")
        window = row.get("window")
        known: dict[str, Any] = {name: row.get(name) for name in _COLUMNS}
        known |= {name: tuple(known[name] or ()) for name in ("organs", "diseases")}
        spacing = known["spacing_mm"]
        known["spacing_mm"] = None if not spacing or None in spacing else (float(spacing[0]), float(spacing[1]))
        known["disease"] = known["disease"] or "unknown"
        return cls(
            width=int(row["width"]),
            height=int(row["height"]),
            rois=tuple(_roi(roi) for roi in rois),
            experts=tuple((row.get("provenance") or {}).get("experts") or ()),
            passages=tuple(passages),
            encoded=None if not image else image.get("bytes"),
            masks=tuple((roi.get("mask") or {}).get("bytes") for roi in rois),
            pixelless=not image or image.get("bytes") is None,
            window=Window(**window) if window and window.get("width") else None,
            **known,
        )

    @cached_property
    def gray(self) -> Gray | None:
        """Gray levels of the image, (H, W) uint8, or None without pixels."""
        if self.encoded is None:
            return self.shown
        from PIL import Image  # rows without pixels need no decoder

        with Image.open(io.BytesIO(self.encoded)) as image:
            return np.asarray(image.convert("L"))

    @cached_property
    def scene(self) -> Scene | None:
        """What measuring needs, masks included, or None without pixels."""
        if self.gray is None:
            return None
        rois = tuple(roi.with_(mask=self.mask(index)) for index, roi in enumerate(self.rois))
        return Scene(self.gray, rois, self.spacing_mm, None, self.window)

    def mask(self, index: int) -> Mask | None:
        """Return a region's mask cropped to its box, or None where the row gives only the box."""
        roi = self.rois[index]
        if roi.mask is not None or index >= len(self.masks) or self.masks[index] is None:
            return roi.mask
        x0, y0, x1, y1 = roi.xyxy
        return decode_mask(self.masks[index] or b"")[y0:y1, x0:x1]

    @cached_property
    def called(self) -> frozenset[str]:
        """Diseases and findings that the row is labeled with, regions' labels among them."""
        known = {self.disease, *self.diseases, *(roi.label for roi in self.rois)}
        return frozenset(name for name in known - set(RESERVED) if name in vocabulary("disease"))

    @cached_property
    def of_organs(self) -> frozenset[str]:
        """Anatomy that the row is about: its organs and regions' labels; else where its disease occurs."""
        anatomy, disease = vocabulary("anatomy"), vocabulary("disease")
        known = {*self.organs, *(roi.label for roi in self.rois)}
        organs = frozenset(name for name in known if name in anatomy)
        if self.organs:
            return organs
        return organs | {organ for label in sorted(self.called) for organ in disease[label].organs}

    def bins(self, index: int) -> tuple[int, int]:
        """Return (horizontal, vertical) bin of a region, 0 to 4, by the rule of `roi.geometry`."""
        return bins(self.rois[index].xyxy, self.height, self.width)

    def half(self, index: int) -> str:
        """Return `left`, `right` or `both`: the half of the image a region's box lies in."""
        x0, _, x1, _ = self.rois[index].xyxy
        return "left" if 2 * x1 <= self.width else "right" if 2 * x0 >= self.width else "both"

    def sides(self, index: int, *, scaled: bool) -> tuple[float, float] | None:
        """Return width and height of a region's box in millimeters (None without spacing) or in pixels."""
        x0, y0, x1, y1 = self.rois[index].xyxy
        if not scaled:
            return float(x1 - x0), float(y1 - y0)
        if self.spacing_mm is None:
            given = self.rois[index].size_mm
            return None if given is None else (float(given[0]), float(given[1]))
        return (x1 - x0) * self.spacing_mm[1], (y1 - y0) * self.spacing_mm[0]

    @cached_property
    def covered(self) -> float:
        """Share of the image that all regions cover together, 0 to 1: of the masks, of boxes where there is none."""
        covered = np.zeros((self.height, self.width), dtype=np.bool_)
        for index, roi in enumerate(self.rois):
            x0, y0, x1, y1 = roi.xyxy
            mask = self.mask(index)
            covered[y0:y1, x0:x1] |= True if mask is None else mask
        return float(covered.mean())

    @cached_property
    def _known(self) -> dict[tuple[str, ...], Any]:
        """What was measured once: a text asks the same of a region again and again."""
        return {}

    def once(self, key: tuple[str, ...], measure: Callable[[], Any]) -> Any:
        """Return what `measure` gives, measured at the first call with this key."""
        if key not in self._known:
            self._known[key] = measure()
        return self._known[key]

    def diameters(self, index: int, *, scaled: bool) -> tuple[float, float] | None:
        """Return longest and shortest diameter of a region's mask (calipers over all directions), None for a box."""
        found: tuple[float, float] | None = self.once(
            ("diameters", str(index), str(scaled)), lambda: self._diameters(index, scaled=scaled)
        )
        return found

    def _diameters(self, index: int, *, scaled: bool) -> tuple[float, float] | None:
        """Measure the diameters of a region."""
        mask = self.mask(index)
        if mask is None or (scaled and self.spacing_mm is None):
            return None
        down, across = self.spacing_mm if scaled and self.spacing_mm is not None else (1.0, 1.0)
        rim = mask & ~_eroded(mask)
        rows, columns = np.nonzero(rim)
        places = np.outer(np.cos(_ANGLES), columns * across) + np.outer(np.sin(_ANGLES), rows * down)
        pixel = np.abs(np.cos(_ANGLES)) * across + np.abs(np.sin(_ANGLES)) * down
        spans = places.max(axis=1) - places.min(axis=1) + pixel
        return float(spans.max()), float(spans.min())

    def diagonal(self, index: int, *, scaled: bool) -> float | None:
        """Return the diagonal of a region's box, which nothing in it is longer than."""
        sides = self.sides(index, scaled=scaled)
        return None if sides is None else math.hypot(*sides)


_COLUMNS = ("modality", "view", "laterality", "image_left", "organs", "disease", "diseases", "spacing_mm")


def _roi(row: Mapping[str, Any]) -> ROI:
    """Return a shipped region without its mask."""
    x, y, width, height = row["bbox"]
    size = row.get("size_mm")
    return ROI(
        xyxy=(x, y, x + width, y + height),
        label=row["label"],
        origin=row["origin"],
        expert=row.get("expert"),
        score=row.get("score"),
        count=row.get("count") or 1,
        area_fraction=row["area_fraction"],
        position=row.get("position") or "",
        size_mm=None if not size or None in size else (size[0], size[1]),
        text=row.get("text"),
    )


def _eroded(mask: Mask) -> Mask:
    """Return the pixels of a mask whose four neighbors are in it too."""
    padded = np.pad(mask, 1)
    inner: Mask = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:] & mask
    return inner
