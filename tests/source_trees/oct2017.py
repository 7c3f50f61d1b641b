"""OCT2017: split, class, and names with class, patient and number."""

from __future__ import annotations

from pathlib import Path

from source_trees import Expected
from source_trees.drawing import picture


def make(root: Path) -> Expected:
    """Four classes; one patient has two images, another lies in two splits."""
    images = (
        "train/CNV/CNV-1016042-1", "train/CNV/CNV-1016042-2", "train/DME/DME-1072015-1",
        "train/DRUSEN/DRUSEN-1083159-1", "train/NORMAL/NORMAL-1073137-1", "val/NORMAL/NORMAL-4872585-1",
        "test/DME/DME-1072015-3",
    )  # fmt: skip
    for image in images:
        picture(root, f"OCT2017/{image}.jpeg", color=False)
    return Expected(
        rows=7,
        modalities={"fundus"},
        patients=5,
        splits={"train", "validation", "test"},
        diseases={"choroidal_neovascularization", "diabetic_macular_edema", "drusen"},
        organs={"retina", "macula"},
        healthy=2,
    )
