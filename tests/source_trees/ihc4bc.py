"""IHC4BC, compressed: stain, marker, patient, subregion, patch."""

from __future__ import annotations

from pathlib import Path

from source_trees import Expected
from source_trees.drawing import picture


def make(root: Path) -> Expected:
    """Pairs of H&E and stain for two markers and three patients."""
    patches = (
        ("Her2", "Patient_0_1009/Subregion_5/0_1009_5_1_2.jpg"),
        ("Her2", "Patient_0_1010/Subregion_11/0_1010_11_1_2.jpg"),
        ("Ki67", "Patient_0_1010/Subregion_2/0_1010_2_3_4.jpg"),
        ("ER", "Patient_1_1033/Subregion_0/1_1033_0_7_1.jpg"),
    )
    for marker, path in patches:
        for stain in ("HandE", "IHC"):
            picture(root, f"IHC4BC_Compressed/Images/{stain}/{marker}/{path}")
    return Expected(
        rows=8, modalities={"histopathology"}, patients=3, diseases={"breast_cancer"}, organs={"breast"}, rois=0
    )
