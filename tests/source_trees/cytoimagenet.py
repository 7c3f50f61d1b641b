"""CytoImageNet: one metadata table, a folder a class."""

from __future__ import annotations

from pathlib import Path

from source_trees import Expected
from source_trees.drawing import picture, table


def make(root: Path) -> Expected:
    """Two classes; two pictures are crops of one field."""
    pictures = (
        ("human", "organism", "human-00000001.png", "bbbc041-14631", True),
        ("human", "organism", "human-00000010.png", "bbbc041-14631", True),
        ("actin", "cell_visible", "actin-00000001.png", "rec_rxrx1-77", False),
    )
    lines = [
        {
            "label": label, "category": category, "database": "Broad Bioimage Benchmark", "name": "malaria",
            "dir_name": idx.partition("-")[0], "path": f"/cytoimagenet/{label}", "filename": filename, "idx": idx,
            "organism": "human", "cell_type": "red blood cell", "cell_visible": "", "phenotype": "malaria",
            "compound": "", "sirna": "", "gene": "", "microscopy": "brightfield", "crop": crop,
            "scaling": 0.5, "x_min": 0, "x_max": 40, "y_min": 0, "y_max": 32,
        }
        for label, category, filename, idx, crop in pictures
    ]  # fmt: skip
    table(root, "cytoimagenet/metadata.csv", lines)
    for label, _, filename, _, _ in pictures:
        picture(root, f"cytoimagenet/{label}/{filename}", color=False)
    return Expected(rows=3, modalities={"microscopy"}, organs={"cell"}, texts=3)
