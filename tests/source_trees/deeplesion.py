"""DeepLesion: `Images_png/<patient>_<study>_<series>/<slice>.png` of 16 bits, one table."""

from __future__ import annotations

from pathlib import Path

from source_trees import Expected
from source_trees.drawing import picture16, table

LESIONS = [
    ("000001_01_01_109.png", "4.907, 3.4897, 14.2, 10.2", 3, 3),
    ("000001_02_01_014.png", "8.0, 6.5, 30.25, 20.0", 5, 3),
    ("000001_02_01_014.png", "2.0, 20.5, 9.25, 28.0", 5, 3),
    ("000004_01_01_096.png", "1.0, 2.0, 12.5, 16.0", 4, 2),
    ("000017_02_01_162.png", "5.0, 5.0, 20.0, 25.0", -1, 1),
]


def make(root: Path) -> Expected:
    """Three patients, one in two studies with two lesions on a slice; a slice beside a key slice stays unclaimed."""
    rows = []
    for name, box, kind, part in LESIONS:
        patient, study, series, image = name.removesuffix(".png").split("_")
        path = f"Images_png/{patient}_{study}_{series}/{image}.png"
        if not (root / path).exists():
            picture16(root, path)
        rows.append(
            {
                "File_name": name,
                "Patient_index": int(patient),
                "Study_index": int(study),
                "Series_ID": int(series),
                "Key_slice_index": int(image),
                "Measurement_coordinates": "9.8, 5.4, 12.1, 8.6, 10.0, 4.1, 8.2, 9.0",
                "Bounding_boxes": box,
                "Lesion_diameters_Pixel_": "13.8, 11.2",
                "Normalized_lesion_location": "0.44666, 0.283794, 0.434454",
                "Coarse_lesion_type": kind,
                "Possibly_noisy": 0,
                "Slice_range": "103, 115",
                "Spacing_mm_px_": "0.488281, 0.488281, 5",
                "Image_size": "512, 512",
                "DICOM_windows": "-175, 275",
                "Patient_gender": "F",
                "Patient_age": 62,
                "Train_Val_Test": part,
            }
        )
    table(root, "DL_info.csv", rows)
    picture16(root, "Images_png/000001_01_01/108.png")
    return Expected(
        rows=4,
        modalities={"ct"},
        patients=3,
        splits={"train", "validation", "test"},
        diseases={"lesion", "lung_lesion"},
        organs={"mediastinum", "lung", "liver"},
        rois=5,
    )
