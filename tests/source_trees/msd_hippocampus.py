"""Medical Segmentation Decathlon, Task04_Hippocampus; the tree is that of `msd_liver`."""

from __future__ import annotations

from pathlib import Path

from source_trees import Expected
from source_trees.msd_liver import task


def make(root: Path) -> Expected:
    """Two hippocampi; head and body touch and are one region."""
    cases = {"hippocampus_001": {1: (4, 4, 10, 8), 2: (4, 8, 10, 12)}, "hippocampus_003": {1: (4, 4, 10, 8)}}
    task(root, "Task04_Hippocampus", cases, "hippocampus_002", ("Anterior", "Posterior"), ("MRI",))
    return Expected(
        rows=4,
        modalities={"mri"},
        patients=2,
        organs={"brain", "hippocampus"},
        rois=4,
    )
