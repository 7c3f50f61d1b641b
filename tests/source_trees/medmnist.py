"""MedMNIST: an .npz a set with images and labels of three splits."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from source_trees import Expected
from source_trees.drawing import noise

LABELS = {
    "pathmnist_64": [[8], [6], [1]],
    "organcmnist": [[0], [6], [10]],
}
COLORS = ("pathmnist_64",)


def make(root: Path) -> Expected:
    """Two sets at two sizes, an image a split; a set of volumes is not read."""
    root.mkdir(parents=True)
    for name, labels in LABELS.items():
        side = int(name.partition("_")[2] or 28)
        arrays = {}
        for split, label in zip(("train", "val", "test"), labels, strict=True):
            shape = (1, side, side, 3) if name in COLORS else (1, side, side)
            arrays[f"{split}_images"] = noise(f"{name} {split}", shape)
            arrays[f"{split}_labels"] = np.array([label], np.int64 if name == "chestmnist" else np.uint8)
        np.savez_compressed(root / f"{name}.npz", **arrays)
    np.savez_compressed(root / "organmnist3d.npz", train_images=noise("volume", (1, 28, 28, 28)))
    return Expected(
        rows=6,
        modalities={"histopathology", "ct"},
        splits={"train", "validation", "test"},
        diseases={"colorectal_adenocarcinoma"},
        organs={"colorectum", "mucosa", "bladder", "liver", "spleen"},
        rois=5,
        healthy=1,
    )
