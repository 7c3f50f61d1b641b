"""BUSI: images and masks of three classes in one folder a class."""

from __future__ import annotations

from pathlib import Path

from source_trees import Expected
from source_trees.drawing import mask, picture


def make(root: Path) -> Expected:
    """Two benign images, one with two masses, a malignant one, and a normal one with a black mask."""
    images = {
        "benign/benign (1)": ((4, 4, 12, 12),),
        "benign/benign (100)": ((4, 4, 12, 12), (20, 10, 30, 20)),
        "malignant/malignant (1)": ((10, 8, 26, 24),),
        "normal/normal (1)": (),
    }
    for name, masses in images.items():
        path = f"Dataset_BUSI_with_GT/{name}"
        picture(root, f"{path}.png")
        mask(root, f"{path}_mask.png", masses[:1])
        for number, box in enumerate(masses[1:], 1):
            mask(root, f"{path}_mask_{number}.png", (box,))
    return Expected(
        rows=4,
        modalities={"ultrasound"},
        diseases={"benign_breast_tumor", "breast_cancer", "breast_mass"},
        organs={"breast"},
        rois=4,
        healthy=1,
    )
