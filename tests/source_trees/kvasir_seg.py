"""Kvasir-SEG: images and masks of the same names, both JPEG, and the boxes as JSON."""

from __future__ import annotations

from pathlib import Path

from source_trees import Expected
from source_trees.drawing import json_file, mask, picture


def make(root: Path) -> Expected:
    """Three images, one with two polyps."""
    polyps = {
        "cju0qkwl35piu0993l0dewei2": [(8, 8, 24, 24)],
        "cju0qoxqj9q6s0835b43399p4": [(8, 8, 24, 24)],
        "cju0qx73cjw570799j4n5cjze": [(0, 0, 16, 16), (40, 32, 56, 48)],
    }
    boxes = {}
    for name, drawn in polyps.items():
        picture(root, f"Kvasir-SEG/images/{name}.jpg", (64, 64))
        mask(root, f"Kvasir-SEG/masks/{name}.jpg", drawn, (64, 64))
        found = [{"label": "polyp", "xmin": x0, "ymin": y0, "xmax": x1, "ymax": y1} for x0, y0, x1, y1 in drawn]
        boxes[name] = {"height": 64, "width": 64, "bbox": found}
    json_file(root, "Kvasir-SEG/kavsir_bboxes.json", boxes)
    return Expected(
        rows=3,
        modalities={"endoscopy"},
        diseases={"colorectal_polyp"},
        organs={"colorectum"},
        rois=4,
    )
