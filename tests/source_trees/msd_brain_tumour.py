"""Medical Segmentation Decathlon, Task01_BrainTumour; the tree is that of `msd_liver`."""

from __future__ import annotations

from pathlib import Path

from source_trees import Expected
from source_trees.msd_liver import task


def make(root: Path) -> Expected:
    """Edema with and without a tumor in the middle, four sequences in one file."""
    cases = {"BRATS_001": {1: (1, 1, 4, 9), 2: (5, 5, 7, 7), 3: (7, 5, 9, 7)}, "BRATS_485": {1: (1, 1, 4, 9)}}
    task(
        root,
        "Task01_BrainTumour",
        cases,
        "BRATS_490",
        ("edema", "non-enhancing tumor", "enhancing tumour"),
        ("FLAIR", "T1w", "t1gd", "T2w"),
    )
    return Expected(
        rows=4,
        modalities={"mri"},
        patients=2,
        diseases={"glioma", "peritumoral_edema"},
        organs={"brain"},
        rois=6,
    )
