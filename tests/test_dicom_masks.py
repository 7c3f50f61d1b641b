"""Regions in DICOM: SEG and RTSTRUCT give the drawn masks, on the planes that they were drawn on."""

from __future__ import annotations

import io
import random
from typing import Any

import numpy as np
import pydicom
import pytest
from highdicom.seg import Segmentation, SegmentDescription
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.uid import RTStructureSetStorage
from scipy import ndimage
from skimage.draw import polygon2mask

from dicom_files import as_bytes, drawn, header_of, real, sequence
from medtrinity25m.errors import RefusedError
from medtrinity25m.readers.dicom import DicomFile
from medtrinity25m.readers.dicom_masks import (
    PlaneGeometry,
    PlaneIndex,
    contours,
    matches,
    planes,
    segment_mask,
    segments,
    skipped_contours,
)

ROWS, COLUMNS, PLANES = 40, 50, 5
SPACING = (0.8, 0.5)
TILT = np.radians(20)
ROW, COLUMN = np.array([np.cos(TILT), np.sin(TILT), 0]), np.array([-np.sin(TILT), np.cos(TILT), 0])
FRAME = "1.2.826.0.1.3680043.8.498.77"
SERIES = "1.2.826.0.1.3680043.8.498.78"


def plane_file(index: int, **more: Any) -> bytes:
    """One plane of a CT series, turned in its plane, 2.5 mm apart."""
    position = np.array([-20.0, -30.0, 100.0]) + 2.5 * index * np.cross(ROW, COLUMN)
    attributes = {
        "SOPInstanceUID": f"{SERIES}.{index + 1}",
        "SeriesInstanceUID": SERIES,
        "StudyInstanceUID": f"{SERIES}.0",
        "FrameOfReferenceUID": FRAME,
        "Modality": "CT",
        "PatientID": "drawn",
        "PatientName": "Drawn^Patient",
        "PatientBirthDate": "",
        "PatientSex": "",
        "StudyDate": "20200101",
        "StudyTime": "120000",
        "StudyID": "1",
        "AccessionNumber": "",
        "ReferringPhysicianName": "",
        "InstanceNumber": index + 1,
        "ImagePositionPatient": [round(float(x), 4) for x in position],
        "ImageOrientationPatient": [round(float(x), 6) for x in (*ROW, *COLUMN)],
        "PixelSpacing": list(SPACING),
        "SliceThickness": 2.5,
    }
    pixels = np.full((ROWS, COLUMNS), index, np.int16)
    return drawn(pixels, **(attributes | more))


@pytest.fixture(scope="module")
def files() -> list[bytes]:
    return [plane_file(index) for index in range(PLANES)]


@pytest.fixture(scope="module")
def series(files: list[bytes]) -> list[PlaneGeometry]:
    """The planes of the series, in no order."""
    found = [plane for data in files for plane in planes(DicomFile(data).header)]
    random.Random(1).shuffle(found)
    return found


@pytest.fixture(scope="module")
def masks() -> NDArray[np.bool_]:
    """Two segments on each plane, (segments, planes, rows, columns)."""
    noise = np.random.default_rng(4).random((2, PLANES, ROWS, COLUMNS))
    return ndimage.uniform_filter(noise, (0, 0, 5, 5)) > 0.55


def segmentation(files: list[bytes], masks: NDArray[Any], kind: str = "BINARY", **more: Any) -> Segmentation:
    """A SEG over the series, written by highdicom."""
    described = [
        SegmentDescription(
            segment_number=number,
            segment_label=label,
            segmented_property_category=codes.SCT.Organ,
            segmented_property_type=codes.SCT.Liver,
            algorithm_type="MANUAL",
        )
        for number, label in ((1, "Liver"), (2, "Lesion"))
    ]
    return Segmentation(
        source_images=[pydicom.dcmread(io.BytesIO(data)) for data in files],
        pixel_array=np.moveaxis(masks, 0, -1),
        segmentation_type=kind,
        segment_descriptions=described,
        series_instance_uid=f"{SERIES}.99",
        series_number=9,
        sop_instance_uid=f"{SERIES}.98",
        instance_number=1,
        manufacturer="drawn",
        manufacturer_model_name="drawn",
        software_versions="1",
        device_serial_number="1",
        **more,
    )


