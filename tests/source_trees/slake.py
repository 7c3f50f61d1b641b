"""SLAKE 1.0: question files by split, a folder an image with its boxes, mask and questions."""

from __future__ import annotations

from pathlib import Path

from source_trees import Expected
from source_trees.drawing import json_file, picture

BOXES = {
    "xmlab0": [{"Liver": [4.0, 5.0, 12.0, 10.0]}, {"Spinal Cord": [18.0, 20.0, 6.0, 6.0]}],
    "xmlab102": [{"Left Lung": [2.0, 2.0, 10.0, 20.0]}, {"Pneumothorax": [3.0, 4.0, 5.0, 6.0]}],
    "xmlab470": [{"Brain Edema": [8.0, 8.0, 9.0, 9.0]}, {"Brain Non-enhancing Tumor": [10.0, 10.0, 4.0, 4.0]}],
}


def make(root: Path) -> Expected:
    """One image a split, each with a question in both languages."""
    said = (
        ("train", "xmlab0", "Abdomen", "MRI"), ("validate", "xmlab102", "Chest", "X-Ray"),
        ("test", "xmlab470", "Brain_Tissue", "MRI"),
    )  # fmt: skip
    qid = 0
    for split, folder, location, modality in said:
        rows = []
        for language, question in (("en", "What modality is used?"), ("zh", "这是什么模态？")):
            rows.append({
                "img_id": int(folder.removeprefix("xmlab")), "img_name": f"{folder}/source.jpg", "question": question,
                "answer": modality, "q_lang": language, "location": location, "modality": modality,
                "answer_type": "OPEN", "base_type": "vqa", "content_type": "Modality", "triple": ["vhead", "_", "_"],
                "qid": qid,
            })  # fmt: skip
            qid += 1
        json_file(root, f"Slake1.0/{split}.json", rows)
        picture(root, f"Slake1.0/imgs/{folder}/source.jpg")
        picture(root, f"Slake1.0/imgs/{folder}/mask.png")
        json_file(root, f"Slake1.0/imgs/{folder}/detection.json", BOXES[folder])
        json_file(root, f"Slake1.0/imgs/{folder}/question.json", rows)
    return Expected(
        rows=3,
        modalities={"mri", "xray"},
        splits={"train", "validation", "test"},
        diseases={"pneumothorax", "peritumoral_edema", "brain_tumor"},
        organs={"abdomen", "chest", "brain", "liver", "spinal_cord", "lung"},
        rois=6,
        texts=3,
    )
