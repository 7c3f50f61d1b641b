"""TCGA diagnostic slides: a folder a file UUID, and the sample sheet of the cart."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import tifffile

from source_trees import Expected
from source_trees.drawing import table

SLIDES = (
    (
        "1bcf3e22-0000-4000-8000-000000000001",
        "TCGA-E2-A4PN-01Z-00-DX1.B0F6A36B-0000-4000-8000-000000000001",
        "TCGA-BRCA",
    ),
    (
        "1bcf3e22-0000-4000-8000-000000000002",
        "TCGA-06-5411-01Z-00-DX1.B0F6A36B-0000-4000-8000-000000000002",
        "TCGA-GBM",
    ),
)


def _slide(target: Path, seed: int) -> None:
    """Write an Aperio file of 1024 x 512 px at 0.5 µm a pixel: stained tissue on the left, glass on the right."""
    pixels = np.full((512, 1024, 3), 245, np.uint8)
    pixels[:, :512] = np.random.default_rng(seed).integers((140, 40, 110), (220, 140, 200), (512, 512, 3))
    said = "Aperio Image Library v11.2.1\r\n1024x512 [0,0 1024x512] (256x256) JPEG/RGB Q=30|AppMag = 20|MPP = 0.5"
    target.parent.mkdir(parents=True)
    tifffile.imwrite(target, pixels, tile=(256, 256), photometric="rgb", description=said, metadata=None)


def make(root: Path) -> Expected:
    """Two slides, each with one tile of tissue and one of glass."""
    rows = []
    for seed, (file_id, name, project) in enumerate(SLIDES):
        _slide(root / file_id / f"{name}.svs", seed)
        case = name[:12]
        rows.append({
            "File ID": file_id, "File Name": f"{name}.svs", "Data Category": "Biospecimen", "Data Type": "Slide Image",
            "Project ID": project, "Case ID": case, "Sample ID": f"{case}-01Z", "Tissue Type": "Tumor",
            "Tumor Descriptor": "Primary", "Specimen Type": "Solid Tissue", "Preservation Method": "FFPE",
        })  # fmt: skip
    table(root, "gdc_sample_sheet.2024-11-22.tsv", rows, "\t")
    return Expected(
        rows=2,
        modalities={"histopathology"},
        patients=2,
        diseases={"breast_cancer", "glioblastoma"},
        organs={"breast", "brain"},
    )
