"""IDRiD part A: original images and a folder of masks a kind of lesion."""

from __future__ import annotations

from pathlib import Path

from source_trees import Expected
from source_trees.drawing import mask, picture

KINDS = {
    "MA": "1. Microaneurysms",
    "HE": "2. Haemorrhages",
    "EX": "3. Hard Exudates",
    "SE": "4. Soft Exudates",
    "OD": "5. Optic Disc",
}


def make(root: Path) -> Expected:
    """Two training eyes and a test eye; soft exudates only in the first."""
    eyes = (("a. Training Set", "IDRiD_01", "MA HE EX SE OD"), ("a. Training Set", "IDRiD_02", "MA EX OD"),
            ("b. Testing Set", "IDRiD_55", "MA OD"))  # fmt: skip
    for split, eye, kinds in eyes:
        picture(root, f"A. Segmentation/1. Original Images/{split}/{eye}.jpg")
        for kind in kinds.split():
            path = f"A. Segmentation/2. All Segmentation Groundtruths/{split}/{KINDS[kind]}/{eye}_{kind}.tif"
            mask(root, path, ((4, 4, 8, 8), (12, 12, 15, 15)) if kind == "MA" else ((20, 10, 30, 20),))
    return Expected(
        rows=3,
        modalities={"fundus"},
        splits={"train", "test"},
        diseases={"diabetic_retinopathy", "microaneurysm", "retinal_hemorrhage", "hard_exudate", "soft_exudate"},
        organs={"retina", "optic_disc"},
        rois=10,
    )
