"""BHX beside CQ500: DICOM under `CQ500CT<n> CQ500CT<n>/Unknown Study/<series>/`, boxes by SOP Instance UID."""

from __future__ import annotations

from pathlib import Path

from source_trees import Expected
from source_trees.drawing import dicom, table

ROOT = "1.2.276.0.7230010.3.1.4.296485376.1"
SERIES = {(0, "CT Plain"): 2, (0, "CT PLAIN THIN"): 3, (22, "CT 4cc sec 150cc D3D on"): 2}
BOXES = {
    "1_Initial_Manual_Labeling.csv": [((0, "CT Plain", 1), "Intraparenchymal"), ((0, "CT Plain", 1), "Subdural")],
    "2_Extrapolation_to_All_Series.csv": [
        ((0, "CT Plain", 1), "Intraparenchymal"),
        ((0, "CT PLAIN THIN", 1), "Intraparenchymal"),
        ((0, "CT PLAIN THIN", 2), "Chronic"),
    ],
}


def uid(study: int, series: str, image: int) -> str:
    """A SOP Instance UID as CQ500 has them."""
    return f"{ROOT}.{study}.{list(SERIES).index((study, series))}.{image}"


def make(root: Path) -> Expected:
    """Two patients, one with blood in two of its series; a box that is in both tables is one box."""
    for (study, series), count in SERIES.items():
        for image in range(count):
            dicom(
                root,
                f"CQ500CT{study} CQ500CT{study}/Unknown Study/{series}/CT{image:06}.dcm",
                SOPInstanceUID=uid(study, series, image),
                SeriesInstanceUID=uid(study, series, 99),
                StudyInstanceUID=f"{ROOT}.{study}",
                PatientID=f"CQ500-CT-{study}",
                InstanceNumber=image + 1,
            )
    for name, lines in BOXES.items():
        rows = [
            {
                "": number,
                "SOPInstanceUID": uid(*where),
                "SeriesInstanceUID": uid(where[0], where[1], 99),
                "StudyInstanceUID": f"{ROOT}.{where[0]}",
                "data": str({"x": 4.5, "y": 6.0, "width": 12.0 + len(label), "height": 9.25}),
                "labelName": label,
                "labelType": "local",
            }
            for number, (where, label) in enumerate(lines)
        ]
        table(root, name, rows)
    return Expected(
        rows=3,
        modalities={"ct"},
        patients=1,
        diseases={"intraparenchymal_hemorrhage", "subdural_hemorrhage", "intracranial_hemorrhage"},
        organs={"brain"},
        rois=4,
    )
