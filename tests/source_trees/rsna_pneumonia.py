"""RSNA pneumonia: `stage_2_train_images/<patientId>.dcm`, a table of classes and one of boxes."""

from __future__ import annotations

from pathlib import Path

from source_trees import Expected
from source_trees.drawing import dicom, table

CLASSES = {
    "0004cfab-14fd-4e49-80ba-63a80b6bddd6": ("No Lung Opacity / Not Normal", []),
    "00313ee0-9eaa-42f4-b0ab-c148ed3241cd": ("Normal", []),
    "00436515-870c-4b36-a041-de91049b9ab4": ("Lung Opacity", [(4.0, 5.0, 13.0, 20.0), (22.0, 6.0, 12.0, 18.0)]),
}


def make(root: Path) -> Expected:
    """One image a class, two boxes on the third, and a test image of which nothing is known."""
    places = {**dict.fromkeys(CLASSES, "train"), "0000a175-0e68-4ca4-b1af-167204a7e0bc": "test"}
    for number, (patient, part) in enumerate(places.items()):
        uid = f"1.2.276.0.7230010.3.1.4.8323329.{number}"
        dicom(
            root,
            f"stage_2_{part}_images/{patient}.dcm",
            SOPInstanceUID=uid,
            SeriesInstanceUID=f"{uid}.1",
            StudyInstanceUID=f"{uid}.2",
            Modality="CR",
            BodyPartExamined="CHEST",
            ViewPosition="PA",
            PatientID=patient,
        )
    keys = ("x", "y", "width", "height")
    boxes = [
        {"patientId": patient, **dict(zip(keys, box, strict=True)), "Target": int(bool(found))}
        for patient, (_, found) in CLASSES.items()
        for box in found or [[""] * 4]
    ]
    table(root, "stage_2_train_labels.csv", boxes)
    classes = [{"patientId": box["patientId"], "class": CLASSES[box["patientId"]][0]} for box in boxes]
    table(root, "stage_2_detailed_class_info.csv", classes)
    return Expected(
        rows=4,
        modalities={"xray"},
        patients=4,
        diseases={"opacity"},
        organs={"chest"},
        rois=2,
        healthy=1,
    )
