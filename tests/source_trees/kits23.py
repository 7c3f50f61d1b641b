"""KiTS23: `dataset/case_<n>/imaging.nii.gz`, `segmentation.nii.gz` and the readers' instances."""

from __future__ import annotations

from pathlib import Path

from source_trees import Expected
from source_trees.drawing import json_file, labels, volume

CASES = {
    "case_00000": {1: (2, 2, 12, 12), 2: (4, 4, 8, 8)},
    "case_00002": {1: (2, 2, 12, 12), 2: (4, 4, 7, 7), 3: (14, 4, 18, 8)},
}


def make(root: Path) -> Expected:
    """Two patients with a tumor, the second with a cyst beside its kidney."""
    for case, boxes in CASES.items():
        volume(root, f"dataset/{case}/imaging.nii.gz", hu=True)
        labels(root, f"dataset/{case}/segmentation.nii.gz", boxes, slices=(1,))
        for reader in (1, 2, 3):
            name = f"tumor_instance-1_annotation-{reader}.nii.gz"
            labels(root, f"dataset/{case}/instances/{name}", {1: boxes[2]}, slices=(1,))
    json_file(root, "dataset/kits23.json", [{"case_id": case, "malignant": True} for case in CASES])
    return Expected(
        rows=2,
        modalities={"ct"},
        patients=2,
        diseases={"kidney_tumor", "kidney_cyst"},
        organs={"abdomen", "kidney"},
        rois=6,
    )
