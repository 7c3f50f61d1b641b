"""PanNuke: a fold's images, tissue names and instance maps as NumPy stacks."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from source_trees import Expected
from source_trees.drawing import noise


def make(root: Path) -> Expected:
    """Two folds of three and two tiles; one tile without any nucleus."""
    tissues = {1: ("Breast", "HeadNeck", "Bile-duct"), 2: ("Adrenal_gland", "Ovarian")}
    for fold, names in tissues.items():
        images, masks = (root / f"Fold {fold}" / part / f"fold{fold}" for part in ("images", "masks"))
        images.mkdir(parents=True)
        masks.mkdir(parents=True)
        count = len(names)
        np.save(images / "images.npy", noise(f"fold {fold}", (count, 256, 256, 3)).astype(np.float64))
        np.save(images / "types.npy", np.array(names))
        nuclei = np.zeros((count, 256, 256, 6))
        nuclei[0, 10:20, 10:20, 0], nuclei[0, 40:52, 30:40, 0] = 1, 2
        nuclei[0, 100:110, 100:108, 1] = 3
        nuclei[1, 60:70, 60:70, 4] = 7
        nuclei[..., 5] = nuclei[..., :5].sum(axis=-1) == 0
        np.save(masks / "masks.npy", nuclei)
    return Expected(
        rows=5,
        modalities={"histopathology"},
        organs={
            "breast",
            "head_neck",
            "bile_duct",
            "adrenal_gland",
            "ovary",
            "neoplastic_cell",
            "inflammatory_cell",
            "epithelial_cell",
        },
        rois=6,
    )
