"""VinDr-CXR: `train/<id>.dicom`, `test/<id>.dicom`, tables of boxes and of labels in `annotations/`."""

from __future__ import annotations

from pathlib import Path

from source_trees import Expected
from source_trees.drawing import dicom, table

HEADER = (
    "Aortic enlargement,Atelectasis,Calcification,Cardiomegaly,Clavicle fracture,Consolidation,Edema,Emphysema,"
    "Enlarged PA,ILD,Infiltration,Lung Opacity,Lung cavity,Lung cyst,Mediastinal shift,Nodule/Mass,Pleural effusion,"
    "Pleural thickening,Pneumothorax,Pulmonary fibrosis,Rib fracture,Other lesion,COPD,Lung tumor,Pneumonia,"
    "Tuberculosis,Other diseases,No finding"
)
LABELS = HEADER.split(",")
BOXES = {
    "train": [
        ("000434271f63a053c4128a0ba6352c7f", "R2", "No finding", None),
        ("000434271f63a053c4128a0ba6352c7f", "R3", "No finding", None),
        ("0005e8e3701dfb1dd93d53e2ff537b6e", "R8", "Lung Opacity", (4.5, 6.0, 20.25, 18.0)),
        ("0005e8e3701dfb1dd93d53e2ff537b6e", "R9", "Lung Opacity", (5.0, 6.5, 19.0, 17.5)),
        ("0005e8e3701dfb1dd93d53e2ff537b6e", "R10", "Nodule/Mass", (22.0, 10.0, 30.0, 16.0)),
        ("0005e8e3701dfb1dd93d53e2ff537b6e", "R10", "Other lesion", (1.0, 1.0, 5.0, 5.0)),
    ],
    "test": [("002a34c58c5b758217ed1f584ccbcfe9", None, "Aortic enlargement", (10.0, 4.0, 25.0, 20.0))],
}
DIAGNOSES = {"0005e8e3701dfb1dd93d53e2ff537b6e": "Pneumonia", "002a34c58c5b758217ed1f584ccbcfe9": "Tuberculosis"}


def make(root: Path) -> Expected:
    """A healthy image by three readers, one with findings on which two agree, and one of the test set."""
    for number, (part, lines) in enumerate(BOXES.items()):
        images = dict.fromkeys(line[0] for line in lines)
        for place, image in enumerate(images):
            uid = f"1.2.840.{number}.{place}"
            dicom(
                root,
                f"{part}/{image}.dicom",
                SOPInstanceUID=uid,
                SeriesInstanceUID=f"{uid}.1",
                StudyInstanceUID=f"{uid}.2",
                Modality="DX",
                PatientID="",
            )
        reader = {"rad_id": ""} if part == "train" else {}
        boxes = [
            {
                "image_id": image,
                **({"rad_id": name} if reader else {}),
                "class_name": label,
                **dict(zip(("x_min", "y_min", "x_max", "y_max"), box or [""] * 4, strict=True)),
            }
            for image, name, label, box in lines
        ]
        table(root, f"annotations/annotations_{part}.csv", boxes)
        labels = [
            {
                "image_id": image,
                **({"rad_id": "R1"} if reader else {}),
                **{word: int(word == DIAGNOSES.get(image, "No finding")) for word in LABELS},
            }
            for image in images
        ]
        table(root, f"annotations/image_labels_{part}.csv", labels)
    return Expected(
        rows=3,
        modalities={"xray"},
        splits={"train", "test"},
        diseases={"opacity", "lung_lesion", "pneumonia", "aortic_enlargement", "tuberculosis"},
        organs={"chest"},
        rois=3,
        healthy=1,
    )
