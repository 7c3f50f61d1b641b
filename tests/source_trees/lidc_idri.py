"""LIDC-IDRI as TCIA hands it out: a folder a series; CT, one SEG an outline, one structured report a SEG."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from highdicom.seg import Segmentation, SegmentDescription
from pydicom.sr.codedict import codes
from pydicom.uid import ComprehensiveSRStorage

from source_trees import Expected
from source_trees.drawing import Box, blocks, dicom

BASE = "1.3.6.1.4.1.14519.5.2.1.6279.6001"
READERS = {"IL057_127364": (8, 6, 16, 12), "IL057_127365": (9, 7, 17, 12)}


def series(root: Path, folder: str, patient: str, number: int, count: int) -> list[Path]:
    """Write a CT series of `count` planes 2.5 mm apart."""
    for index in range(count):
        dicom(
            root,
            f"{folder}/1-{index + 1:03}.dcm",
            SOPInstanceUID=f"{BASE}.{number}.{index}",
            SeriesInstanceUID=f"{BASE}.{number}.100",
            StudyInstanceUID=f"{BASE}.{number}.200",
            FrameOfReferenceUID=f"{BASE}.{number}.300",
            BodyPartExamined="CHEST",
            PatientID=patient,
            PatientName="",
            PatientBirthDate="",
            PatientSex="",
            StudyDate="20000101",
            StudyTime="",
            StudyID="",
            AccessionNumber="",
            ReferringPhysicianName="",
            InstanceNumber=index + 1,
            ImagePositionPatient=[-166.0, -171.7, -10.0 - 2.5 * index],
            ImageOrientationPatient=[1, 0, 0, 0, 1, 0],
            PixelSpacing=[0.703125, 0.703125],
            SliceThickness=2.5,
        )
    return sorted((root / folder).glob("*.dcm"))


def outline(planes: list[Path], target: Path, name: str, box: Box, number: int) -> None:
    """Write a SEG with one segment on the second and third plane."""
    masks = np.zeros((len(planes), 32, 40), np.bool_)
    masks[1:3] = blocks((32, 40), [box]) > 0
    described = SegmentDescription(
        segment_number=1,
        segment_label=name,
        segmented_property_category=codes.SCT.MorphologicallyAbnormalStructure,
        segmented_property_type=codes.SCT.Nodule,
        algorithm_type="MANUAL",
    )
    made = Segmentation(
        source_images=[pydicom.dcmread(path) for path in planes],
        pixel_array=masks,
        segmentation_type="BINARY",
        segment_descriptions=[described],
        series_instance_uid=f"{BASE}.900.{number}",
        series_number=number + 1,
        sop_instance_uid=f"{BASE}.901.{number}",
        instance_number=1,
        manufacturer="QIICR",
        manufacturer_model_name="lidc2dicom",
        software_versions="1",
        device_serial_number="0",
    )
    target.parent.mkdir(parents=True)
    made.save_as(target)


def report(root: Path, path: str, **elements: Any) -> None:
    """Write a structured report: a DICOM file without an image."""
    file = dicom(root, path, SOPClassUID=ComprehensiveSRStorage, Modality="SR", **elements)
    for keyword in ("Rows", "Columns", "PixelData", "SamplesPerPixel", "BitsAllocated", "BitsStored", "HighBit"):
        delattr(file, keyword)
    file.save_as(root / path, enforce_file_format=True)


def make(root: Path) -> Expected:
    """One patient with a nodule that two readers outlined on two of four slices, and one without a nodule."""
    study = "LIDC-IDRI/LIDC-IDRI-0001/01-01-2000-NA-NA-30178"
    planes = series(root, f"{study}/3000566.000000-NA-03192", "LIDC-IDRI-0001", 1, 4)
    for number, (reader, box) in enumerate(READERS.items()):
        name = f"Nodule 1 - Annotation {reader}"
        outline(
            planes, root / study / f"{number}.000000-Segmentation of {name}-9{number}" / "1-1.dcm", name, box, number
        )
        folder = f"{study}/10{number}.000000-{name} evaluations-5{number}"
        report(root, f"{folder}/1-1.dcm", SOPInstanceUID=f"{BASE}.902.{number}", PatientID="LIDC-IDRI-0001")
    series(root, "LIDC-IDRI/LIDC-IDRI-0002/01-01-2000-NA-NA-98329/3000522.000000-NA-04919", "LIDC-IDRI-0002", 2, 2)
    return Expected(
        rows=2,
        modalities={"ct"},
        patients=1,
        diseases={"pulmonary_nodule"},
        organs={"lung"},
        rois=2,
        refused=(("dicom.no_pixels", 2),),
    )
