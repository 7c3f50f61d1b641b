"""What a plan knows of one image before anything is decoded: a `Record` and the marks that belong to it.

A record is metadata only and travels through the plan file as JSON. Labels in it are already vocabulary ids,
patient and study already pseudonyms.
"""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, FiniteFloat

from medtrinity25m.registry import Split
from medtrinity25m.triplet import Correction, Frozen, Side, View, Window

XYXYFloat = tuple[FiniteFloat, FiniteFloat, FiniteFloat, FiniteFloat]


class BoxMark(Frozen):
    """A drawn box, corners (x0, y0, x1, y1) in the stored image's pixels or in fractions of its size."""

    kind: Literal["box"] = "box"
    label: str
    xyxy: XYXYFloat
    unit: Literal["pixel", "fraction"] = "pixel"


class PolygonMark(Frozen):
    """A filled outline: rings of x, y, x, y, … in stored pixels (pixel centres at integers).

    `even_odd`: a ring within a ring is a hole (DICOM contours). `union`: every ring is filled (COCO parts).
    """

    kind: Literal["polygon"] = "polygon"
    label: str
    rings: tuple[tuple[FiniteFloat, ...], ...]
    rule: Literal["even_odd", "union"] = "even_odd"


class RleMark(Frozen):
    """A COCO run-length mask: `counts` run down columns, background first; compressed ones are decoded on reading."""

    kind: Literal["rle"] = "rle"
    label: str
    size: tuple[int, int]
    counts: tuple[int, ...]


class FileMark(Frozen):
    """A mask that lies in a file: an image, a NIfTI label volume, a NumPy array, or frames of a DICOM SEG.

    `labels` maps the decimal value of a pixel to the vocabulary ids of the regions it belongs to, for `classes`;
    `label` is the one label of the other kinds. `index` holds the page, slice or frames to read (several frames of
    a SEG are united).
    """

    kind: Literal["file"] = "file"
    path: str
    sha256: str = ""
    """Empty until the plan has read the file."""
    mask_kind: Literal["binary", "classes", "instances", "segment"]
    label: str | None = None
    labels: dict[str, tuple[str, ...]] = {}
    index: tuple[int, ...] = (0,)
    channel: int | None = None
    """Channel of a stack of arrays with one instance map a channel."""


class OverlayMark(Frozen):
    """A closed contour in a DICOM overlay plane (PS3.3 C.9.2) of the image itself."""

    kind: Literal["overlay"] = "overlay"
    label: str
    group: int


Mark = Annotated[BoxMark | PolygonMark | RleMark | FileMark | OverlayMark, Field(discriminator="kind")]


class Record(Frozen):
    """One image to be read: where it lies, what it is, what is marked on it, where its row goes."""

    id: str
    source: str
    path: str
    """The file to read, POSIX style, relative to the source's root."""
    sha256: str
    index: int = 0
    """Frame, page or slice within the file."""
    locator: str
    modality: str
    view: View | None = None
    laterality: Side | None = None
    organs: tuple[str, ...] = ()
    diseases: tuple[str, ...] = ()
    disease: str = "unknown"
    patient: str | None = None
    study: str | None = None
    slice_index: int | None = None
    stack: str | None = None
    """Pseudonym of the series a plane belongs to, where that lies in many files or frames."""
    corrections: tuple[Correction, ...] = ()
    text: str | None = None
    """What was published with the image, word for word."""
    marks: tuple[Mark, ...] = ()
    drawn_size: tuple[int, int] | None = None
    """(height, width) of the image that boxes and outlines were drawn on, where the annotation says it."""
    group: str
    """Pseudonym of what may not be torn apart by a split: the patient, else the study, else the file."""
    official: Split | None = None
    """The split the source's authors gave it."""
    split: Split | None = None
    """The split it goes to; None until the plan has seen every record."""
    cost: int = 0
    """Upper bound of the encoded image's bytes, for cutting shards."""


class Plane(Frozen):
    """One decoded image, as a format's reader gives it.

    Args:
        pixels: (H, W) or (H, W, 3) uint8, oriented for display (EXIF orientation applied).
        encoded: the file's own bytes when they can be shipped unchanged.
        values: (H, W) float32 behind the pixels, where they mean something calibrated.
        orientation: EXIF orientation (1–8) that was applied; marks drawn on the stored image need the same.
        image_left: side of the patient at the left edge of the image.
    """

    pixels: NDArray[np.uint8]
    encoded: bytes | None = None
    values: NDArray[np.float32] | None = None
    values_unit: Literal["HU"] | None = None
    spacing_mm: tuple[float, float] | None = None
    window: Window | None = None
    view: View | None = None
    laterality: Side | None = None
    image_left: Side | None = None
    orientation: int = Field(default=1, ge=1, le=8)
