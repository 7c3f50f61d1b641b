"""Medical Segmentation Decathlon, Task02_Heart; the tree is that of `msd_liver`."""

from __future__ import annotations

from pathlib import Path

from source_trees import Expected
from source_trees.msd_liver import task


def make(root: Path) -> Expected:
    """Two hearts with the left atrium."""
    cases = {"la_003": {1: (4, 4, 10, 10)}, "la_004": {1: (5, 4, 11, 10)}}
    task(root, "Task02_Heart", cases, "la_001", ("left atrium",), ("MRI",))
    return Expected(
        rows=4,
        modalities={"mri"},
        patients=2,
        organs={"heart", "cardiac_atrium"},
        rois=4,
    )
