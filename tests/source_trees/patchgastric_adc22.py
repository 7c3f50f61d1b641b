"""PatchGastricADC22: patches named by their slide, and a table of captions."""

from __future__ import annotations

from pathlib import Path

from source_trees import Expected
from source_trees.drawing import picture, table


def make(root: Path) -> Expected:
    """Two slides with two and one patches."""
    slides = {
        "f77a619f6ccc449f915b44bdc0d6d8f0": ("Well differentiated tubular adenocarcinoma", ("0a1b2c3d", "4e5f6071")),
        "5bbcb60b101e4c11a2ba38e4a9ac0343": ("Signet ring cell carcinoma", ("8293a4b5",)),
    }
    lines = []
    for slide, (subtype, hashes) in slides.items():
        lines.append({"id": slide, "subtype": subtype, "text": f"Drawn tissue, {subtype.lower()}."})
        for end in hashes:
            picture(root, f"patches_captions/{slide}_{end}.jpg", (30, 30))
    table(root, "captions.csv", lines)
    return Expected(
        rows=3,
        modalities={"histopathology"},
        diseases={"gastric_adenocarcinoma", "tubular_adenocarcinoma"},
        organs={"stomach"},
        texts=3,
    )
