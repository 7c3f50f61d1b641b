"""The examinations of MedMNIST: an .npz a set with images and labels of three splits."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from source_trees import Expected
from source_trees.drawing import noise

LABELS = {
    "chestmnist": [[1, 0, 0, 0, 0, 0, 0, 1] + [0] * 6, [0] * 14, [0] * 13 + [1]],
    "retinamnist": [[0], [3], [4]],
    "breastmnist_224": [[0], [1], [1]],
}
COLORS = ("retinamnist",)


def make(root: Path) -> Expected:
    """Three sets, an image a split; a set of tiles is another source."""
    root.mkdir(parents=True)
    for name, labels in LABELS.items():
        side = int(name.partition("_")[2] or 28)
        arrays = {}
        for split, label in zip(("train", "val", "test"), labels, strict=True):
            shape = (1, side, side, 3) if name in COLORS else (1, side, side)
            arrays[f"{split}_images"] = noise(f"{name} {split}", shape)
            arrays[f"{split}_labels"] = np.array([label], np.int64 if name == "chestmnist" else np.uint8)
        np.savez_compressed(root / f"{name}.npz", **arrays)
    np.savez_compressed(root / "pathmnist.npz", train_images=noise("tiles", (1, 28, 28, 3)))
    return Expected(
        rows=9,
        modalities={"xray", "fundus", "ultrasound"},
        splits={"train", "validation", "test"},
        diseases={"atelectasis", "pneumothorax", "hernia", "diabetic_retinopathy", "breast_cancer"},
        organs={"chest", "retina", "breast"},
        healthy=1,
    )