def written(dataset: Dataset) -> bytes:
    buffer = io.BytesIO()
    dataset.save_as(buffer)
    return buffer.getvalue()


def found_masks(data: bytes, series: list[PlaneGeometry]) -> dict[tuple[str, str], NDArray[np.bool_]]:
    """What a SEG marks: (label, SOP Instance UID) → mask."""
    file = DicomFile(data)
    marked: dict[tuple[str, str], list[int]] = {}
    for segment in segments(file):
        for at in matches(segment, series):
            marked.setdefault((segment.label, series[at].sop_uid), []).append(segment.index)
    return {key: segment_mask(file, indices) for key, indices in marked.items()}


def assert_drawn(found: dict[tuple[str, str], NDArray[np.bool_]], masks: NDArray[np.bool_]) -> None:
    assert len(found) == masks.shape[0] * PLANES
    for number, label in enumerate(("Liver", "Lesion")):
        for index in range(PLANES):
            np.testing.assert_array_equal(found[label, f"{SERIES}.{index + 1}"], masks[number, index])


def test_a_segmentation_gives_exactly_what_was_drawn(
    files: list[bytes], series: list[PlaneGeometry], masks: NDArray[np.bool_]
) -> None:
    """Each segment lands on its own plane, pixel by pixel, found by reference and in any order of planes."""
    data = written(segmentation(files, masks))
    assert_drawn(found_masks(data, series), masks)
    one = segments(DicomFile(data))[0]
    assert (one.label, one.property_type, one.number) == ("Liver", "Liver", 1)


def test_without_references_the_place_decides(
    files: list[bytes], series: list[PlaneGeometry], masks: NDArray[np.bool_]
) -> None:
    """A SEG that names no source images is matched by position, within its frame of reference only."""
    dataset = segmentation(files, masks)
    for frame in dataset.PerFrameFunctionalGroupsSequence:
        del frame.DerivationImageSequence
    data = written(dataset)
    assert_drawn(found_masks(data, series), masks)
    elsewhere = [plane.with_(frame_of_reference="1.2.3") for plane in series]
    unknown = [plane.with_(frame_of_reference=None) for plane in series]
    another = [plane.with_(series_uid="1.2.3") for plane in series]
    moved = [plane.with_(position=(0.2, 0.0, 100.0)) for plane in series]
    for strangers in (elsewhere, unknown, another, moved):
        assert found_masks(data, strangers) == {}


def test_a_reference_does_not_overrule_the_place(
    files: list[bytes], series: list[PlaneGeometry], masks: NDArray[np.bool_]
) -> None:
    """Some writers list the whole series as source of each frame: it still lands on its own plane alone."""
    dataset = segmentation(files, masks)
    every = [item for f in dataset.PerFrameFunctionalGroupsSequence for item in f.DerivationImageSequence]
    for frame in dataset.PerFrameFunctionalGroupsSequence:
        frame.DerivationImageSequence = every
    assert_drawn(found_masks(written(dataset), series), masks)
    smaller = [plane.with_(rows=ROWS - 1) for plane in series]
    assert found_masks(written(dataset), smaller) == {}


def test_fractions_count_from_half(files: list[bytes], series: list[PlaneGeometry]) -> None:
    """FRACTIONAL pixels belong to the segment from half of the Maximum Fractional Value on."""
    fractions = np.random.default_rng(5).random((2, PLANES, ROWS, COLUMNS))
    data = written(segmentation(files, fractions, "FRACTIONAL", max_fractional_value=200))
    stored = np.rint(fractions * 200)
    assert_drawn(found_masks(data, series), stored >= 100)


def test_segments_of_a_multi_frame_image_are_found_by_frame(masks: NDArray[np.bool_]) -> None:
    """A plane is a frame of a file: references name it with a number that counts from 1."""
    among = [
        PlaneGeometry(sop_uid="1.2", frame=frame, rows=512, columns=512, frame_of_reference=FRAME) for frame in range(3)
    ]
    one = segments(DicomFile(real("liver.dcm")))[0]
    lifted = header_of("liver.dcm")
    source = lifted.PerFrameFunctionalGroupsSequence[0].DerivationImageSequence[0].SourceImageSequence[0]
    source.ReferencedFrameNumber = [3, 1]
    assert [frame for _, frame in segments(DicomFile(written(lifted)))[0].references] == [2, 0]
    for frame, expected in ((0, [0]), (2, [2]), (None, [0, 1, 2])):
        assert matches(one.with_(references=(("1.2", frame),)), among) == expected
        assert matches(one.with_(references=(("1.2", frame),)), PlaneIndex(among)) == expected


