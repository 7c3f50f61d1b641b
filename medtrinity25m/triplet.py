"""The two records: `Sample`, a triplet in the making, and `Triplet`, exactly the shipped columns.

Both are frozen and refuse unknown fields; a change is a validated copy, `sample.with_(caption=...)`.

Frames and units, once for the whole package:

* a pixel is addressed (row, column) in arrays and (x, y) in boxes, x to the right, y down, origin at the
  upper-left corner of the upper-left pixel of `image`;
* a box is `xyxy`, integers, half-open, so `x1 - x0` is its width; COCO `[x, y, width, height]` exists in
  the shipped row only;
* `spacing_mm` is (row, column) as DICOM Pixel Spacing (0028,0030) has it: distance between row centres,
  then between column centres;
* claim spans count characters (Unicode code points) of their field, half-open.

**Why** a ROI keeps its mask as a crop of its box: an image with hundreds of instances would otherwise hold
hundreds of full-size arrays, and every measurement looks at the crop anyway.
"""

from __future__ import annotations

import hashlib
from typing import Annotated, Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

Origin = Literal["mask", "box", "expert", "whole_image"]
Verdict = Literal["supported", "contradicted", "unsupported"]
Side = Literal["left", "right"]
View = Literal["axial", "coronal", "sagittal", "oblique", "frontal", "lateral", "pa", "ap", "cc", "mlo", "oct"]
TextField = Literal["global_text", "local_text", "relation_text", "caption"]


def _xyxy(box: tuple[int, int, int, int]) -> tuple[int, int, int, int]:
    x0, y0, x1, y1 = box
    if not (0 <= x0 < x1 and 0 <= y0 < y1):
        raise ValueError(f"box {box} has no area or a negative corner; xyxy is half-open, x0 < x1 and y0 < y1")
    return box


XYXY = Annotated[tuple[int, int, int, int], AfterValidator(_xyxy)]
"""Integer half-open box (x0, y0, x1, y1) in pixels of `image`."""


class Frozen(BaseModel):
    """Base of the records: immutable, no unknown fields, NumPy arrays allowed."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)

    def with_(self, **changes: Any) -> Self:
        """Return a copy with `changes`, validated as a whole."""
        fields = {name: getattr(self, name) for name in type(self).model_fields}
        return type(self)(**(fields | changes))


class Window(Frozen):
    """Linear grey-scale window that made the 8-bit pixels (DICOM PS3.3 C.11.2.1.2).

    `center` and `width` are in the units of the modality LUT's output (HU on calibrated CT); `name` says
    where they come from: `header`, `lung`, `soft_tissue`, `bone`, `brain`, `percentile`, `full_range`, `voi_lut`,
    or `source` when the source's TOML states them.
    """

    center: float
    width: float = Field(gt=0)
    name: str


class Annotation(Frozen):
    """One mark on the image, made by a person or found by an expert, decoded to pixels of the shipped image.

    Exactly one of `mask` (H, W) bool, `instances` (H, W) int with 0 for background, `box` (float x0, y0, x1, y1,
    may leave the image) is set. `label` is a vocabulary id. `expert` names who found it, `score` (0 to 1) how sure it
    was; a person's mark has neither.
    """

    label: str
    mask: NDArray[np.bool_] | None = None
    instances: NDArray[np.int32] | None = None
    box: tuple[float, float, float, float] | None = None
    expert: str | None = None
    score: float | None = Field(default=None, ge=0, le=1)

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        if sum(part is not None for part in (self.mask, self.instances, self.box)) != 1:
            raise ValueError("an annotation is a mask, an instance map or a box: exactly one")
        return self


class ROI(Frozen):
    """A region of interest. `mask` is the crop of the region to `xyxy`, or None when only a box is known."""

    xyxy: XYXY
    label: str
    origin: Origin
    mask: NDArray[np.bool_] | None = None
    expert: str | None = None
    score: float | None = None
    count: int = Field(default=1, ge=1)
    """How many separate instances the region stands for (1 unless the source asks for one ROI per class)."""
    area_fraction: float = Field(gt=0, le=1)
    """Share of the image's pixels: of the mask where there is one, else of the box."""
    position: str
    """`<horizontal>, <vertical>` by the five-bin rule, in image coordinates."""
    size_mm: tuple[float, float] | None = None
    """Width and height of the box in millimetres, when pixel spacing is known."""
    text: str | None = None

    @model_validator(mode="after")
    def _mask_fits(self) -> Self:
        x0, y0, x1, y1 = self.xyxy
        if self.mask is not None and self.mask.shape != (y1 - y0, x1 - x0):
            raise ValueError(f"mask crop is {self.mask.shape}, its box {self.xyxy} needs {(y1 - y0, x1 - x0)}")
        return self

    def full_mask(self, height: int, width: int) -> NDArray[np.bool_] | None:
        """Return the mask at the image's size, (H, W) bool, or None for a box."""
        if self.mask is None:
            return None
        x0, y0, x1, y1 = self.xyxy
        full = np.zeros((height, width), dtype=np.bool_)
        full[y0:y1, x0:x1] = self.mask
        return full

    def coco(self) -> list[int]:
        """Return COCO `[x, y, width, height]`."""
        x0, y0, x1, y1 = self.xyxy
        return [x0, y0, x1 - x0, y1 - y0]


