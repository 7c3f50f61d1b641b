"""CheXpert: `CheXpert-v1.0/train.csv` with paths that begin with the name of the release."""

from __future__ import annotations

from pathlib import Path

from source_trees import Expected
from source_trees.drawing import picture, table

HEADER = (
    "No Finding,Enlarged Cardiomediastinum,Cardiomegaly,Lung Opacity,Lung Lesion,Edema,Consolidation,Pneumonia,"
    "Atelectasis,Pneumothorax,Pleural Effusion,Pleural Other,Fracture,Support Devices"
)
FINDINGS = HEADER.split(",")
ROWS = {
    "train/patient00001/study1/view1_frontal.jpg": {
        "No Finding": "1.0",
        "Pneumothorax": "0.0",
        "Support Devices": "1.0",
    },
    "train/patient00002/study1/view1_frontal.jpg": {"Lung Opacity": "1.0", "Edema": "1.0", "Pneumonia": "-1.0"},
    "train/patient00002/study1/view2_lateral.jpg": {"Lung Opacity": "1.0", "Edema": "1.0", "Pneumonia": "-1.0"},
    "train/patient00002/study2/view1_frontal.jpg": {"Consolidation": "-1.0", "Cardiomegaly": "0.0"},
    "valid/patient64541/study1/view1_frontal.jpg": {"Pleural Effusion": "1.0", "Atelectasis": "1.0"},
}


def make(root: Path) -> Expected:
    """Healthy with a device, edema seen from two sides, nothing but uncertainty, and one of the validation set."""
    for split in ("train", "valid"):
        rows = []
        for path, said in ROWS.items():
            if not path.startswith(split):
                continue
            picture(root, f"CheXpert-v1.0/{path}", color=False)
            frontal = path.endswith("frontal.jpg")
            rows.append(
                {
                    "Path": f"CheXpert-v1.0/{path}",
                    "Sex": "Female",
                    "Age": "68",
                    "Frontal/Lateral": "Frontal" if frontal else "Lateral",
                    "AP/PA": "AP" if frontal else "",
                    **{finding: said.get(finding, "") for finding in FINDINGS},
                }
            )
        table(root, f"CheXpert-v1.0/{split}.csv", rows)
    return Expected(
        rows=5,
        modalities={"xray"},
        patients=3,
        splits={"train", "validation"},
        diseases={"opacity", "pulmonary_edema", "pleural_effusion", "atelectasis"},
        organs={"chest"},
        healthy=1,
    )
