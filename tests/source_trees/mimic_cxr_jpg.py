"""MIMIC-CXR-JPG: `files/p10/p<subject>/s<study>/<dicom>.jpg` and four gzipped tables."""

from __future__ import annotations

from pathlib import Path

from source_trees import Expected
from source_trees.chexpert import FINDINGS
from source_trees.drawing import picture, table

STUDIES = {
    ("10000032", "50414267"): ("train", {"No Finding": "1.0", "Support Devices": "1.0"}, ("PA", "LATERAL")),
    ("10000032", "53189527"): ("train", {"Pneumonia": "-1.0", "Edema": "0.0"}, ("AP",)),
    ("10000764", "57375967"): ("validate", {"Lung Opacity": "1.0", "Atelectasis": "1.0"}, ("AP",)),
    ("11000183", "51967845"): ("test", {"Pleural Effusion": "1.0"}, ("",)),
}


def make(root: Path) -> Expected:
    """Three patients: healthy with a device on two views, uncertain, and two with findings in the other splits."""
    metadata, labels, splits = [], [], []
    for (subject, study), (split, said, views) in STUDIES.items():
        ids = {"subject_id": subject, "study_id": study}
        labels.append({**ids, **{finding: said.get(finding, "") for finding in sorted(FINDINGS)}})
        for number, view in enumerate(views):
            dicom = f"02aa804e-bde0afdd-112c0b34-{study}-{number}"
            picture(root, f"files/p{subject[:2]}/p{subject}/s{study}/{dicom}.jpg", color=False)
            splits.append({"dicom_id": dicom, "study_id": study, "subject_id": subject, "split": split})
            metadata.append(
                {
                    "dicom_id": dicom,
                    **ids,
                    "PerformedProcedureStepDescription": "CHEST (PA AND LAT)",
                    "ViewPosition": view,
                    "Rows": 3056,
                    "Columns": 2544,
                    "StudyDate": 21800506,
                    "StudyTime": 213014.531,
                    "ProcedureCodeSequence_CodeMeaning": "CHEST (PA AND LAT)",
                    "ViewCodeSequence_CodeMeaning": "postero-anterior",
                    "PatientOrientationCodeSequence_CodeMeaning": "Erect",
                }
            )
    table(root, "mimic-cxr-2.0.0-metadata.csv.gz", metadata)
    table(root, "mimic-cxr-2.0.0-chexpert.csv.gz", labels)
    table(root, "mimic-cxr-2.0.0-negbio.csv.gz", labels)
    table(root, "mimic-cxr-2.0.0-split.csv.gz", splits)
    return Expected(
        rows=5,
        modalities={"xray"},
        patients=3,
        splits={"train", "validation", "test"},
        diseases={"opacity", "atelectasis", "pleural_effusion"},
        organs={"chest"},
        healthy=2,
    )
