"""What a DICOM header says about an image: identity, kind, geometry, side, spacing (PS3.3).

Directions are in the patient coordinate system, LPS: +x to the patient's left, +y to the back, +z to the head
(PS3.3 C.7.6.2.1.1). Raw texts are the file's own words; they may identify a patient and belong in no message.

**Why** so many ways to have no spacing: a number under Pixel Spacing is a distance in the patient only for
planes cut through the patient. On a projection it lies at the detector unless somebody calibrated it, on
ultrasound it holds inside a region only. No spacing known means that no millimetre is ever claimed.
"""

from __future__ import annotations

from typing import Literal

from pydicom.dataset import Dataset
from pydicom.uid import UID, ParametricMapStorage, RTDoseStorage, RTStructureSetStorage, SegmentationStorage

from medtrinity25m.readers.dicom_attributes import (
    Cosines,
    FrameGroups,
    Vector,
    cosines,
    first,
    integer,
    items,
    normal,
    number,
    numbers,
    text,
    vector,
    words,
)
from medtrinity25m.readers.dicom_stream import PIXEL_TAGS, Stream, truncated
from medtrinity25m.triplet import Frozen, Side, View

SEGMENTATIONS = (SegmentationStorage, UID("1.2.840.10008.5.1.4.1.1.66.7"))  # the second: label maps, PS3.3 A.51
Kind = Literal["image", "segmentation", "rtstruct", "other"]
Spacing = tuple[float, float]

PROJECTIONS = ("CR", "DX", "RG", "RF", "XA", "MG", "IO", "PX")  # X-ray shadows: sizes are magnified
CROSS_SECTIONS = (
    "CT",
    "MR",
    "PT",
    "NM",
)  # Pixel Spacing is in the patient even where no orientation is given
MAJOR_AXIS = 0.8  # cosine, 37°: a head CT with a tilted gantry (up to 30°) is still called axial
SPACING_MM = (1e-5, 50.0)  # from below any microscope's pixel to above any camera's; what is beyond is damage
MM_PER_CM = 10.0
REGION_2D, REGION_TISSUE, UNIT_CM = 1, 1, 3  # defined terms of PS3.3 C.8.5.5.1.1, .2 and .4
REGION_TRACES = (4, 5)  # waveforms (ECG) and graphics: nothing of the patient is seen there
VIEW_POSITIONS: dict[str, View] = {
    "PA": "pa", "AP": "ap", "LL": "lateral", "RL": "lateral",  # CR and DX: PS3.3 C.8.1.1, C.8.11.5
    "CC": "cc", "MLO": "mlo", "ML": "lateral", "LM": "lateral",  # mammography: PS3.3 C.8.11.7
}  # fmt: skip
"""View Position (0018,5101); decubitus and oblique projections have no word in our views."""

VIEW_CODES: dict[str, View] = {
    "272479007": "pa", "399348003": "ap", "R-10206": "ap", "399033003": "frontal",
    "399067008": "lateral", "R-102CD": "lateral", "399173006": "lateral", "R-10236": "lateral",
    "399198007": "lateral", "399260004": "lateral", "R-10224": "lateral",
    "399352003": "lateral", "R-10228": "lateral",
    "399162004": "cc", "R-10242": "cc", "399368009": "mlo", "R-10226": "mlo",
}  # fmt: skip
"""View Code Sequence (0054,0220): PS3.16 CID 4010 and 4014, SNOMED CT and the older SNOMED RT codes."""

SIDES: dict[str, Side] = {"L": "left", "R": "right"}


class FrameGeometry(Frozen):
    """Where one frame lies.

    Args:
        position: centre of its first pixel, mm, LPS.
        orientation: directions of its rows and columns, unit vectors.
        spacing_mm: (row, column).
    """

    position: Vector | None = None
    orientation: Cosines | None = None
    spacing_mm: Spacing | None = None


