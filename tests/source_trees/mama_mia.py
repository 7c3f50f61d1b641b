"""MAMA-MIA: `images/<patient>/<patient>_<phase>.nii.gz`, expert and automatic segmentations, tables."""

from __future__ import annotations

from pathlib import Path

from source_trees import Expected
from source_trees.drawing import json_file, labels, table, volume


def make(root: Path) -> Expected:
    """Three patients of three collections, two or three phases each, the tumor on one slice of each phase."""
    patients = {"DUKE_001": 2, "ISPY1_1001": 3, "NACT_02": 2}
    for patient, phases in patients.items():
        for phase in range(phases):
            volume(root, f"images/{patient}/{patient}_{phase:04}.nii.gz")
        for kind in ("expert", "automatic"):
            labels(root, f"segmentations/{kind}/{patient}.nii.gz", {1: (6, 6, 12, 10)}, slices=(2,))
        json_file(root, f"patient_info_files/{patient.lower()}.json", {"patient_id": patient})
    splits = [{"train_split": "DUKE_001", "test_split": "NACT_02"}, {"train_split": "ISPY1_1001", "test_split": ""}]
    table(root, "train_test_splits.csv", splits)
    return Expected(
        rows=3,
        modalities={"mri"},
        patients=3,
        diseases={"breast_cancer"},
        organs={"breast"},
        rois=3,
    )
