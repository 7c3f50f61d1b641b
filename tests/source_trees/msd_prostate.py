"""Medical Segmentation Decathlon, Task05_Prostate; the tree is that of `msd_liver`."""

from __future__ import annotations

from pathlib import Path

from source_trees import Expected
from source_trees.msd_liver import task


def make(root: Path) -> Expected:
    """Two prostates, T2 and ADC in one file; the zones touch and are one region."""
    cases = {"prostate_00": {1: (4, 4, 14, 8), 2: (5, 8, 12, 14)}, "prostate_01": {2: (5, 8, 12, 14)}}
    task(root, "Task05_Prostate", cases, "prostate_03", ("PZ", "TZ"), ("T2", "ADC"))
    return Expected(
        rows=4,
        modalities={"mri"},
        patients=2,
        organs={"pelvis", "prostate"},
        rois=4,
    )