class DicomHeader(Frozen):
    """The header of one file; texts are raw, None where absent, empty or unreadable.

    Args:
        view: plane of the first frame, within 37° of the axis; for projections the view they were taken in.
        laterality: the patient's side that is shown: (0020,0062), (0020,0060), (0020,9072); "both" is None.
        image_left: the patient's side at the left edge of the image.
        geometry: one entry a frame; empty for files without pixels.
        spacing_mm: (row, column) of the first frame.
    """

    kind: Kind
    sop_class: str | None
    sop_uid: str | None
    series_uid: str | None
    study_uid: str | None
    frame_of_reference: str | None
    patient_id: str | None
    modality: str | None
    body_part: str | None
    image_type: tuple[str, ...]
    instance_number: int | None
    rows: int
    columns: int
    frames: int
    view: View | None
    laterality: Side | None
    image_left: Side | None
    geometry: tuple[FrameGeometry, ...]
    burned_in: bool
    """Whether the file says that its pixels hold identifying text (0028,0301)."""

    @property
    def localizer(self) -> bool:
        """Whether a CT image is a scout view: a projection, in no unit of its own."""
        return self.modality == "CT" and "LOCALIZER" in self.image_type

    @property
    def position(self) -> Vector | None:
        """Centre of the first pixel of the first frame, mm, LPS."""
        return self.geometry[0].position if self.geometry else None

    @property
    def orientation(self) -> Cosines | None:
        """Directions of rows and columns of the first frame."""
        return self.geometry[0].orientation if self.geometry else None

    @property
    def spacing_mm(self) -> Spacing | None:
        """Spacing of the first frame, (row, column)."""
        return self.geometry[0].spacing_mm if self.geometry else None


def kind_of(stream: Stream) -> Kind:
    """Return what a file is for.

    Raises:
        RefusedError: `dicom.truncated` when its SOP class is an image's and there are no pixel data, or a
            structure set's and there are no contours: a header cut between two elements looks like that.
    """
    has_pixels = any(tag in stream.elements for tag in PIXEL_TAGS)
    if stream.sop_class == RTStructureSetStorage:
        if "ROIContourSequence" not in stream.dataset:
            raise truncated("before the contours of the structure set")
        return "rtstruct"
    if not has_pixels and _is_image_class(stream.sop_class):
        raise truncated("before the pixel data that its SOP class requires")
    if stream.sop_class in SEGMENTATIONS:
        return "segmentation"
    return "image" if has_pixels else "other"


def _is_image_class(sop_class: UID | None) -> bool:
    others = (*SEGMENTATIONS, RTDoseStorage, ParametricMapStorage)
    return sop_class is not None and ("Image Storage" in sop_class.name or sop_class in others)


def read_header(stream: Stream, kind: Kind, size: tuple[int, int, int]) -> DicomHeader:
    """Return the header; `size` is (frames, rows, columns) as checked with the pixels, zeros without any."""
    dataset, groups = stream.dataset, FrameGroups(stream.dataset)
    modality, image_type = text(dataset, "Modality"), words(dataset, "ImageType")
    localizer = modality == "CT" and "LOCALIZER" in image_type
    geometry = _geometry(dataset, groups, size[0], modality, localizer)
    orientation = geometry[0].orientation if geometry else None
    return DicomHeader(
        kind=kind,
        sop_class=None if stream.sop_class is None else str(stream.sop_class),
        sop_uid=text(dataset, "SOPInstanceUID"),
        series_uid=text(dataset, "SeriesInstanceUID"),
        study_uid=text(dataset, "StudyInstanceUID"),
        frame_of_reference=text(dataset, "FrameOfReferenceUID"),
        patient_id=text(dataset, "PatientID"),
        modality=modality,
        body_part=text(dataset, "BodyPartExamined"),
        image_type=image_type,
        instance_number=integer(dataset, "InstanceNumber"),
        rows=size[1],
        columns=size[2],
        frames=size[0],
        view=view_of(dataset, orientation, localizer),
        laterality=_laterality(dataset, groups),
        image_left=side_at_left(dataset, orientation),
        geometry=geometry,
        burned_in=text(dataset, "BurnedInAnnotation") == "YES",
    )


def view_of(dataset: Dataset, orientation: Cosines | None, localizer: bool) -> View | None:
    """Return the plane by the axis its normal is within 37° of; a projection by View Position or View Code.

    A CT localizer lies in a coronal or sagittal plane but is a projection: it is frontal or lateral.
    """
    if orientation is None:
        code = first(dataset, "ViewCodeSequence")
        coded = VIEW_CODES.get(text(code, "CodeValue") or "") if code is not None else None
        return VIEW_POSITIONS.get(next(iter(words(dataset, "ViewPosition")), "")) or coded
    x, y, z = (abs(component) for component in normal(orientation))
    if localizer:
        return "lateral" if x > MAJOR_AXIS else "frontal" if y > MAJOR_AXIS else None
    planes: list[tuple[View, float]] = [("sagittal", x), ("coronal", y), ("axial", z)]
    return next((plane for plane, cosine in planes if cosine > MAJOR_AXIS), "oblique")


