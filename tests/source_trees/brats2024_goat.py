"""BraTS 2024 GoAT: a folder a case, without a visit number."""

from __future__ import annotations

from pathlib import Path

from source_trees import Expected
from source_trees.brats2024_gli import visit


def make(root: Path) -> Expected:
    """Two cases with ground truth and one without."""
    training = "MICCAI2024-BraTS-GoAT-TrainingData-With-GroundTruth/MICCAI2024-BraTS-GoAT-TrainingData-With-GroundTruth"
    visit(root, training, "BraTS-GoAT-00000", {1: (4, 4, 7, 7), 2: (1, 1, 3, 9), 3: (7, 4, 9, 7)})
    visit(root, training, "BraTS-GoAT-01507", {3: (7, 4, 9, 7)})
    visit(root, "MICCAI2024-BraTS-GoAT-TrainingData-WithOut-GroundTruth", "BraTS-GoAT-02610", {})
    return Expected(
        rows=8,
        modalities={"mri"},
        patients=2,
        diseases={"brain_tumor", "peritumoral_edema"},
        organs={"brain"},
        rois=12,
    )
