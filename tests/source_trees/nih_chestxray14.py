"""ChestX-ray14: one folder of images, two tables whose headers have commas inside brackets, two split lists."""

from __future__ import annotations

from pathlib import Path

from source_trees import Expected
from source_trees.drawing import picture, text

ENTRIES = {
    "00000001_000.png": "Cardiomegaly",
    "00000001_001.png": "Cardiomegaly|Emphysema",
    "00000002_000.png": "No Finding",
    "00000013_005.png": "Infiltration|Mass|Pneumothorax",
    "00000013_006.png": "Pleural_Thickening",
}
BOXES = [
    "00000001_000.png,Cardiomegaly,4.084745762712,7.019216763771,20.7796610169492,9.1864406779661,,,",
    "00000013_005.png,Infiltrate,2.0,3.0,10.5,12.25,,,",
    "00000013_005.png,Mass,20.0,10.0,8.0,9.0,,,",
]


def make(root: Path) -> Expected:
    """Three patients, boxes on two images, the official lists; headers as they are published, trailing commas too."""
    for name in ENTRIES:
        picture(root, f"images/{name}", color=False)
    header = (
        "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,"
        "OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y],"
    )
    lines = [
        f"{name},{labels},{int(name[9:12])},{int(name[:8])},58,M,PA,2682,2749,0.143,0.143,"
        for name, labels in ENTRIES.items()
    ]
    text(root, "Data_Entry_2017_v2020.csv", [header, *lines])
    text(root, "BBox_List_2017.csv", ["Image Index,Finding Label,Bbox [x,y,w,h],,,", *BOXES])
    text(root, "train_val_list.txt", [name for name in ENTRIES if not name.startswith("00000013")])
    text(root, "test_list.txt", [name for name in ENTRIES if name.startswith("00000013")])
    return Expected(
        rows=5,
        modalities={"xray"},
        patients=3,
        splits={"train", "test"},
        diseases={"cardiomegaly", "emphysema", "infiltration", "lung_mass", "pneumothorax", "pleural_thickening"},
        organs={"chest"},
        rois=3,
        healthy=1,
    )
