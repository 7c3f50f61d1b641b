"""What a source's `[layout]` table may say, one model a layout.

Paths are patterns relative to the source's root. `{name}` stands for part of one path component and gives
the file that value: `label`, `case`, `patient`, `study`, `split`, `view` and `laterality` are understood,
any other name is free. `*` stands for anything inside one component, `**` for any number of components.
"""

from __future__ import annotations

from typing import Literal

from pydantic import field_validator, model_validator

from medtrinity25m.triplet import Frozen

MaskKind = Literal["binary", "classes", "instances"]


class FolderPerClass(Frozen):
    """One folder a class: `covid/img1.png`, `normal/img2.png`."""

    kind: Literal["folder_per_class"]
    images: str = "{label}/**"


class Masks(Frozen):
    """How mask files are read.

    `binary`: every non-zero pixel is the region called `mask_label`. `classes`: each value is a label, looked up in
    `[labels]` as a decimal string. `instances`: each non-zero value is one instance of `mask_label`.
    """

    mask_kind: MaskKind = "binary"
    mask_label: str | None = None

    @model_validator(mode="after")
    def _label_where_needed(self) -> Masks:
        if self.mask_kind == "classes" and self.mask_label is not None:
            raise ValueError('mask_label does not go with mask_kind = "classes"; map the values in [labels]')
        return self


class ImageMask(Masks):
    """Images and masks side by side, joined by `{case}`; several masks may share a case."""

    kind: Literal["image_mask"]
    images: str = "images/{case}.*"
    masks: str = "masks/{case}.*"


class NiftiPairs(Masks):
    """NIfTI volumes and label volumes, joined by `{case}`."""

    kind: Literal["nifti_pairs"]
    images: str = "imagesTr/{case}_0000.nii.gz"
    masks: str | None = None
    mask_kind: MaskKind = "classes"


class Table(Masks):
    """A CSV, TSV or JSON Lines file with a line per image, or several lines (one per box) for one image.

    `image`, `mask` and `patient` are a column's name or a template over columns: `images/{id}.png`. `label` names a
    column (split at `label_separator` when given); `label_columns` are columns with 1/true/yes where present.
    """

    kind: Literal["table"]
    file: str
    image: str
    mask: str | None = None
    label: str | None = None
    label_separator: str | None = None
    label_columns: tuple[str, ...] = ()
    box: tuple[str, ...] = ()
    box_format: Literal["xywh", "xyxy", "cxcywh"] = "xywh"
    box_unit: Literal["pixel", "fraction"] = "pixel"
    patient: str | None = None
    study: str | None = None
    split: str | None = None
    view: str | None = None
    laterality: str | None = None
    modality: str | None = None
    organ: str | None = None

    @field_validator("box", "label_columns", mode="before")
    @classmethod
    def _one_column_is_a_list_of_one(cls, columns: object) -> object:
        return (columns,) if isinstance(columns, str) else columns

    @model_validator(mode="after")
    def _box_columns(self) -> Table:
        if len(self.box) not in (0, 1, 4):
            raise ValueError("box names four columns, or one column that holds four numbers")
        return self


class Coco(Frozen):
    """COCO detection JSON: boxes, polygons and RLE masks. `images` is a template over a COCO image entry."""

    kind: Literal["coco"]
    annotations: str = "annotations/*.json"
    """Pattern of the JSON files; a `{split}` in it gives the official split."""
    images: str = "images/{file_name}"
    """May use `{split}` and any field of the COCO image entry."""
    patient: str | None = None
    """A field of the COCO image entry, or a template over its fields."""


class DicomTree(Frozen):
    """Any folder of DICOM files, in any naming; SEG and RTSTRUCT files mark the series that they reference."""

    kind: Literal["dicom_tree"]
    overlay_label: str | None = None
    """When given, closed contours in overlay planes (60xx) are regions with this label."""


Layout = FolderPerClass | ImageMask | NiftiPairs | Table | Coco | DicomTree
LAYOUTS = (FolderPerClass, ImageMask, NiftiPairs, Table, Coco, DicomTree)
