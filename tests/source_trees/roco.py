"""ROCOv2: captions and concepts a split, images packed for two splits and unpacked for one."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

from PIL import Image

from source_trees import Expected
from source_trees.drawing import noise, picture, table

FIGURES = {
    "train": (
        ("000001", "CT of the chest with an aortic aneurysm.", "C0040405"),
        ("000002", "Late axial T2-weighted MRI.", "C0024485"),
    ),
    "valid": (("000001", "Chest radiograph showing dextrocardia.", "C1306645;C0817096;C1996865"),),
    "test": (
        ("000001", "Transverse image of the left ovary.", "C0041618"),
        ("000002", "Coronary angiogram.", "C0002978"),
        ("000003", "Disappearance of the accumulation.", "C0032743"),
        ("000028", "Whole body PET/CT.", ""),
    ),
}


def make(root: Path) -> Expected:
    """Every modality once; the figure without a concept is refused."""
    for split, figures in FIGURES.items():
        names = [f"ROCOv2_2023_{split}_{number}" for number, *_ in figures]
        captions = [{"ID": name, "Caption": said} for name, (_, said, _) in zip(names, figures, strict=True)]
        concepts = [{"ID": name, "CUIs": cuis} for name, (*_, cuis) in zip(names, figures, strict=True)]
        table(root, f"{split}_captions.csv", captions)
        table(root, f"{split}_concepts_manual.csv", concepts)
        table(root, f"{split}_concepts.csv", concepts)
        if split == "test":
            for name in names:
                picture(root, f"test_images/test/{name}.jpg")
            continue
        with zipfile.ZipFile(root / f"{split}_images.zip", "w") as archive:
            for name in names:
                packed = io.BytesIO()
                Image.fromarray(noise(name, (32, 40, 3))).save(packed, "JPEG")
                archive.writestr(f"{split}/{name}.jpg", packed.getvalue())
    table(root, "cui_mapping.csv", [{"CUI": "C0040405", "Canonical name": "X-Ray Computed Tomography"}])
    table(root, "license_information.csv", [{"ID": "ROCOv2_2023_test_000001", "license": "CC BY"}])
    return Expected(
        rows=6,
        modalities={"ct", "mri", "xray", "ultrasound", "pet"},
        splits={"train", "validation", "test"},
        texts=6,
        refused=(("modality.unknown", 1),),
    )
