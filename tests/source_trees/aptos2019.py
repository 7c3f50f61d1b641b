"""APTOS 2019: graded training images, test images without grades."""

from __future__ import annotations

from pathlib import Path

from source_trees import Expected
from source_trees.drawing import picture, table


def make(root: Path) -> Expected:
    """Every grade once, and two test images."""
    train = [{"id_code": f"000c1434d8d{grade}", "diagnosis": grade} for grade in range(5)]
    test = [{"id_code": "0005cfc8afb6"}, {"id_code": "003f0afdcd15"}]
    for split, rows in (("train", train), ("test", test)):
        table(root, f"{split}.csv", rows)
        for row in rows:
            picture(root, f"{split}_images/{row['id_code']}.png")
    table(root, "sample_submission.csv", [{**row, "diagnosis": 0} for row in test])
    return Expected(
        rows=7,
        modalities={"fundus"},
        splits={"train", "test"},
        diseases={"diabetic_retinopathy"},
        organs={"retina"},
    )
