"""SA-Med2D-20M: `<modality>--<dataset>--<case>--<slice>.png`, a mask an object, two JSON files."""

from __future__ import annotations

from pathlib import Path

from source_trees import Expected
from source_trees.drawing import json_file, mask, picture

IMAGES = {
    "ct_00--CAD_PE--001--x_0125": ("0000_000", "0000_002"),
    "ct_00--CAD_PE--001--x_0126": (),
    "mr_t2--PROMISE12--Case00--z_0006": ("0000_000",),
    "pet_00--autoPET--PETCT_0011f3deaf--z_0141": ("0000_000",),
    "x_ray--covid_19_ct_cxr--16660_5_1--2d_none": ("0000_000", "0000_001"),
    "dermoscopy_00--isic2016_task1--ISIC_0000000--2d_none": ("0000_000",),
    "endoscopy_00--kvasir_seg--cju0qkwl35piu0993l0dewei2--2d_none": ("0000_000",),
    "ultrasound_00--ultrasound_nerve_segmentation--10_100--2d_none": ("0000_000",),
}


def make(root: Path) -> Expected:
    """Seven of the sets of one structure, and one image of a set of several, which is not read."""
    for name, objects in {**IMAGES, "mr_00--ACDC--patient001_frame01--x_0006": ("0003_000",)}.items():
        picture(root, f"SAMed2Dv1/images/{name}.png", color=name.startswith(("dermoscopy", "endoscopy")))
        for number, instance in enumerate(objects):
            box = (2 + 18 * number, 4, 14 + 18 * number, 20)
            mask(root, f"SAMed2Dv1/masks/{name}--{instance}.png", [box])
    pairs = {
        f"images/{name}.png": [f"masks/{name}--{instance}.png" for instance in objects]
        for name, objects in IMAGES.items()
    }
    json_file(root, "SAMed2Dv1/SAMed2D_v1.json", pairs)
    json_file(root, "SAMed2Dv1/SAMed2D_v1_class_mapping_id.json", {"CAD_PE": {"pulmonary_embolism": "0000"}})
    return Expected(
        rows=7,
        modalities={"ct", "mri", "pet", "xray", "dermoscopy", "endoscopy", "ultrasound"},
        patients=7,
        diseases={"pulmonary_embolism", "tumor", "skin_lesion", "colorectal_polyp"},
        organs={"prostate", "lung", "nerve"},
        rois=9,
    )
