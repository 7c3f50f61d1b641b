"""LLaVA-Med: the instruction JSON below data/instruct, figures below data/images."""

from __future__ import annotations

from pathlib import Path

from source_trees import Expected
from source_trees.drawing import json_file, picture

DOMAINS = ("chest_xray", "mri", "histology", "gross", "ct_scan")


def make(root: Path) -> Expected:
    """A figure of each domain that is a modality, a gross photograph, and one of two domains."""
    figures = (
        ("28104940_Fig2", "ct_scan"), ("27964763_Fig3", "mri"), ("29385143_F1", "chest_xray"),
        ("30166998_F4", "histology"), ("31000000_Fig1", "gross"), ("32000000_Fig1", "gross", "histology"),
    )  # fmt: skip
    rows = [
        {
            "id": pair,
            "image": f"{pair}.jpg",
            "domain": {domain: domain in found for domain in DOMAINS},
            "conversations": [
                {"from": "human", "value": f"<image>\nWhat is shown in {pair}?"},
                {"from": "gpt", "value": "A drawn figure."},
            ],
        }
        for pair, *found in figures
    ]
    json_file(root, "data/instruct/llava_med_instruct_60k_inline_mention.json", rows)
    for pair, *_ in figures:
        picture(root, f"data/images/{pair}.jpg")
    return Expected(
        rows=4, modalities={"ct", "mri", "xray", "histopathology"}, texts=4, refused=(("modality.unknown", 2),)
    )
