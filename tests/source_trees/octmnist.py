"""OCTMNIST: an .npz with images and labels of three splits."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from source_trees import Expected
from source_trees.drawing import noise


def make(root: Path) -> Expected:
    """Four images, one of a healthy retina; a set of another source beside them."""
    root.mkdir(parents=True)
    arrays = {}
    for split, label in (("train", [[0], [3]]), ("val", [[1]]), ("test", [[2]])):
        arrays[f"{split}_images"] = noise(split, (len(label), 28, 28))
        arrays[f"{split}_labels"] = np.array(label, np.uint8)
    np.savez_compressed(root / "octmnist.npz", **arrays)
    np.savez_compressed(root / "pathmnist.npz", train_images=noise("tiles", (1, 28, 28, 3)))
    return Expected(
        rows=4,
        modalities={"fundus"},
        splits={"train", "validation", "test"},
        diseases={"choroidal_neovascularization", "diabetic_macular_edema", "drusen"},
        organs={"retina"},
        healthy=1,
    )
