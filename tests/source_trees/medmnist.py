"""MedMNIST: an .npz a set with images and labels of three splits."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from source_trees import Expected
from source_trees.drawing import noise

LABELS = {
    "pathmnist_64": [[8], [6], [1]],
    "chestmnist": [[1, 0, 0, 0, 0, 0, 0, 1] + [0] * 6, [0] * 14, [0] * 13 + [1]],
    "retinamnist": [[0], [3], [4]],
    "breastmnist_224": [[0], [1], [1]],
    "organcmnist": [[0], [6], [10]],
}
COLORS = ("pathmnist_64", "retinamnist")


def make(root: Path) -> Expected:
    """Five sets at three sizes, an image a split; a set of volumes is left unclaimed."""
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
        rows=15,
        modalities={"histopathology", "xray", "fundus", "ultrasound", "ct"},
        splits={"train", "validation", "test"},
        diseases={
            "colorectal_adenocarcinoma", "atelectasis", "pneumothorax", "hiatal_hernia", "diabetic_retinopathy",
            "breast_cancer",
        },
        organs={"colorectum", "mucosa", "chest", "retina", "breast", "bladder", "liver", "spleen"},
        rois=14,
        healthy=3,
        refused=(("layout.unclaimed", 1),),
    )  # fmt: skip
