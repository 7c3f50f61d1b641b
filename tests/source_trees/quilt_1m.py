"""Quilt-1M: the lookup table and the unpacked parts."""

from __future__ import annotations

from pathlib import Path

from source_trees import Expected
from source_trees.drawing import picture, table


def make(root: Path) -> Expected:
    """Two pictures of one part, one of another; one picture has two captions, one line's picture is missing."""
    lines = []
    pairs = (
        ("W2nZIcWbCyE_image_1bce41ba.jpg", "Nests of atypical cells in the dermis.", "quilt", "train"),
        ("W2nZIcWbCyE_image_1bce41ba.jpg", "The epidermis is thin.", "quilt", "train"),
        ("PMC4181428_nihms.jpg", "A photomicrograph with foamy macrophages.", "pubmed", "val"),
        ("1412345678_0.jpg", "Gland forming tumor.", "openpath", "train"),
        ("missing.jpg", "Nobody fetched this one.", "laion", "train"),
    )
    for number, (path, caption, subset, split) in enumerate(pairs):
        lines.append({
            "": number, "caption": caption, "image_path": path, "subset": subset, "split": split,
            "pathology": "['Dermatopathology']", "roi_text": "[]", "noisy_text": "[]", "corrected_text": "[]",
            "med_umls_ids": "[]", "magnification": "1.0", "height": 40, "width": 32,
        })  # fmt: skip
    table(root, "quilt_1M_lookup.csv", lines)
    for part, names in (("1", (pairs[0][0], pairs[2][0])), ("2", (pairs[3][0],))):
        for name in names:
            picture(root, f"images_part_{part}/quilt_1m/{name}")
    return Expected(
        rows=3, modalities={"histopathology"}, splits={"train", "validation"}, texts=3, refused=(("file.missing", 1),)
    )
