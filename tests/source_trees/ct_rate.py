"""CT-RATE: `dataset/<split>_fixed/<patient>/<scan>/<volume>`, tables of labels and reports under `dataset/`."""

from __future__ import annotations

from pathlib import Path

from source_trees import Expected
from source_trees.drawing import table, text, volume

HEADER = (
    "Medical material,Arterial wall calcification,Cardiomegaly,Pericardial effusion,Coronary artery wall calcification,"
    "Hiatal hernia,Lymphadenopathy,Emphysema,Atelectasis,Lung nodule,Lung opacity,Pulmonary fibrotic sequela,"
    "Pleural effusion,Mosaic attenuation pattern,Peribronchial thickening,Consolidation,Bronchiectasis,"
    "Interlobular septal thickening"
)
LABELS = HEADER.split(",")
VOLUMES = {
    "train_1_a_1": ("Medical material", "Lung nodule"),
    "train_1_a_2": ("Medical material", "Lung nodule"),
    "train_2_a_1": (),
    "train_2_b_1": ("Emphysema",),
    "valid_1_a_1": ("Hiatal hernia", "Interlobular septal thickening"),
}


def make(root: Path) -> Expected:
    """Three patients: two reconstructions of a scan, two scans of which one has no report, and one to validate."""
    for split, word in (("train", "train"), ("valid", "validation")):
        names = [name for name in VOLUMES if name.startswith(split)]
        for name in names:
            patient, scan = "_".join(name.split("_")[:2]), "_".join(name.split("_")[:3])
            volume(root, f"dataset/{split}_fixed/{patient}/{scan}/{name}.nii.gz", hu=True)
        labels = [
            {"VolumeName": f"{name}.nii.gz", **{word: int(word in VOLUMES[name]) for word in LABELS}} for name in names
        ]
        table(root, f"dataset/multi_abnormality_labels/{split}_predicted_labels.csv", labels)
        reports = [
            {
                "VolumeName": f"{name}.nii.gz",
                "ClinicalInformation_EN": "Not given.",
                "Technique_EN": "1.5 mm thick non-contrast sections were taken.",
                "Findings_EN": f"Findings of {name}, two\nlines.",
                "Impressions_EN": f"Impression of {name}.",
            }
            for name in names
            if name != "train_2_b_1"
        ]
        table(root, f"dataset/radiology_text_reports/{word}_reports.csv", reports)
        shape = [
            {"VolumeName": f"{name}.nii.gz", "RescaleIntercept": -8192, "RescaleSlope": 1, "XYSpacing": "[0.7, 0.7]"}
            for name in names
        ]
        table(root, f"dataset/metadata/{word}_metadata.csv", shape)
        text(root, f"dataset/metadata/no_chest_{split}.txt", ["train_1267_a_4"])
    return Expected(
        rows=5,
        modalities={"ct"},
        patients=3,
        splits={"train", "validation"},
        diseases={"pulmonary_nodule", "emphysema", "hiatal_hernia", "septal_thickening"},
        organs={"chest"},
        texts=4,
    )
