"""REFUGE as mirrored: images and disc-and-cup masks of three splits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from source_trees import Expected
from source_trees.drawing import picture


def make(root: Path) -> Expected:
    """A training eye with and one without glaucoma, one of validation, one of test."""
    for split, name, suffix in (
        ("train", "g0001", "bmp"),
        ("train", "n0001", "bmp"),
        ("val", "V0001", "png"),
        ("test", "T0001", "bmp"),
    ):
        picture(root, f"REFUGE2/{split}/images/{name}.jpg")
        drawn = np.full((32, 40), 255, np.uint8)
        drawn[8:20, 10:24] = 128
        drawn[12:16, 14:20] = 0
        target = root / f"REFUGE2/{split}/mask/{name}.{suffix}"
        target.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(drawn).save(target)
    return Expected(
        rows=4,
        modalities={"fundus"},
        splits={"train", "validation", "test"},
        diseases={"glaucoma"},
        organs={"retina", "optic_disc", "optic_cup"},
        rois=8,
    )
