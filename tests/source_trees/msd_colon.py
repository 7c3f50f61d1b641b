"""Medical Segmentation Decathlon, Task10_Colon; the tree is that of `msd_liver`."""

from __future__ import annotations

from pathlib import Path

from source_trees import Expected
from source_trees.msd_liver import task


def make(root: Path) -> Expected:
    """Two colons with a cancer each."""
    cases = {"colon_001": {1: (4, 4, 10, 10)}, "colon_005": {1: (3, 5, 9, 12)}}
    task(root, "Task10_Colon", cases, "colon_002", ("colon cancer primaries",), ("CT",))
    return Expected(
        rows=4,
        modalities={"ct"},
        patients=2,
        diseases={"colon_cancer"},
        organs={"colon"},
        rois=4,
    )
