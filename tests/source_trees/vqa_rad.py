"""VQA-RAD: the original JSON list and image folder."""

from __future__ import annotations

from pathlib import Path

from source_trees import Expected
from source_trees.drawing import json_file, picture


def make(root: Path) -> Expected:
    """A chest film asked about in both splits (so it is test), an abdomen, two heads of which a question names one."""
    asked = (
        ("synpic100132.jpg", "CHEST", "freeform", "Is there a pneumothorax?", "No"),
        ("synpic100132.jpg", "CHEST", "test_freeform", "Where is the opacity?", "Left lung"),
        ("synpic16810.jpg", "ABD", "para", "Which organ is enlarged?", "Liver"),
        ("synpic54610.jpg", "HEAD", "freeform", "Are regions of the brain infarcted?", "Yes"),
        ("synpic54610.jpg", "HEAD", "para", "What kind of image is this?", "T2 weighted MRI"),
        ("synpic676.jpg", "HEAD", "freeform", "Is this an MRI?", "No"),
    )
    rows = [
        {
            "qid": str(number), "phrase_type": phrase, "qid_linked_id": f"03f451ca-{number}",
            "image_case_url": f"https://medpix.nlm.nih.gov/case?id={number}", "image_name": name, "image_organ": organ,
            "evaluation": "not evaluated", "question": question, "question_rephrase": "NULL",
            "question_relation": "NULL", "question_frame": "NULL", "question_type": "PRES", "answer": answer,
            "answer_type": "CLOSED",
        }
        for number, (name, organ, phrase, question, answer) in enumerate(asked)
    ]  # fmt: skip
    json_file(root, "VQA_RAD Dataset Public.json", rows)
    for name in sorted({name for name, *_ in asked}):
        picture(root, f"VQA_RAD Image Folder/{name}", color=False)
    return Expected(
        rows=3,
        modalities={"xray", "ct", "mri"},
        splits={"train", "test"},
        organs={"chest", "abdomen", "head"},
        texts=3,
        refused=(("modality.unknown", 1),),
    )
