"""ISIC 2018 Task 3: images and a table a split, and the lesion groupings of the training images."""

from __future__ import annotations

from pathlib import Path

from source_trees import Expected
from source_trees.drawing import picture, table

NAMES = ("MEL", "NV", "BCC", "AKIEC", "BKL", "DF", "VASC")


def make(root: Path) -> Expected:
    """All seven diagnoses; two training images show one lesion."""
    images = {
        "Training": (("ISIC_0024306", "NV"), ("ISIC_0024307", "NV"), ("ISIC_0024310", "MEL"), ("ISIC_0024331", "BCC")),
        "Validation": (("ISIC_0034321", "AKIEC"), ("ISIC_0034322", "BKL")),
        "Test": (("ISIC_0034524", "DF"), ("ISIC_0034525", "VASC")),
    }
    for split, pairs in images.items():
        rows = [{"image": image, **{name: float(name == dx) for name in NAMES}} for image, dx in pairs]
        table(root, f"ISIC2018_Task3_{split}_GroundTruth/ISIC2018_Task3_{split}_GroundTruth.csv", rows)
        for image, _ in pairs:
            picture(root, f"ISIC2018_Task3_{split}_Input/{image}.jpg")
    lesions = (("ISIC_0024306", "HAM_0000550"), ("ISIC_0024307", "HAM_0000550"), ("ISIC_0024310", "HAM_0003521"),
               ("ISIC_0024331", "HAM_0007207"))  # fmt: skip
    table(
        root,
        "ISIC2018_Task3_Training_LesionGroupings.csv",
        [
            {"image": image, "lesion_id": lesion, "diagnosis_confirm_type": "histopathology"}
            for image, lesion in lesions
        ],
    )
    return Expected(
        rows=8,
        modalities={"dermoscopy"},
        splits={"train", "validation", "test"},
        diseases={
            "melanoma", "melanocytic_nevus", "basal_cell_carcinoma", "actinic_keratosis_or_bowen_disease",
            "benign_keratosis", "dermatofibroma", "vascular_skin_lesion",
        },
        organs={"skin"},
    )  # fmt: skip