class Claim(Frozen):
    """One checkable statement: the span `start:end` of `field` says that `attribute` has `value`.

    `evidence` is `measured:<what>`, `metadata:<column>`, `passage:<id>` or `model`. `roi` is an index into
    `rois`, None for statements about the whole image.
    """

    field: TextField
    start: int = Field(ge=0)
    end: int
    attribute: str
    roi: int | None = None
    value: str
    unit: str | None = None
    evidence: str
    verdict: Verdict = "supported"


class Passage(Frozen):
    """A retrieved passage, by id, with the retrieval score."""

    passage_id: str
    score: float


class Quality(Frozen):
    """Scores of the paper's five attributes, 0–2 each, and their sum."""

    modality: float
    structures: float
    roi: float
    texture: float
    relation: float
    total: float


class Provenance(Frozen):
    """What made the text of this row.

    `fallback` is the reason why a model that was asked did not write it (`describer` is `measured` then): a code of
    `description.exchange.Answer`, `mllm.abstained`, or `quality.contradicted` when its text contradicted the row twice.
    `repairs` counts how often the model was shown what its text contradicted.
    """

    describer: str
    model: str | None = None
    prompt_sha256: str | None = None
    reply_sha256: str | None = None
    fallback: str | None = None
    repairs: int = Field(default=0, ge=0)
    experts: tuple[str, ...] = ()
    pipeline_version: str


class Correction(Frozen):
    """One value of a source that its author, or a reader of it, corrected: what was, what is, and who says so."""

    column: Literal["modality", "view", "laterality", "organs", "diseases"]
    was: str
    value: str
    """Values as text, several joined by `, `; the empty string means that nothing is known."""
    by: str


class Facts(Frozen):
    """The columns a sample and a triplet share word for word."""

    id: str
    modality: str
    view: View | None = None
    laterality: Side | None = None
    """The patient's side the image shows, from laterality tags or a laterality column."""
    image_left: Side | None = None
    """Which side of the patient lies at the left edge of the image; None when orientation is unknown."""
    organs: tuple[str, ...] = ()
    diseases: tuple[str, ...] = ()
    disease: str = "unknown"
    corrections: tuple[Correction, ...] = ()
    """What a corrections file changed in the columns above."""
    coarse_caption: str | None = None
    global_text: str | None = None
    local_text: str | None = None
    relation_text: str | None = None
    caption: str | None = None
    reference_text: str | None = None
    """What the source published with the image (report, figure caption, questions and answers): never ours."""
    claims: tuple[Claim, ...] = ()
    knowledge: tuple[Passage, ...] = ()
    quality: Quality | None = None
    provenance: Provenance | None = None
    source: str
    license: str
    patient: str | None = None
    study: str | None = None
    slice_index: int | None = None
    spacing_mm: tuple[float, float] | None = None
    window: Window | None = None


