"""Medical Segmentation Decathlon, Task09_Spleen; the tree is that of `msd_liver`."""

from __future__ import annotations

from pathlib import Path

from source_trees import Expected
from source_trees.msd_liver import task


def make(root: Path) -> Expected:
    """Two spleens."""
    cases = {"spleen_2": {1: (4, 4, 10, 10)}, "spleen_3": {1: (3, 5, 9, 12)}}
    task(root, "Task09_Spleen", cases, "spleen_1", ("spleen",), ("CT",))
    return Expected(
        rows=4,
        modalities={"ct"},
        patients=2,
        organs={"abdomen", "spleen"},
        rois=4,
    )
