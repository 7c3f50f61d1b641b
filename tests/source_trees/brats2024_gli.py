"""BraTS 2024: a folder a visit with four sequences and a segmentation, all named after the visit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from source_trees import Expected
from source_trees.drawing import Box, labels, volume

SEQUENCES = ("t1c", "t1n", "t2f", "t2w")


def visit(root: Path, folder: str, name: str, boxes: Mapping[int, Box], sequences: Sequence[str] = SEQUENCES) -> None:
    """Write one visit; without boxes it has no segmentation."""
    for sequence in sequences:
        volume(root, f"{folder}/{name}/{name}-{sequence}.nii.gz")
    if boxes:
        labels(root, f"{folder}/{name}/{name}-seg.nii.gz", boxes, slices=(1,))


def make(root: Path) -> Expected:
    """Two patients, one of them seen twice, and a visit of the validation part without a segmentation."""
    training, validation = "BraTS2024-BraTS-GLI-TrainingData/training_data1_v2", "validation_data"
    visit(root, training, "BraTS-GLI-00005-100", {1: (4, 4, 7, 7), 2: (1, 1, 3, 9), 3: (7, 4, 9, 7), 4: (12, 4, 16, 8)})
    visit(root, training, "BraTS-GLI-00005-101", {2: (1, 1, 3, 9), 3: (7, 4, 9, 7)})
    visit(root, training, "BraTS-GLI-00006-100", {4: (12, 4, 16, 8)})
    visit(root, validation, "BraTS-GLI-02073-100", {})
    return Expected(
        rows=12,
        modalities={"mri"},
        patients=2,
        diseases={"glioma", "peritumoral_edema", "resection_cavity"},
        organs={"brain"},
        rois=24,
    )
