"""BTCV, cervix: `RawData/Training/img/<n>-Image.nii.gz` and `label/<n>-Mask.nii.gz`; a test part without labels."""

from __future__ import annotations

from pathlib import Path

from source_trees import Expected
from source_trees.drawing import labels, volume


def make(root: Path) -> Expected:
    """Two women, of one of whom only the uterus was drawn, and a test scan that gives no rows."""
    boxes = {1: (1, 1, 6, 6), 2: (8, 1, 14, 6), 3: (1, 9, 5, 14), 4: (9, 9, 20, 15)}
    for patient, drawn in (("0507688", boxes), ("0759564", {2: boxes[2]})):
        volume(root, f"RawData/Training/img/{patient}-Image.nii.gz", hu=True)
        labels(root, f"RawData/Training/label/{patient}-Mask.nii.gz", drawn)
    volume(root, "RawData/Testing/img/1258230-Image.nii.gz", hu=True)
    return Expected(
        rows=4,
        modalities={"ct"},
        patients=2,
        organs={"pelvis", "bladder", "uterus", "rectum", "small_bowel"},
        rois=10,
    )
