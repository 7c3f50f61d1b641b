"""autoPET: `<patient>/<study>/` with CT, CTres, PET, SUV and SEG, and a table of studies."""

from __future__ import annotations

from pathlib import Path

from source_trees import Expected
from source_trees.drawing import labels, table, volume

STUDIES = {
    "PETCT_0011f3deaf/03-23-2003-NA-Unspecified CT ABDOMEN-10445": {1: (4, 4, 8, 8)},
    "PETCT_01140d52d8/08-13-2005-NA-PET-CT Ganzkoerper primaer mit KM-56839": {},
    "PETCT_01140d52d8/10-15-2005-NA-PET-CT Ganzkoerper primaer mit KM-12345": {1: (10, 3, 14, 9)},
}


def make(root: Path) -> Expected:
    """Two patients, three studies, one of them without a lesion: CT and PET of the other two give rows."""
    for study, boxes in STUDIES.items():
        for name in ("CT", "CTres", "PET", "SUV"):
            volume(root, f"FDG-PET-CT-Lesions/{study}/{name}.nii.gz", hu=name.startswith("CT"))
        labels(root, f"FDG-PET-CT-Lesions/{study}/SEG.nii.gz", boxes)
    rows = [
        {"Subject ID": study.split("/")[0], "diagnosis": "MELANOMA" if boxes else "NEGATIVE"}
        for study, boxes in STUDIES.items()
    ]
    table(root, "fdg_metadata.csv", rows)
    return Expected(
        rows=8,
        modalities={"ct", "pet"},
        patients=2,
        diseases={"melanoma", "tumor"},
        rois=8,
    )