@pytest.mark.parametrize("name", ["liver.dcm", "liver_expb.dcm"])
def test_a_real_segmentation_is_read(name: str) -> None:
    """liver.dcm: three frames of one segment, each with its source image; pixels equal pydicom's."""
    file = DicomFile(real(name))
    found = segments(file)
    assert [(one.index, one.label, len(one.references)) for one in found] == [(i, "Liver", 1) for i in range(3)]
    stored = header_of("liver.dcm").pixel_array.astype(bool)
    for index in range(3):
        np.testing.assert_array_equal(segment_mask(file, [index]), stored[index])
    np.testing.assert_array_equal(segment_mask(file, [0, 1, 2]), stored.any(axis=0))
    assert matches(found[0], []) == []


def test_what_is_no_segmentation_is_refused(files: list[bytes], masks: NDArray[np.bool_]) -> None:
    """An image, or a SEG of an unknown type or with frames of no segment, is refused by name."""
    labelmap = segmentation(files, masks)
    labelmap.SegmentationType = "LABELMAP"
    lost = segmentation(files, masks)
    del lost.SegmentSequence
    for data in (files[0], written(labelmap), written(lost)):
        with pytest.raises(RefusedError, match=r"dicom\.bad_segment"):
            segments(DicomFile(data))
    with pytest.raises(RefusedError, match=r"dicom\.not_rtstruct"):
        contours(DicomFile(files[0]), [])


def outline(index: int, xy: NDArray[np.float64]) -> list[float]:
    """Pixel coordinates on a plane of the series as Contour Data."""
    start = np.array(plane_position(index))
    points = start + xy[:, :1] * SPACING[1] * ROW + xy[:, 1:] * SPACING[0] * COLUMN
    return [round(float(value), 3) for value in points.ravel()]


def plane_position(index: int) -> tuple[float, float, float]:
    found = DicomFile(plane_file(index)).header.position
    assert found is not None
    return found


def circle(x: float, y: float, radius: float) -> NDArray[np.float64]:
    angle = np.linspace(0, 2 * np.pi, 90, endpoint=False)
    return np.stack([x + radius * np.cos(angle), y + radius * np.sin(angle)], axis=1)


def structure_set(*drawings: tuple[str, int, NDArray[np.float64], str, bool]) -> bytes:
    """An RTSTRUCT: (ROI name, plane, outline in pixels, geometric type, whether the image is named)."""
    names = list(dict.fromkeys(name for name, *_ in drawings))
    contour_items: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
    for name, index, xy, kind, named in drawings:
        image = {
            "ReferencedSOPClassUID": "1.2.840.10008.5.1.4.1.1.2",
            "ReferencedSOPInstanceUID": f"{SERIES}.{index + 1}",
        }
        item = {"ContourGeometricType": kind, "NumberOfContourPoints": len(xy), "ContourData": outline(index, xy)}
        contour_items[name].append(item | ({"ContourImageSequence": sequence(image)} if named else {}))
    dataset = Dataset()
    dataset.SOPClassUID, dataset.SOPInstanceUID, dataset.Modality = RTStructureSetStorage, f"{SERIES}.97", "RTSTRUCT"
    dataset.StructureSetROISequence = sequence(
        *({"ROINumber": n, "ROIName": name, "ReferencedFrameOfReferenceUID": FRAME} for n, name in enumerate(names, 1))
    )
    dataset.ROIContourSequence = sequence(
        *(
            {"ReferencedROINumber": n, "ContourSequence": sequence(*contour_items[name])}
            for n, name in enumerate(names, 1)
        )
    )
    return as_bytes(dataset)


def filled(rings: tuple[tuple[float, ...], ...]) -> NDArray[np.bool_]:
    """Pixels whose centre is inside the rings, by the even-odd rule."""
    canvas = np.zeros((ROWS, COLUMNS), bool)
    for ring in rings:
        canvas ^= polygon2mask(canvas.shape, np.reshape(ring, (-1, 2))[:, ::-1])
    return canvas


