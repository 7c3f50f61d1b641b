"""TN3K: images and JPEG masks of two splits, and the fold files."""

from __future__ import annotations

from pathlib import Path

from source_trees import Expected
from source_trees.drawing import json_file, mask, picture


def make(root: Path) -> Expected:
    """Two training nodules and a test one."""
    for split, name in (("trainval", "0000"), ("trainval", "0001"), ("test", "0000")):
        picture(root, f"Thyroid Dataset/tn3k/{split}-image/{name}.jpg", (64, 64), color=False)
        mask(root, f"Thyroid Dataset/tn3k/{split}-mask/{name}.jpg", ((16, 16, 40, 32),), (64, 64))
    json_file(root, "Thyroid Dataset/tn3k/tn3k-trainval-fold0.json", {"train": [0], "val": [1]})
    return Expected(
        rows=3,
        modalities={"ultrasound"},
        splits={"train", "test"},
        diseases={"thyroid_nodule"},
        organs={"thyroid"},
        rois=3,
    )