class VolumePlace(Frozen):
    """Where a plane stands in a volume.

    `volume` is the path of its file, or `stack:` and the pseudonym of its series; `index` counts planes as the reader
    of the volume orders them.
    """

    volume: str
    index: int


class Exchange(Frozen):
    """What asking a model about one image took: for the manifest's sums, not shipped with the row."""

    requests: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    contradicted: int = 0
    """Statements of its replies that the row contradicts, the repaired ones too."""


class Sample(Facts):
    """A triplet in the making: the shared facts, the pixels, and what only the pipeline needs.

    Args:
        locator: where the image comes from, stable within its source: `scan.nii.gz#axial=12`.
        pixels: (H, W) or (H, W, 3) uint8, what a viewer shows; None once rejected before decoding.
        encoded: the source file's own bytes when they pass through unchanged, else None.
        values: (H, W) float32 calibrated values behind `pixels` (HU when `values_unit` is `HU`), if any.
        annotations: marks, decoded; `rois` is derived from them.
        asked: experts that were asked where the regions are, those that found none too.
        place: the volume the plane is cut from, if any.
        exchange: what asking a model about it took, if one was asked.
        rejected: reason code, or None; `detail` the sentence beside it.
    """

    locator: str
    pixels: NDArray[np.uint8] | None = None
    encoded: bytes | None = None
    values: NDArray[np.float32] | None = None
    values_unit: Literal["HU"] | None = None
    annotations: tuple[Annotation, ...] = ()
    asked: tuple[str, ...] = ()
    place: VolumePlace | None = None
    exchange: Exchange | None = None
    rois: tuple[ROI, ...] = ()
    rejected: str | None = None
    detail: str | None = None

    @property
    def height(self) -> int:
        """Rows of the image, in pixels."""
        return 0 if self.pixels is None else int(self.pixels.shape[0])

    @property
    def width(self) -> int:
        """Columns of the image, in pixels."""
        return 0 if self.pixels is None else int(self.pixels.shape[1])

    def reject(self, code: str, detail: str) -> Sample:
        """Return this sample marked as refused, its pixels let go."""
        bare = dict.fromkeys(("pixels", "encoded", "values"))
        return self.with_(rejected=code, detail=detail, annotations=(), rois=(), **bare)

    def digest(self) -> str:
        """Return a SHA-256 over every field, arrays included: equal digests mean equal samples."""
        return hashlib.sha256(repr(_canonical(self)).encode()).hexdigest()


def _canonical(value: object) -> object:
    """Reduce records and arrays to what `repr` prints completely."""
    if isinstance(value, np.ndarray):
        return ("array", value.dtype.str, value.shape, hashlib.sha256(value.tobytes()).hexdigest())
    if isinstance(value, BaseModel):
        return {name: _canonical(getattr(value, name)) for name in type(value).model_fields}
    if isinstance(value, tuple | list):
        return [_canonical(item) for item in value]
    return value


class EncodedImage(Frozen):
    """Bytes of an image file, in the shape the `datasets` Image feature stores."""

    bytes: bytes
    path: None = None


class TripletROI(Frozen):
    """A ROI as shipped: COCO box, mask as a 1-bit PNG of the image's size."""

    bbox: tuple[int, int, int, int]
    mask: EncodedImage | None
    label: str
    origin: Origin
    expert: str | None
    score: float | None
    count: int
    area_fraction: float
    position: str
    size_mm: tuple[float, float] | None
    text: str | None


class Triplet(Facts):
    """One shipped row: image, regions of interest, description. The fields are the columns."""

    image: EncodedImage
    width: int = Field(gt=0)
    height: int = Field(gt=0)
    rois: tuple[TripletROI, ...]

    @model_validator(mode="after")
    def _spans_reslice(self) -> Self:
        for claim in self.claims:
            text = getattr(self, claim.field) or ""
            if not claim.start < claim.end <= len(text):
                raise ValueError(
                    f"claim {claim.attribute} spans {claim.start}:{claim.end} of {claim.field} ({len(text)} characters)"
                )
            if claim.roi is not None and not 0 <= claim.roi < len(self.rois):
                raise ValueError(f"claim {claim.attribute} is about roi {claim.roi}; the row has {len(self.rois)}")
        return self
