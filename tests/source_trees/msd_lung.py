"""Medical Segmentation Decathlon, Task06_Lung; the tree is that of `msd_liver`."""

from __future__ import annotations

from pathlib import Path

from source_trees import Expected
from source_trees.msd_liver import task


def make(root: Path) -> Expected:
    """Two lungs with a cancer each."""
    cases = {"lung_001": {1: (4, 4, 10, 8)}, "lung_003": {1: (14, 4, 18, 9)}}
    task(root, "Task06_Lung", cases, "lung_002", ("cancer",), ("CT",))
    return Expected(
        rows=4,
        modalities={"ct"},
        patients=2,
        diseases={"non_small_cell_lung_cancer"},
        organs={"lung"},
        rois=4,
    )
