"""Breast Histopathology Images: patient, class, patch; the archive holds one patient's folder a second time."""

from __future__ import annotations

from pathlib import Path

from source_trees import Expected
from source_trees.drawing import picture


def make(root: Path) -> Expected:
    """Three patients with patches of both classes, one of them only negative."""
    patches = {
        "8863": ((0, 51, 1001), (1, 951, 1501)),
        "10253": ((0, 1351, 1101), (1, 1001, 1001)),
        "9383": ((0, 1, 51),),
    }
    for patient, found in patches.items():
        for label, x, y in found:
            name = f"{patient}_idx5_x{x}_y{y}_class{label}.png"
            picture(root, f"{patient}/{label}/{name}", (50, 50))
    picture(root, "IDC_regular_ps50_idx5/10253/0/10253_idx5_x501_y351_class0.png", (50, 50))
    return Expected(
        rows=6,
        modalities={"histopathology"},
        patients=3,
        diseases={"invasive_ductal_carcinoma"},
        organs={"breast"},
        rois=6,
    )
