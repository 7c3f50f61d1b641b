"""ISIC 2018 Task 1: input and ground truth folders of three splits."""

from __future__ import annotations

from pathlib import Path

from source_trees import Expected
from source_trees.drawing import mask, picture


def make(root: Path) -> Expected:
    """Two training lesions, one of validation and one of test."""
    cases = (
        ("Training", "ISIC_0000000"),
        ("Training", "ISIC_0000001"),
        ("Validation", "ISIC_0012255"),
        ("Test", "ISIC_0012169"),
    )
    for split, case in cases:
        picture(root, f"ISIC2018_Task1-2_{split}_Input/{case}.jpg")
        mask(root, f"ISIC2018_Task1_{split}_GroundTruth/{case}_segmentation.png")
    return Expected(
        rows=4,
        modalities={"dermoscopy"},
        splits={"train", "validation", "test"},
        diseases={"skin_lesion"},
        organs={"skin"},
        rois=4,
    )
