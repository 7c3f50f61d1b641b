"""What a DICOM header says of the patient: planes, sides, millimetres and Hounsfield units, or nothing."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from dicom_files import AXIAL, drawn, real, sequence
from medtrinity25m.readers.dicom import DicomFile
from medtrinity25m.readers.dicom_header import DicomHeader

PIXELS = np.arange(36, dtype=np.int16).reshape(6, 6)
CT = {"Modality": "CT", "RescaleSlope": 1, "RescaleIntercept": -1024, "ImageType": ["ORIGINAL", "PRIMARY", "AXIAL"]}
REGIONS = "SequenceOfUltrasoundRegions"
REGION = {
    "RegionSpatialFormat": 1,
    "RegionDataType": 1,
    "PhysicalUnitsXDirection": 3,
    "PhysicalUnitsYDirection": 3,
    "PhysicalDeltaX": 0.02,
    "PhysicalDeltaY": 0.03,
}


def header(**attributes: Any) -> DicomHeader:
    """The header of a drawn file with these attributes."""
    return DicomFile(drawn(PIXELS, **attributes)).header


def turned(degrees: float, axis: str) -> list[float]:
    """Axial cosines turned about an axis of the patient."""
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return {"x": [1, 0, 0, 0, c, s], "y": [c, 0, s, 0, 1, 0], "z": [c, s, 0, -s, c, 0]}[axis]


@pytest.mark.parametrize(
    ("cosines", "view", "left"),
    [
        (AXIAL, "axial", "right"),
        ([-1, 0, 0, 0, -1, 0], "axial", "left"),
        ([1, 0, 0, 0, 0, -1], "coronal", "right"),
        ([-1, 0, 0, 0, 0, -1], "coronal", "left"),
        ([0, 1, 0, 0, 0, -1], "sagittal", None),
        (turned(30, "x"), "axial", "right"),  # a tilted gantry
        (turned(45, "x"), "oblique", "right"),
        (turned(45, "z"), "axial", None),
        (turned(60, "x"), "coronal", "right"),
    ],
)
def test_orientation_gives_view_and_side(cosines: list[float], view: str, left: str | None) -> None:
    """A plane is named within 37° of its axis; the left edge is the side that columns run away from."""
    found = header(Modality="MR", ImageOrientationPatient=[round(cosine, 6) for cosine in cosines])
    assert (found.view, found.image_left) == (view, left)


@pytest.mark.parametrize("cosines", [[1, 0, 0, 1, 0, 0], [0, 0, 0, 0, 0, 0], [2, 0, 0, 0, 1, 0], [1, 0, 0], None])
def test_an_orientation_that_is_none_says_nothing(cosines: list[float] | None) -> None:
    """Cosines that are no two orthogonal unit vectors count as missing."""
    found = header(Modality="MR", ImageOrientationPatient=cosines)
    assert (found.view, found.image_left, found.orientation) == (None, None, None)


@pytest.mark.parametrize(
    ("attributes", "view", "left"),
    [
        ({"ViewPosition": "PA", "PatientOrientation": ["L", "F"]}, "pa", "right"),
        ({"ViewPosition": "AP", "PatientOrientation": ["R", "F"]}, "ap", "left"),
        ({"ViewPosition": "LL", "PatientOrientation": ["A", "F"]}, "lateral", None),
        ({"ViewPosition": "LLD", "PatientOrientation": ["LE", "V"]}, None, None),  # decubitus; a horse
        ({"ViewPosition": "MLO", "PatientOrientation": ["P", "FR"]}, "mlo", None),
        ({"ViewCodeSequence": sequence({"CodeValue": "399162004", "CodingSchemeDesignator": "SCT"})}, "cc", None),
        ({}, None, None),
    ],
)
def test_projections_take_view_and_side_from_their_own_tags(attributes: dict[str, Any], view: str, left: str) -> None:
    """Without Image Orientation the view is View Position or its code, the side Patient Orientation's."""
    found = header(Modality="DX", **attributes)
    assert (found.view, found.image_left) == (view, left)


def test_a_scout_view_is_a_projection() -> None:
    """A CT localizer is frontal or lateral, never coronal or sagittal, and has neither millimetres nor HU."""
    scout = CT | {"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"], "RescaleType": "HU", "PixelSpacing": [1, 1]}
    frontal = drawn(PIXELS, **scout, ImageOrientationPatient=[1, 0, 0, 0, 0, -1])
    plane = DicomFile(frontal).plane(0)
    assert (plane.view, plane.spacing_mm, plane.values_unit) == ("frontal", None, None)
    assert header(**scout, ImageOrientationPatient=[0, 1, 0, 0, 0, -1]).view == "lateral"


@pytest.mark.parametrize(
    ("attributes", "side"),
    [
        ({"ImageLaterality": "L"}, "left"),
        ({"Laterality": "R"}, "right"),
        ({"ImageLaterality": "B", "Laterality": "R"}, None),
        ({"Laterality": "U"}, None),
        (
            {"SharedFunctionalGroupsSequence": sequence({"FrameAnatomySequence": sequence({"FrameLaterality": "R"})})},
            "right",
        ),
    ],
)
def test_laterality_tags(attributes: dict[str, Any], side: str | None) -> None:
    """The shown side is Image Laterality, Laterality or Frame Laterality; both sides are none."""
    assert header(Modality="MG", **attributes).laterality == side


