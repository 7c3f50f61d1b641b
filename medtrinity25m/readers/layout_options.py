"""What a source's `[layout]` table may say, one model a layout.

Paths are patterns relative to the source's root. `{name}` stands for part of one path component and gives
the file that value: `label`, `case`, `patient`, `study`, `split`, `view`, `laterality`, `modality` and `organ` are
understood, any other name is free; `{name:t1|t2}` stands for one of these words. `*` stands for anything inside one
component, `**` for any number of components.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field, FiniteFloat, field_validator, model_validator

from medtrinity25m.triplet import Frozen

MaskKind = Literal["binary", "classes", "instances"]


class Columns(Frozen):
    """What the columns of a table say about an image.

    Each is a column's name or a template over columns: `{ImageDir}/{ImageID}`; `data.x` reaches into a cell that
    holds JSON. `label` is split at `label_separator`, and `label_strip` taken off the ends of each part;
    `label_columns` are columns with 1/true/yes where present. `box_label` names the box's region, else the label does.
    `text` was published with the image (a report, a figure's caption) and is kept as `reference_text`.
    """

    label: str | None = None
    label_separator: str | None = None
    label_strip: str | None = None
    label_columns: tuple[str, ...] = ()
    box: tuple[str, ...] = ()
    box_format: Literal["xywh", "xyxy", "cxcywh"] = "xywh"
    box_unit: Literal["pixel", "fraction"] = "pixel"
    box_label: str | None = None
    split: str | None = None
    view: str | None = None
    laterality: str | None = None
    text: str | None = None

    @field_validator("box", "label_columns", mode="before")
    @classmethod
    def _one_column_is_a_list_of_one(cls, columns: object) -> object:
        return (columns,) if isinstance(columns, str) else columns

    @model_validator(mode="after")
    def _box_columns(self) -> Columns:
        if len(self.box) not in (0, 1, 4):
            raise ValueError("box names four columns, or one column that holds four numbers")
        return self


class About(Columns):
    """A table whose lines speak of images that another rule lists: `key` (a column or template) says of which.

    `by` says what the key is: a DICOM UID, a patient, a path, or the file's name without suffix.
    """

    file: str
    records: str | None = None
    key: str
    by: Literal["sop_uid", "series_uid", "study_uid", "patient", "path", "stem"]


class Told(Frozen):
    """A layout whose files tables may speak of."""

    tables: tuple[About, ...] = ()


class FolderPerClass(Told):
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


class ImageMask(Masks, Told):
    """Images and masks side by side, joined by the fields both patterns have; several masks may share a case.

    A `{label}` in `masks` names the region.
    """

    kind: Literal["image_mask"]
    images: str = "images/{case}.*"
    masks: str = "masks/{case}.*"


class NiftiPairs(Masks, Told):
    """NIfTI volumes and label volumes, joined by the fields both patterns have."""

    kind: Literal["nifti_pairs"]
    images: str = "imagesTr/{case}_0000.nii.gz"
    masks: str | None = None
    mask_kind: MaskKind = "classes"


class Join(Frozen):
    """Another table whose columns are added to the rows that agree in `on`: columns of both, or left = "right"."""

    file: str
    on: tuple[str, ...] | dict[str, str]
    records: str | None = None

    @property
    def pairs(self) -> dict[str, str]:
        """Return the columns that must agree, of the first table → of this one."""
        return self.on if isinstance(self.on, dict) else {name: name for name in self.on}


class Table(Masks, Columns):
    """A table with a line per image, or several lines (one per box) for one image.

    `file` is a pattern; CSV, TSV, JSON and JSON Lines (each also `.gz`) and Parquet are read. Of a JSON object,
    `records` is the (dotted) key of the list of rows; an object of objects has a row each, its key in `_key`.
    `parse` splits a column's text into columns by a pattern. `image` and `mask` may hold `*`, also over the members
    of `archives` (`**/{file_name}`); `embedded` says that the column `image` of a Parquet file holds the bytes.
    """

    kind: Literal["table"]
    file: str
    records: str | None = None
    parse: dict[str, str] = {}
    join: tuple[Join, ...] = ()
    image: str
    embedded: bool = False
    archives: str | None = None
    """Pattern of the tar and zip archives the images lie in."""
    mask: str | None = None
    boxes_file: str | None = None
    """Template of a JSON file with the boxes of an image: a list of `{"label": [x, y, width, height]}`."""
    box_names: tuple[str, ...] = ()
    """Patterns of image file names that hold a box, as `{x}`, `{y}`, `{w}` and `{h}`."""
    patient: str | None = None
    study: str | None = None
    modality: str | None = None
    modality_columns: dict[str, str] = {}
    """Columns with 1/true/yes where an image has a modality, and which one that is."""
    modality_words: str | None = None
    """Column whose text names the modality, where nothing better says it; see `readers.modality_words`."""
    organ: str | None = None


class Coco(Frozen):
    """COCO detection JSON: boxes, polygons and RLE masks. `images` is a template over a COCO image entry."""

    kind: Literal["coco"]
    annotations: str = "annotations/*.json"
    """Pattern of the JSON files; a `{split}` in it gives the official split."""
    images: str = "images/{file_name}"
    """May use `{split}` and any field of the COCO image entry."""
    patient: str | None = None
    """A field of the COCO image entry, or a template over its fields."""


class DicomTree(Told):
    """Any folder of DICOM files, in any naming; SEG and RTSTRUCT files mark the series that they reference."""

    kind: Literal["dicom_tree"]
    overlay_label: str | None = None
    """When given, closed contours in overlay planes (60xx) are regions with this label."""


class Arrays(Frozen):
    """Stacks of images in NumPy files, read without pickle.

    Of an `.npz`, `images` and `labels` are patterns of its members; of an `.npy`, `file` holds the images, and `labels`
    and `masks` are paths. `label_prefix` is a template over path fields put before each label's value; rows of a
    two-dimensional 0/1 array have the labels whose column is 1. `masks` has one instance map a channel, called
    `mask_labels`; channels without a name are background.
    """

    kind: Literal["arrays"]
    file: str
    images: str | None = None
    labels: str | None = None
    label_prefix: str = ""
    masks: str | None = None
    mask_labels: tuple[str, ...] = ()


class Wsi(Told):
    """Whole-slide images, cut into the tiles that show tissue.

    `mpp` is the wanted µm per pixel, or `magnification` what an objective of that power would show; with neither
    tiles are cut from the slide's own pixels. `tile_px` is their side at that resolution, `min_tissue` the share of a
    tile that must be tissue.
    """

    kind: Literal["wsi"]
    images: str = "**/*.svs"
    mpp: FiniteFloat | None = Field(default=None, gt=0)
    magnification: FiniteFloat | None = Field(default=None, gt=0)
    tile_px: int = Field(default=512, ge=32, le=4096)
    min_tissue: FiniteFloat = Field(default=0.5, ge=0, le=1)

    @model_validator(mode="after")
    def _one_resolution(self) -> Wsi:
        if self.mpp is not None and self.magnification is not None:
            raise ValueError("mpp and magnification both say how fine the tiles are; keep one")
        return self


class Video(Told):
    """Videos, of which the frame shown every `every_s` seconds becomes a plane."""

    kind: Literal["video"]
    images: str = "**/*.mp4"
    every_s: FiniteFloat = Field(ge=0.001)
    """Not below a millisecond, which is how finely the locators of frames tell them apart."""


Layout = FolderPerClass | ImageMask | NiftiPairs | Table | Coco | DicomTree | Arrays | Wsi | Video
LAYOUTS = (FolderPerClass, ImageMask, NiftiPairs, Table, Join, About, Coco, DicomTree, Arrays, Wsi, Video)
"""Every model whose keys may stand in a `[layout]` table."""
