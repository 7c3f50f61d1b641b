"""PMC-OA: the list of subfigures, that of whole captions, and the unpacked archive."""

from __future__ import annotations

from pathlib import Path

from source_trees import Expected
from source_trees.drawing import json_file, picture

FIGURES = (
    ("PMC212319_Fig3_4.jpg", "Ultrasound of the thyroid."),
    ("PMC212319_Fig3_5.jpg", "Fundus of the left eye."),
    ("PMC300000_Fig1_0.jpg", "CT and MRI of the liver."),
    ("PMC300001_Fig2_1.jpg", "Time course of the trial."),
    ("PMC400000_Fig1_1.jpg", "Dermoscopy of a nevus."),
    ("PMC500000_Fig5_2.jpg", "Chest radiograph."),
    ("PMC500000_Fig5_3.jpg", "Colonoscopy with a polyp."),
)


def make(root: Path) -> Expected:
    """Subfigures of five modalities; one caption names two modalities, one names none."""
    whole = [{"image": name, "caption": caption} for name, caption in FIGURES]
    json_file(root, "pmc_oa_beta.jsonl", whole)
    json_file(root, "pmc_oa.jsonl", [{**row, "alignment_type": "caption", "alignment_score": 0.9} for row in whole])
    for name, _ in FIGURES:
        picture(root, f"images/caption_T060_filtered_top4_sep_v0_subfigures/{name}")
    return Expected(
        rows=5,
        modalities={"ultrasound", "fundus", "dermoscopy", "xray", "endoscopy"},
        texts=5,
        refused=(("modality.unknown", 2),),
    )