@pytest.mark.parametrize(
    ("attributes", "spacing"),
    [
        ({"Modality": "MR", "PixelSpacing": [0.5, 0.25]}, (0.5, 0.25)),
        ({"Modality": "CT", "PixelSpacing": [0, 0.25]}, None),
        ({"Modality": "CT", "PixelSpacing": [-0.5, 0.5]}, None),
        ({"Modality": "CT", "PixelSpacing": [500, 500]}, None),
        ({"Modality": "CT", "PixelSpacing": [0.5]}, None),
        ({"Modality": "DX", "PixelSpacing": [0.1, 0.1], "ImagerPixelSpacing": [0.1, 0.1]}, None),
        ({"Modality": "DX", "PixelSpacing": [0.1, 0.1], "PixelSpacingCalibrationType": "FIDUCIAL"}, (0.1, 0.1)),
        ({"Modality": "CR", "ImagerPixelSpacing": [0.1, 0.1]}, None),
        ({"Modality": "OT", "PixelSpacing": [0.1, 0.1]}, None),
        ({"Modality": "US", "PixelSpacing": [0.1, 0.1]}, None),
        ({"Modality": "US", REGIONS: sequence(REGION)}, (0.3, 0.2)),
        ({"Modality": "US", REGIONS: sequence(REGION, REGION)}, None),
        ({"Modality": "US", REGIONS: sequence(REGION, REGION | {"RegionDataType": 2})}, (0.3, 0.2)),
        ({"Modality": "US", REGIONS: sequence(REGION, REGION | {"RegionSpatialFormat": 3})}, None),
        ({"Modality": "US", REGIONS: sequence(REGION, {"RegionSpatialFormat": 4})}, (0.3, 0.2)),
        ({"Modality": "US", REGIONS: sequence(REGION | {"PhysicalUnitsXDirection": 4})}, None),
        ({"Modality": "US", REGIONS: sequence(REGION | {"PhysicalDeltaX": 0.0})}, None),
    ],
)  # fmt: skip
def test_millimetres_only_where_they_are_the_patients(
    attributes: dict[str, Any], spacing: tuple[float, float] | None
) -> None:
    """Pixel Spacing of a cut, a calibrated projection, or one 2-D ultrasound region; anything else has none."""
    found = header(**attributes).spacing_mm
    assert found == (None if spacing is None else pytest.approx(spacing))


@pytest.mark.parametrize(
    ("changes", "unit"),
    [
        ({}, "HU"),
        ({"ImageType": ["DERIVED", "SECONDARY", "AXIAL"]}, "HU"),
        ({"RescaleType": "HU"}, "HU"),
        ({"RescaleType": "US"}, None),
        ({"RescaleSlope": None, "RescaleIntercept": None}, None),
        ({"RescaleSlope": 0}, None),
        ({"Modality": "MR"}, None),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.7"}, None),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.7", "RescaleType": "HU"}, "HU"),
        ({"MultienergyCTAcquisition": "YES"}, None),
    ],
)
def test_hounsfield_units_need_a_reason(changes: dict[str, Any], unit: str | None) -> None:
    """HU: rescaled CT whose Rescale Type says so, or a CT image class that leaves it out."""
    plane = DicomFile(drawn(PIXELS, **(CT | changes))).plane(0)
    assert plane.values_unit == unit
    assert plane.values is not None
    if unit:
        np.testing.assert_array_equal(plane.values, PIXELS - 1024.0)


def test_real_headers() -> None:
    """Chest X-ray, bone scan, ultrasound and MR as they come from devices."""
    chest = DicomFile(real("RG1_UNCR.dcm")).header
    assert (chest.view, chest.image_left, chest.spacing_mm, chest.body_part) == ("pa", "right", None, "CHEST")
    tibia = DicomFile(real("RG3_UNCR.dcm")).header
    assert (tibia.view, tibia.image_left, tibia.laterality) == ("ap", "left", "right")
    shoulder = DicomFile(real("MR2_UNCR.dcm")).header
    assert (shoulder.view, shoulder.image_left, shoulder.spacing_mm) == ("sagittal", None, (0.195313, 0.195313))
    echo = DicomFile(real("examples_palette.dcm")).header
    assert echo.spacing_mm == pytest.approx((0.2622879, 0.2622879))
    dose = DicomFile(real("rtdose.dcm")).header
    assert (dose.frames, dose.modality, dose.position) == (15, "RTDOSE", None)
    liver = DicomFile(real("liver.dcm")).header
    assert [round(frame.position[2], 2) for frame in liver.geometry if frame.position] == [-128.69, -127.69, -126.69]


def test_texts_are_raw_and_unusable_numbers_are_none() -> None:
    """Identifiers are the file's own words; a value that is no number of its kind is simply not there."""
    found = header(
        PatientID=" 42-A ", StudyInstanceUID="1.2.3", Modality="MR", InstanceNumber=7, PixelSpacing=[0.5, 0.5]
    )
    assert (found.patient_id, found.study_uid, found.series_uid, found.instance_number) == ("42-A", "1.2.3", None, 7)
    data = drawn(PIXELS, Modality="MR", InstanceNumber=7, PixelSpacing=[0.5, 0.5]).replace(b"0.5\\0.5 ", b"0.5\\x.5 ")
    assert DicomFile(data).header.spacing_mm is None
