"""BraTS 2024 MET: a folder a visit; not every visit has all four sequences."""

from __future__ import annotations

from pathlib import Path

from source_trees import Expected
from source_trees.brats2024_gli import visit


def make(root: Path) -> Expected:
    """Two patients, the second without t2w."""
    visit(
        root, "MICCAI-BraTS2024-MET-Challenge-TrainingData_1", "BraTS-MET-00001-000", {2: (1, 1, 3, 9), 3: (7, 4, 9, 7)}
    )
    second = "MICCAI-BraTS2024-MET-Challenge-TrainingData_2"
    visit(root, second, "BraTS-MET-00833-000", {1: (4, 4, 7, 7), 3: (12, 4, 16, 8)}, ("t1c", "t1n", "t2f"))
    return Expected(
        rows=7,
        modalities={"mri"},
        patients=2,
        diseases={"brain_metastasis", "peritumoral_edema"},
        organs={"brain"},
        rois=14,
    )
