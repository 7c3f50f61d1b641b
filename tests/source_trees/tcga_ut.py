"""TCGA-UT: cancer type, magnification, slide, patch."""

from __future__ import annotations

from pathlib import Path

from source_trees import Expected
from source_trees.drawing import picture


def make(root: Path) -> Expected:
    """Two slides of one patient, one of another, a metastasis, and one patch at a second magnification."""
    slides = {
        "Breast_invasive_carcinoma/0/TCGA-E2-A4PN-01Z-00-DX1": ("0_0_515", "0_1_515", "1_0_515"),
        "Breast_invasive_carcinoma/0/TCGA-E2-A4PN-01Z-00-DX2": ("2_2_516",),
        "Breast_invasive_carcinoma/5/TCGA-E2-A4PN-01Z-00-DX1": ("0_0_1030",),
        "Brain_Lower_Grade_Glioma/0/TCGA-DB-A64S-01Z-00-DX1": ("0_2_518",),
        "Skin_Cutaneous_Melanoma/0/TCGA-FS-A1Z7-06Z-00-DX7": ("0_8_521",),
        "Lymphoid_Neoplasm_Diffuse_Large_B-cell_Lymphoma/0/TCGA-FF-8041-01Z-00-DX1": ("0_0_507",),
    }
    for slide, patches in slides.items():
        for patch in patches:
            picture(root, f"{slide}/{patch}.jpg", (32, 32))
    return Expected(
        rows=8,
        modalities={"histopathology"},
        patients=4,
        diseases={"breast_cancer", "glioma", "melanoma", "non_hodgkin_lymphoma"},
        organs={"breast", "brain"},
        rois=8,
    )
