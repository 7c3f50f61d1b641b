"""NCT-CRC-HE-100K and CRC-VAL-HE-7K: tissue class, tile."""

from __future__ import annotations

from pathlib import Path

from source_trees import Expected
from source_trees.drawing import picture


def make(root: Path) -> Expected:
    """Every class once in the training set, four of them in the held-out set."""
    for name in ("ADI", "BACK", "DEB", "LYM", "MUC", "MUS", "NORM", "STR", "TUM"):
        picture(root, f"NCT-CRC-HE-100K/{name}/{name}-AAAFLCLY.tif", (32, 32))
    for name in ("ADI", "NORM", "STR", "TUM"):
        picture(root, f"CRC-VAL-HE-7K/{name}/{name}-TCGA-AASSYQLP.tif", (32, 32))
    return Expected(
        rows=13,
        modalities={"histopathology"},
        splits={"train", "test"},
        diseases={"colorectal_adenocarcinoma"},
        organs={"adipose_tissue", "lymphocyte", "mucus", "smooth_muscle", "mucosa", "stroma", "debris", "colorectum"},
        rois=12,
        healthy=2,
    )
