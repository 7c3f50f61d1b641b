"""Regions in DICOM: segmentations (SEG), structure sets (RTSTRUCT) and contours drawn in overlays.

Millimetres are patient coordinates (LPS). Pixel coordinates are (x, y), pixel centres at integers, so the
first pixel's centre is (0, 0): Image Position (Patient) is that centre (PS3.3 C.7.6.2.1.1).

**Why** geometry counts only within one Frame of Reference UID: two patients' planes have the same
millimetres, and a region drawn on one must never land on the other.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from scipy import ndimage

from medtrinity25m.errors import RefusedError
from medtrinity25m.readers.dicom import DicomFile
from medtrinity25m.readers.dicom_attributes import (
    Cosines,
    Vector,
    first,
    integer,
    items,
    number,
    numbers,
    quiet,
    text,
    words,
)
from medtrinity25m.readers.dicom_header import Spacing
from medtrinity25m.readers.planes import DIRECTION, POSITION_MM, PlaneGeometry, PlaneIndex, Points, planes
from medtrinity25m.triplet import Frozen

SPACING_SHARE = 1e-3  # relative: over 512 pixels half a pixel
HOLE_SHARE = 0.25  # of the largest enclosed area: other lesions, not the counter of a letter beside one
MIN_HOLE_PX = 16  # the counter of a letter 9 pixels high, as workstations draw them, is smaller
PEN = np.ones((3, 3), dtype=np.bool_)  # a hand-drawn line one pixel wide has gaps; three wide, few
HALF = 0.5  # share of Maximum Fractional Value from which a fractional pixel belongs to the segment
FULL_FRACTION = 255  # Maximum Fractional Value (0062,000E) where a file leaves it out
CLOSED = {"CLOSED_PLANAR", "CLOSEDPLANAR_XOR"}  # Contour Geometric Type (3006,0042) of filled outlines

__all__ = [  # the geometry of planes belongs here for those who use masks
    "ContourRings",
    "PlaneGeometry",
    "PlaneIndex",
    "SegmentFrame",
    "closed_contours",
    "contours",
    "matches",
    "planes",
    "segment_mask",
    "segments",
    "skipped_contours",
]

Mask = NDArray[np.bool_]
Reference = tuple[str, int | None]
"""SOP Instance UID and frame (from 0), None where the whole object is meant."""


class SegmentFrame(Frozen):
    """One frame of a SEG: which segment it draws, on which plane (PS3.3 C.8.20.2, C.8.20.3).

    Args:
        index: frame of the SEG file, from 0.
        number: Segment Number; `label` its Segment Label, else the meaning of its type.
        property_type: code meaning of the Segmented Property Type, such as `Liver`.
        references: source images of the frame.
        series: Series Instance UIDs the file says it was drawn on; empty when it does not say.
    """

    index: int
    number: int
    label: str
    property_type: str | None
    references: tuple[Reference, ...]
    series: tuple[str, ...]
    frame_of_reference: str | None
    position: Vector | None
    orientation: Cosines | None
    spacing_mm: Spacing | None
    rows: int
    columns: int


class ContourRings(Frozen):
    """The outlines of one ROI on one plane.

    Args:
        label: ROI Name (3006,0026); `number` its ROI Number.
        plane: index into the planes that were given.
        rings: outlines as x, y, x, y, … in pixels, filled together by the even-odd rule, so that an inner
            ring is a hole.
    """

    label: str
    number: int
    plane: int
    rings: tuple[tuple[float, ...], ...]


def segments(file: DicomFile) -> list[SegmentFrame]:
    """Return every frame of a segmentation with its segment and place.

    Raises:
        RefusedError: `dicom.bad_segment` when the file is no segmentation of type BINARY or FRACTIONAL, or a
            frame does not say which segment it draws.
    """
    if file.header.kind != "segmentation":
        raise RefusedError("dicom.bad_segment", "the file is no segmentation")
    with quiet():
        _fraction(file)
        found = {integer(item, "SegmentNumber"): item for item in items(file.dataset, "SegmentSequence")}
        referenced = [text(item, "SeriesInstanceUID") for item in items(file.dataset, "ReferencedSeriesSequence")]
        series = tuple(uid for uid in referenced if uid is not None)
        return [_segment(file, index, found, series) for index in range(file.count)]


def _segment(file: DicomFile, index: int, found: dict[int | None, Dataset], series: tuple[str, ...]) -> SegmentFrame:
    identification = file.groups.macro("SegmentIdentificationSequence", index)
    number_ = None if identification is None else integer(identification, "ReferencedSegmentNumber")
    if number_ is None or number_ not in found:
        raise RefusedError(
            "dicom.bad_segment", f"frame {index} does not say which of the {len(found)} segments it draws"
        )
    kind = first(found[number_], "SegmentedPropertyTypeCodeSequence")
    meaning = None if kind is None else text(kind, "CodeMeaning")
    geometry = file.header.geometry[index]
    return SegmentFrame(
        index=index,
        number=number_,
        label=text(found[number_], "SegmentLabel") or meaning or f"segment {number_}",
        property_type=meaning,
        references=tuple(_references(file.groups.all("DerivationImageSequence", index))),
        series=series,
        frame_of_reference=file.header.frame_of_reference,
        position=geometry.position,
        orientation=geometry.orientation,
        spacing_mm=geometry.spacing_mm,
        rows=file.header.rows,
        columns=file.header.columns,
    )


def _references(derivations: Iterable[Dataset]) -> Iterable[Reference]:
    """Yield the source images of a frame (PS3.3 C.7.6.16.2.6)."""
    for derivation in derivations:
        for source in items(derivation, "SourceImageSequence"):
            uid = text(source, "ReferencedSOPInstanceUID")
            frames = [int(frame) - 1 for frame in numbers(source, "ReferencedFrameNumber")]
            if uid is None:
                continue
            yield from [(uid, frame) for frame in frames]
            if not frames:
                yield uid, None


def _fraction(file: DicomFile) -> float:
    """Return the stored value from which a pixel belongs to its segment (PS3.3 C.8.20.2.3)."""
    kind = words(file.dataset, "SegmentationType")
    if kind == ("BINARY",):
        return 1.0
    if kind == ("FRACTIONAL",):
        return HALF * (number(file.dataset, "MaximumFractionalValue") or FULL_FRACTION)
    raise RefusedError("dicom.bad_segment", "the Segmentation Type is neither BINARY nor FRACTIONAL")


def segment_mask(file: DicomFile, indices: Sequence[int]) -> Mask:
    """Return the union of frames of a segmentation, (H, W) bool; fractions count from half the maximum on."""
    if file.header.kind != "segmentation":
        raise RefusedError("dicom.bad_segment", "the file is no segmentation")
    with quiet():
        threshold = _fraction(file)
    mask = np.zeros((file.header.rows, file.header.columns), dtype=np.bool_)
    for index in indices:
        mask |= file.stored(index) >= threshold
    return mask


def matches(segment: SegmentFrame, among: Sequence[PlaneGeometry] | PlaneIndex) -> list[int]:
    """Return the indices of the planes whose pixels a segment frame's pixels are, ascending.

    Rows and columns must be equal. By reference: the plane is a source image of the frame and, where both say
    where they lie, in the same place (some writers list the whole series with every frame). Without
    references: in the same frame of reference, and series if the file names any, with equal orientation and
    spacing, the first pixels within 0.05 mm.
    """
    index = among if isinstance(among, PlaneIndex) else PlaneIndex(among)
    if not segment.references:
        near = index.in_space.get(segment.frame_of_reference or "", [])
        own = [at for at in near if _same_series(segment, index.planes[at])]
        return [at for at in own if _coincide(segment, index.planes[at])]
    named = {
        at
        for uid, frame in segment.references
        for at in index.by_uid.get(uid, [])
        if frame in (None, index.planes[at].frame)
    }
    return sorted(at for at in named if _may_be(segment, index.planes[at]))


def _may_be(segment: SegmentFrame, plane: PlaneGeometry) -> bool:
    """Say whether nothing speaks against a reference."""
    if segment.position is None or plane.position is None:
        return _same_size(segment, plane)
    return _coincide(segment, plane)


def _same_size(segment: SegmentFrame, plane: PlaneGeometry) -> bool:
    return (plane.rows, plane.columns) == (segment.rows, segment.columns)


def _same_series(segment: SegmentFrame, plane: PlaneGeometry) -> bool:
    return not segment.series or plane.series_uid is None or plane.series_uid in segment.series


def _coincide(segment: SegmentFrame, plane: PlaneGeometry) -> bool:
    """Say whether two pixel grids are the same grid."""
    if not _same_size(segment, plane):
        return False
    pairs = (
        (segment.position, plane.position, POSITION_MM, 0.0),
        (segment.orientation, plane.orientation, DIRECTION, 0.0),
        (segment.spacing_mm, plane.spacing_mm, 0.0, SPACING_SHARE),
    )
    for ours, theirs, absolute, relative in pairs:
        if ours is None or theirs is None:
            return False
        if any(abs(a - b) > absolute + relative * abs(b) for a, b in zip(ours, theirs, strict=True)):
            return False
    return True


def contours(file: DicomFile, series: Sequence[PlaneGeometry] | PlaneIndex) -> list[ContourRings]:
    """Return the outlines of a structure set on the planes given, by ROI and plane (PS3.3 C.8.8.5, C.8.8.6).

    A contour lies on the plane that its Contour Image Sequence names; without one, on the nearest plane of
    its frame of reference. Either way all its points must be within half of the gap to the next plane.
    Contours that are not closed, not on any plane, or damaged are left out: `skipped_contours` counts them.

    Raises:
        RefusedError: `dicom.not_rtstruct`.
    """
    return _placed(file, series)[0]


def skipped_contours(file: DicomFile, series: Sequence[PlaneGeometry] | PlaneIndex) -> dict[str, int]:
    """Return how many contours `contours` leaves out: `not_closed`, `no_plane`, `damaged`."""
    return dict(_placed(file, series)[1])


def _placed(file: DicomFile, series: Sequence[PlaneGeometry] | PlaneIndex) -> tuple[list[ContourRings], Counter[str]]:
    if file.header.kind != "rtstruct":
        raise RefusedError("dicom.not_rtstruct", "the file is no structure set")
    index = series if isinstance(series, PlaneIndex) else PlaneIndex(series)
    rings: dict[tuple[int, int], list[tuple[float, ...]]] = {}
    skipped: Counter[str] = Counter()
    with quiet():
        rois = {integer(item, "ROINumber"): item for item in items(file.dataset, "StructureSetROISequence")}
        for roi in items(file.dataset, "ROIContourSequence"):
            number_ = integer(roi, "ReferencedROINumber")
            space = text(rois[number_], "ReferencedFrameOfReferenceUID") if number_ in rois else None
            for contour in items(roi, "ContourSequence"):
                placed = _place(contour, index, space)
                if isinstance(placed, str):
                    skipped[placed] += 1
                else:
                    rings.setdefault((number_ or 0, placed[0]), []).append(placed[1])
        names = {number_: text(item, "ROIName") for number_, item in rois.items()}
    found = [
        ContourRings(label=names.get(number_) or f"ROI {number_}", number=number_, plane=at, rings=tuple(drawn))
        for (number_, at), drawn in rings.items()
    ]
    return found, skipped


def _place(contour: Dataset, index: PlaneIndex, space: str | None) -> tuple[int, tuple[float, ...]] | str:
    """Return the plane of a contour and its outline in pixels, or why there is none."""
    if not set(words(contour, "ContourGeometricType")) & CLOSED:
        return "not_closed"
    points = _points(contour)
    if points is None:
        return "damaged"
    image = first(contour, "ContourImageSequence")
    uid = None if image is None else text(image, "ReferencedSOPInstanceUID")
    frame = None if image is None else integer(image, "ReferencedFrameNumber")
    at = index.nearest(points, space) if uid is None else index.named(points, uid, frame)
    return "no_plane" if at is None else (at, tuple(index.to_pixels(points, at).ravel().tolist()))


def _points(contour: Dataset) -> Points | None:
    """Return Contour Data as (points, 3) millimetres, or None unless they are three or more finite points."""
    element = contour.get_item("ContourData")
    raw = None if element is None else element.value
    try:  # the bytes at once: pydicom would make an object of every number
        flat = np.array(raw.strip(b" \0").split(b"\\") if isinstance(raw, bytes) else raw, dtype=np.float64).ravel()
    except (TypeError, ValueError):
        return None
    if flat.size < 9 or flat.size % 3 or not np.isfinite(flat).all():
        return None
    return flat.reshape(-1, 3)


def closed_contours(overlay: Mask) -> Mask:
    """Return the areas that lines of an overlay enclose, outlines included, (H, W) bool; empty if none is.

    The area is what the drawn line encloses; a line with gaps of up to two pixels counts as closed. Of the
    8-connected components that enclose something the one with the largest hole is a contour; others are when
    their hole has at least a quarter of its area. Letters and callipers beside it enclose less or nothing.
    """
    labelled, count = ndimage.label(ndimage.binary_dilation(overlay, PEN), PEN)
    filled: list[tuple[int, tuple[slice, ...], Mask]] = []
    for index, box in enumerate(ndimage.find_objects(labelled, max_label=count), start=1):
        line = labelled[box] == index
        area = ndimage.binary_fill_holes(line)
        drawn = overlay[box] & line
        inside = ndimage.binary_fill_holes(drawn)
        if inside.sum() == drawn.sum():  # open as drawn: what the thick line closes, without its thickness
            inside = ndimage.binary_erosion(area, PEN) | drawn
        filled.append((int(area.sum() - line.sum()), box, inside))
    largest = max((hole for hole, _, _ in filled), default=0)
    found = np.zeros(overlay.shape, dtype=np.bool_)
    for hole, box, area in filled:
        if hole >= max(HOLE_SHARE * largest, MIN_HOLE_PX):
            found[box] |= area
    return found