def side_at_left(dataset: Dataset, orientation: Cosines | None) -> Side | None:
    """Return the patient's side at the left edge: columns that run to the patient's left begin at the right.

    From the row direction where its x component dominates, else from Patient Orientation (0020,0020), whose
    first value is where columns run to (PS3.3 C.7.6.1.1.1); letters of four-footed patients are not read.
    """
    if orientation is not None:
        return None if abs(orientation[0]) <= MAJOR_AXIS else "right" if orientation[0] > 0 else "left"
    towards = next(iter((text(dataset, "PatientOrientation") or "").split("\\")), "").strip()
    if not towards or not set(towards) <= set("LRAPHF"):
        return None
    return {"L": "right", "R": "left"}.get(towards[0])  # type: ignore[return-value]


def _laterality(dataset: Dataset, groups: FrameGroups) -> Side | None:
    anatomy = groups.macro("FrameAnatomySequence", 0)
    found = (words(dataset, "ImageLaterality"), words(dataset, "Laterality"))
    frame = () if anatomy is None else words(anatomy, "FrameLaterality")
    said = next((value[0] for value in (*found, frame) if value), "")
    return SIDES.get(said)


def _geometry(
    dataset: Dataset, groups: FrameGroups, frames: int, modality: str | None, localizer: bool
) -> tuple[FrameGeometry, ...]:
    """Return one geometry a frame. A CT localizer is a projection without calibration: it has no spacing.

    The position at the top level is the first frame's alone, so frames of a multi-frame file without
    functional groups have none.
    """
    orientation = cosines(dataset)
    spacing = None if localizer else _top_spacing(dataset, modality, orientation)
    position = vector(dataset) if frames == 1 else None
    plain = FrameGeometry(position=position, orientation=orientation, spacing_mm=spacing)
    if not groups:
        return (plain,) * frames
    return tuple(_frame(groups, index, plain, measured=not localizer) for index in range(frames))


def _frame(groups: FrameGroups, index: int, plain: FrameGeometry, measured: bool) -> FrameGeometry:
    """Return the geometry of one frame from its functional groups (PS3.3 C.7.6.16.2.1, .3 and .4)."""
    position = vector(groups.macro("PlanePositionSequence", index))
    orientation = cosines(groups.macro("PlaneOrientationSequence", index))
    measures = groups.macro("PixelMeasuresSequence", index) if measured else None
    spacing = None if measures is None else _millimetres(numbers(measures, "PixelSpacing"))
    return FrameGeometry(
        position=position or plain.position,
        orientation=orientation or plain.orientation,
        spacing_mm=spacing or plain.spacing_mm,
    )


def _top_spacing(dataset: Dataset, modality: str | None, orientation: Cosines | None) -> Spacing | None:
    """Return the spacing in the patient that the top level of the header states (PS3.3 10.7.1.3)."""
    if modality == "US":
        return _ultrasound_spacing(dataset)
    if modality in PROJECTIONS:
        calibrated = bool(words(dataset, "PixelSpacingCalibrationType"))
    else:
        calibrated = modality in CROSS_SECTIONS or orientation is not None
    return _millimetres(numbers(dataset, "PixelSpacing")) if calibrated else None


def _ultrasound_spacing(dataset: Dataset) -> Spacing | None:
    """Return the spacing of the one 2-D tissue region in centimetres, if there is one (PS3.3 C.8.5.5).

    Colour flow over it must have the same scale. With an M-mode or spectral region beside it part of the
    image has another scale, and the image as a whole none.
    """
    regions = items(dataset, "SequenceOfUltrasoundRegions")
    formats = [integer(region, "RegionSpatialFormat") for region in regions]
    planes = [region for region, form in zip(regions, formats, strict=True) if form == REGION_2D]
    tissue = [region for region in planes if integer(region, "RegionDataType") == REGION_TISSUE]
    scales = {_region_scale(region) for region in planes}
    other_axes = any(form != REGION_2D and form not in REGION_TRACES for form in formats)
    return None if other_axes or len(tissue) != 1 or len(scales) != 1 else scales.pop()


def _region_scale(region: Dataset) -> Spacing | None:
    units = [integer(region, f"PhysicalUnits{axis}Direction") for axis in "YX"]
    deltas = [number(region, f"PhysicalDelta{axis}") for axis in "YX"]
    if units != [UNIT_CM, UNIT_CM] or None in deltas:
        return None
    return _millimetres(tuple(delta * MM_PER_CM for delta in deltas if delta is not None))


def _millimetres(pair: tuple[float, ...]) -> Spacing | None:
    """Return (row, column) spacing when it is two numbers a device can have."""
    if len(pair) != 2 or not all(SPACING_MM[0] <= spacing <= SPACING_MM[1] for spacing in pair):
        return None
    return (pair[0], pair[1])