@pytest.mark.parametrize("named", [True, False])
def test_a_structure_set_gives_the_drawn_outlines(series: list[PlaneGeometry], named: bool) -> None:
    """Rings come back in pixels to 0.01, on their plane, by reference or by place; an inner ring is a hole."""
    outer, inner, other = circle(24, 20, 12), circle(26, 18, 5), circle(10.25, 30.5, 4)
    file = DicomFile(
        structure_set(
            ("Tumour", 3, outer, "CLOSED_PLANAR", named),
            ("Tumour", 3, inner, "CLOSED_PLANAR", named),
            ("Node", 1, other, "CLOSEDPLANAR_XOR", named),
        )
    )
    found = {(one.label, series[one.plane].sop_uid): one.rings for one in contours(file, series)}
    assert set(found) == {("Tumour", f"{SERIES}.4"), ("Node", f"{SERIES}.2")}
    for ring, expected in zip(found["Tumour", f"{SERIES}.4"], (outer, inner), strict=True):
        np.testing.assert_allclose(np.reshape(ring, (-1, 2)), expected, atol=0.01)
    y, x = np.mgrid[:ROWS, :COLUMNS]
    from_outer, from_inner = np.hypot(x - 24, y - 20) - 12, np.hypot(x - 26, y - 18) - 5
    wrong = filled(found["Tumour", f"{SERIES}.4"]) != ((from_outer < 0) & (from_inner > 0))
    assert (np.minimum(abs(from_outer), abs(from_inner))[wrong] < 0.02).all(), "only centres on the outline may differ"
    assert skipped_contours(file, series) == {}


def test_contours_that_cannot_be_placed_are_counted(series: list[PlaneGeometry]) -> None:
    """Points and open lines, damaged data, and contours off every plane are left out and counted, not guessed."""
    ring = circle(24, 20, 6)
    data = structure_set(
        ("A", 0, ring, "OPEN_PLANAR", True),
        ("A", 0, ring[:1], "POINT", True),
        ("A", 0, ring[:2], "CLOSED_PLANAR", True),
        ("A", 17, ring, "CLOSED_PLANAR", True),
        ("A", 17, ring, "CLOSED_PLANAR", False),
        ("A", 2, ring, "CLOSED_PLANAR", False),
    )
    file = DicomFile(data)
    assert [series[one.plane].sop_uid for one in contours(file, series)] == [f"{SERIES}.3"]
    assert skipped_contours(file, PlaneIndex(series)) == {"not_closed": 2, "damaged": 1, "no_plane": 2}
    stranger = [plane.with_(frame_of_reference="1.2.3") for plane in series]
    assert contours(file, stranger) == []
    moved = [plane.with_(position=(0.0, 0.0, 300.0)) for plane in series]
    assert contours(file, moved) == [], "a name does not put a contour on a plane it does not lie in"
    assert contours(file, []) == []


def test_a_real_structure_set_without_its_images() -> None:
    """rtstruct.dcm opens without a preamble; nothing lands on planes it does not name."""
    file = DicomFile(real("rtstruct.dcm"))
    assert contours(file, []) == []
    assert skipped_contours(file, []) == {"not_closed": 2, "no_plane": 3}


def test_damaged_masks_never_raise_anything_else() -> None:
    """Flipped bits in SEG and RTSTRUCT headers give regions or refusals."""
    chance = random.Random(6)
    among = [PlaneGeometry(sop_uid="1", rows=512, columns=512, position=(0, 0, 0), orientation=(1, 0, 0, 0, 1, 0))]
    refused = 0
    for name in ("liver_1frame.dcm", "rtstruct.dcm"):
        data = real(name)
        for _ in range(150):
            damaged = bytearray(data)
            damaged[chance.randrange(min(len(data), 4200))] ^= 1 << chance.randrange(8)
            try:
                file = DicomFile(bytes(damaged))
                if file.header.kind == "segmentation":
                    found = segments(file)
                    segment_mask(file, [one.index for one in found])
                    matches(found[0], among)
                elif file.header.kind == "rtstruct":
                    contours(file, among)
            except RefusedError:
                refused += 1
    assert refused > 50
