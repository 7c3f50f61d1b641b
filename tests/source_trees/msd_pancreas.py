"""Medical Segmentation Decathlon, Task07_Pancreas; the tree is that of `msd_liver`."""

from __future__ import annotations

from pathlib import Path

from source_trees import Expected
from source_trees.msd_liver import task


def make(root: Path) -> Expected:
    """A pancreas with a tumor and one without."""
    cases = {"pancreas_001": {1: (4, 4, 14, 8), 2: (6, 5, 8, 7)}, "pancreas_004": {1: (4, 4, 14, 8)}}
    task(root, "Task07_Pancreas", cases, "pancreas_002", ("pancreas", "cancer"), ("CT",))
    return Expected(
        rows=4,
        modalities={"ct"},
        patients=2,
        diseases={"pancreatic_tumor"},
        organs={"abdomen", "pancreas"},
        rois=6,
    )
