"""FLARE 2023: `imagesTr2200/FLARE23_<n>_0000.nii.gz`, partial labels in `labelsTr2200`."""

from __future__ import annotations

from pathlib import Path

from source_trees import Expected
from source_trees.drawing import labels, volume

CASES = {
    "FLARE23_0001": {1: (1, 1, 9, 9), 2: (1, 12, 5, 16), 13: (16, 12, 20, 16)},
    "FLARE23_0002": {14: (6, 6, 10, 10)},
    "FLARE23_0003": {1: (1, 1, 9, 9), 8: (12, 3, 14, 5), 14: (3, 3, 5, 5)},
}


def make(root: Path) -> Expected:
    """Organs only, a tumor only, and both; an unlabeled volume is left alone."""
    for case, boxes in CASES.items():
        volume(root, f"imagesTr2200/{case}_0000.nii.gz", hu=True)
        labels(root, f"labelsTr2200/{case}.nii.gz", boxes, slices=(2,))
    volume(root, "unlabeledTr1800/FLARE23_2201.nii.gz", hu=True)
    return Expected(
        rows=3,
        modalities={"ct"},
        patients=3,
        diseases={"tumor"},
        organs={"abdomen", "liver", "kidney", "adrenal_gland"},
        rois=7,
    )
