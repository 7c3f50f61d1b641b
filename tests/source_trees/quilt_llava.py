"""Quilt-Instruct: one JSON list of conversations, pictures of Quilt-1M beside it."""

from __future__ import annotations

from pathlib import Path

from source_trees import Expected
from source_trees.drawing import json_file, picture


def make(root: Path) -> Expected:
    """Two pictures, one of them with two conversations."""
    names = ("W2nZIcWbCyE_image_1bce41ba.jpg", "vcjjaINBWT4_image_1bce41ba.png")
    rows = [
        {
            "id": f"{name}-{number}",
            "image": name,
            "conversations": [
                {"from": "human", "value": f"What does picture {number} show?\n<image>"},
                {"from": "gpt", "value": f"Drawn tissue number {number}."},
            ],
        }
        for number, name in enumerate((*names, names[0]))
    ]
    json_file(root, "quilt_instruct_107k.json", rows)
    for name in names:
        picture(root, f"quilt_1m/{name}")
    return Expected(rows=2, modalities={"histopathology"}, texts=2)
