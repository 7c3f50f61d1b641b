"""CHASE_DB1: both eyes of a child and two readers' vessel masks in one folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from source_trees import Expected
from source_trees.drawing import picture


def make(root: Path) -> Expected:
    """Both eyes of one child, one of another."""
    vessels = np.zeros((32, 40), bool)
    vessels[:, 12:14] = True
    vessels[10:12, :] = True
    for eye in ("01L", "01R", "02L"):
        picture(root, f"Image_{eye}.jpg")
        for reader in ("1st", "2nd"):
            Image.fromarray(vessels).save(root / f"Image_{eye}_{reader}HO.png")
    return Expected(
        rows=3,
        modalities={"fundus"},
        patients=2,
        organs={"retina", "vessel"},
        rois=3,
    )
