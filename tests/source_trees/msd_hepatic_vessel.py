"""Medical Segmentation Decathlon, Task08_HepaticVessel; the tree is that of `msd_liver`."""

from __future__ import annotations

from pathlib import Path

from source_trees import Expected
from source_trees.msd_liver import task


def make(root: Path) -> Expected:
    """Vessels with and without a tumor beside them."""
    cases = {"hepaticvessel_001": {1: (4, 4, 14, 6), 2: (6, 9, 10, 13)}, "hepaticvessel_002": {1: (4, 4, 14, 6)}}
    task(root, "Task08_HepaticVessel", cases, "hepaticvessel_003", ("Vessel", "Tumour"), ("CT",))
    return Expected(
        rows=4,
        modalities={"ct"},
        patients=2,
        diseases={"liver_tumor"},
        organs={"liver", "vessel"},
        rois=6,
    )
