"""HAM10000: metadata, two parts of images, and the authors' masks."""

from __future__ import annotations

from pathlib import Path

from source_trees import Expected
from source_trees.drawing import mask, picture, table

FOLDER = "HAM10000_segmentations_lesion_tschandl"


def make(root: Path) -> Expected:
    """All seven diagnoses; two images show one lesion, one has no mask."""
    images = (
        ("HAM_0000118", "ISIC_0027419", "bkl", 1), ("HAM_0000118", "ISIC_0025030", "bkl", 1),
        ("HAM_0001466", "ISIC_0031633", "mel", 1), ("HAM_0000550", "ISIC_0024306", "nv", 1),
        ("HAM_0002730", "ISIC_0026769", "bcc", 2), ("HAM_0003301", "ISIC_0030417", "akiec", 2),
        ("HAM_0004000", "ISIC_0031000", "df", 2), ("HAM_0005000", "ISIC_0033000", "vasc", 2),
    )  # fmt: skip
    rows = [
        {
            "lesion_id": lesion, "image_id": image, "dx": dx, "dx_type": "histo", "age": 80.0, "sex": "male",
            "localization": "scalp", "dataset": "vidir_modern",
        }
        for lesion, image, dx, _ in images
    ]  # fmt: skip
    table(root, "HAM10000_metadata.csv", rows)
    for _, image, _, part in images:
        picture(root, f"HAM10000_images_part_{part}/{image}.jpg")
        if image != "ISIC_0033000":
            mask(root, f"{FOLDER}/{image}_segmentation.png")
    return Expected(
        rows=8,
        modalities={"dermoscopy"},
        diseases={
            "benign_keratosis", "melanoma", "melanocytic_nevus", "basal_cell_carcinoma",
            "actinic_keratosis_or_bowen_disease", "dermatofibroma", "vascular_skin_lesion",
        },
        organs={"skin"},
        rois=7,
    )  # fmt: skip
