"""PMC-VQA version 2: two tables and one archive of figures."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

from PIL import Image

from source_trees import Expected
from source_trees.drawing import noise, table


def make(root: Path) -> Expected:
    """Two training figures, one with two questions, a test figure, and one whose caption names no modality."""
    questions = {
        "train": (
            ("PMC1064097_F1.jpg", "Chest CT with a cavity.", "Where is the cavity?"),
            ("PMC1064097_F1.jpg", "Chest CT with a cavity.", "Which view is it?"),
            ("PMC1994592_F2.jpg", "Hematoxylin and eosin stain of the liver.", "Which organ is shown?"),
            ("PMC2000000_F1.jpg", "Kaplan-Meier curves.", "What is plotted?"),
        ),
        "test": (("PMC3000000_F3.jpg", "T2-weighted MRI of the knee.", "Which joint is shown?"),),
    }
    for split, rows in questions.items():
        lines = []
        for index, (figure, caption, question) in enumerate(rows):
            choices = {f"Choice {letter}": f"{letter}:choice {letter.lower()}" for letter in "ABCD"}
            lines.append({
                "index": index, "Figure_path": figure, "Caption": caption, "Question": question, **choices,
                "Answer": "A", "split": split,
            })  # fmt: skip
        table(root, f"{split}_2.csv", lines)
    with zipfile.ZipFile(root / "images_2.zip", "w") as archive:
        for figure in sorted({figure for rows in questions.values() for figure, _, _ in rows}):
            packed = io.BytesIO()
            Image.fromarray(noise(figure, (32, 40, 3))).save(packed, "JPEG")
            archive.writestr(f"figures/{figure}", packed.getvalue())
    return Expected(
        rows=3,
        modalities={"ct", "histopathology", "mri"},
        splits={"train", "test"},
        texts=3,
        refused=(("modality.unknown", 1),),
    )
