"""The demo part of MedTrinity's own release: images inside the Parquet file, several boxes in one."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from source_trees import Expected
from source_trees.drawing import Box
from source_trees.medtrinity_25m import drawn

ROWS: list[tuple[str, list[Box]]] = [
    ("The image is a CT scan of the brain. The region of interest is bright.", [(30, 40, 60, 70)]),
    (
        "The image is a T2-weighted MRI of the knee. Two regions are seen.",
        [(8, 8, 30, 30), (50, 50, 90, 80)],
    ),
    ("The image is a histopathology slide. No region of interest stands out.", []),
    ("The image shows something. Its kind is not said.", [(20, 20, 40, 40)]),
]


def make(root: Path) -> Expected:
    """Four rows, one of which does not say what it is."""
    (root / "25M_demo").mkdir(parents=True)
    rows = [
        {"image": {"bytes": drawn(f"{at}.jpg", boxes), "path": None}, "id": f"{at:08x}-1b5c-11ef", "caption": caption}
        for at, (caption, boxes) in enumerate(ROWS)
    ]
    pq.write_table(pa.Table.from_pylist(rows), root / "25M_demo" / "train-00000-of-00001.parquet")
    return Expected(
        rows=3,
        modalities={"ct", "mri", "histopathology"},
        rois=3,
        texts=3,
        refused=(("modality.unknown", 1),),
    )
