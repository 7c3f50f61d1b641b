"""LLD-MMRI: `images/<patient>/<study>/<series>.nii.gz`, boxes in one JSON file under patient ids."""

from __future__ import annotations

from pathlib import Path

from source_trees import Expected
from source_trees.drawing import json_file, volume

PHASES = ("T2WI", "In Phase", "Out Phase", "C+Delay", "C+V", "C-pre", "C+A", "DWI")


def make(root: Path) -> Expected:
    """Two patients with eight phases each; the JSON with their boxes is not read."""
    said = {}
    for patient, category in (("MR-391135", "Hepatic_hemangioma"), ("MR-391136", "Inaccessible")):
        said[patient] = []
        for number, phase in enumerate(PHASES):
            series = f"1.3.46.670589.{patient[3:]}.{number}"
            volume(root, f"images/{patient}/1.2.{patient[3:]}/{series}.nii.gz")
            box = {"x_min": 4, "y_min": 5, "x_max": 9, "y_max": 11}
            lesion = {
                "category": category,
                "bbox": {"2D_box": [{**box, "slice_idx": 1}], "3D_box": {**box, "z_min": 1, "z_max": 2}},
            }
            said[patient].append(
                {
                    "studyUID": f"1.2.{patient[3:]}",
                    "seriesUID": series,
                    "phase": phase,
                    "pixel_spacing": [0.7, 0.7],
                    "slice_thickness": 5.0,
                    "annotation": {"lesion": {"0": lesion}},
                }
            )
    json_file(root, "labels/Annotation.json", {"Annotation_info": said})
    return Expected(rows=16, modalities={"mri"}, patients=2, organs={"liver"}, refused=(("layout.unclaimed", 1),))
