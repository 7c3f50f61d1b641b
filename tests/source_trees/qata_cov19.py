"""QaTa-COV19: `QaTa-COV19-v2/<part>/Images` and `Ground-truths` with the prefix mask_, and version 1 beside it."""

from __future__ import annotations

from pathlib import Path

from source_trees import Expected
from source_trees.drawing import mask, picture

BASE = "QaTa-COV19/QaTa-COV19-v2"
NAMES = {
    "Train Set": ("covid_1", "sub-S09345_ses-E17849_run-1_bp-chest_vp-ap_dx"),
    "Test Set": ("covid_4",),
}


def make(root: Path) -> Expected:
    """Three images with two infected regions each; version 1 is left unclaimed."""
    for part, names in NAMES.items():
        for name in names:
            picture(root, f"{BASE}/{part}/Images/{name}.png", color=False)
            mask(root, f"{BASE}/{part}/Ground-truths/mask_{name}.png", [(2, 2, 9, 20), (22, 5, 34, 25)])
    picture(root, "QaTa-COV19/QaTa-COV19-v1/Images/covid_1.png", color=False)
    mask(root, "QaTa-COV19/QaTa-COV19-v1/Ground-truths/mask_covid_1.png")
    return Expected(
        rows=3,
        modalities={"xray"},
        splits={"train", "test"},
        diseases={"covid_19"},
        organs={"chest"},
        rois=6,
    )
