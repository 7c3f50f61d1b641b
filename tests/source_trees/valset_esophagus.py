"""VALSET: center, tissue class, tile."""

from __future__ import annotations

from pathlib import Path

from source_trees import Expected
from source_trees.drawing import picture

CLASSES = (
    "ADVENT",
    "LAM_PROP",
    "MUSC_MUC",
    "MUSC_PROP",
    "REGR_TU",
    "SH_MAG",
    "SH_OES",
    "SUBMUC",
    "SUB_GL",
    "TUMOR",
    "ULCUS",
)


def make(root: Path) -> Expected:
    """All eleven classes of one center, tumor and mucosa of the three others."""
    for number, name in enumerate(CLASSES, 160):
        picture(root, f"VALSET4_CHA_FULL/{name}/{name.lower()}.{number}.jpg", (32, 32))
    for center in ("VALSET1_UKK", "VALSET2_WNS", "VALSET3_TCGA"):
        picture(root, f"{center}/TUMOR/tumor.1.jpg", (32, 32))
        picture(root, f"{center}/SH_OES/sh_oes.168.jpg", (32, 32))
    return Expected(
        rows=17,
        modalities={"histopathology"},
        diseases={"esophageal_adenocarcinoma", "ulcer"},
        organs={"esophagus", "stomach", "mucosa", "submucosa", "adventitia", "gland", "smooth_muscle"},
        rois=17,
    )
