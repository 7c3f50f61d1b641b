"""KiPA22: `train/image/<n>.nii.gz` and `train/label/<n>.nii.gz`."""

from __future__ import annotations

from pathlib import Path

from source_trees import Expected
from source_trees.drawing import labels, volume


def make(root: Path) -> Expected:
    """Two patients; in one slice of two, vein and artery are two parts of one label, the tumor lies in the kidney."""
    for patient in ("0", "13"):
        volume(root, f"train/image/{patient}.nii.gz")
        shown = {1: (1, 1, 3, 3), 2: (5, 5, 15, 15), 3: (1, 8, 3, 11), 4: (8, 8, 11, 11)}
        labels(root, f"train/label/{patient}.nii.gz", shown, slices=(2,))
    volume(root, "open_test/image/70.nii.gz")
    return Expected(
        rows=2,
        modalities={"ct"},
        patients=2,
        diseases={"kidney_tumor"},
        organs={"abdomen", "vessel", "kidney"},
        rois=8,
    )
