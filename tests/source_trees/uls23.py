"""ULS23: a folder of images and one of labels a set, volumes with a fourth dimension of one."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np

from source_trees import Expected
from source_trees.drawing import labels, volume

NOVEL, FULL = "ULS23/novel_data", "ULS23/processed_data/fully_annotated"
CASES = {
    f"{NOVEL}/ULS23_DeepLesion3D": "000010_02_02_100_lesion_01",
    f"{NOVEL}/ULS23_Radboudumc_Bone": "bone_0001_lesion_01",
    f"{FULL}/kits21": "kits21_case_00000_lesion_01",
    f"{FULL}/LIDC-IDRI": "LIDC-IDRI-0001_lesion_01",
    f"{FULL}/NIH_LN_MED": "MED_LYMPH_001_lesion_01",
}


def make(root: Path) -> Expected:
    """A volume of five sets, the labels on two slices each, and one of a set that was not drawn by hand."""
    for folder, case in CASES.items():
        volume(root, f"{folder}/images/{case}.nii.gz", hu=True)
        labels(root, f"{folder}/labels/{case}.nii.gz", {1: (4, 4, 10, 9)})
        for kind in ("images", "labels"):
            path = root / folder / kind / f"{case}.nii.gz"
            flat = nibabel.load(path)
            deep = nibabel.Nifti1Image(np.asarray(flat.dataobj)[..., None], flat.affine)
            deep.header.set_xyzt_units("mm")
            nibabel.save(deep, path)
    partial = "ULS23/processed_data/partially_annotated/CCC18"
    volume(root, f"{partial}/images/CCC18_0001.nii.gz", hu=True)
    labels(root, f"{partial}/labels_grabcut/CCC18_0001.nii.gz", {1: (4, 4, 10, 9)})
    return Expected(
        rows=10,
        modalities={"ct"},
        diseases={"lesion", "pulmonary_nodule", "lymphadenopathy"},
        organs={"bone", "kidney", "lung", "mediastinum"},
        rois=10,
    )
