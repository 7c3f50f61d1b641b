"""HyperKvasir: the label table and a folder a class below tract and group."""

from __future__ import annotations

from pathlib import Path

from source_trees import Expected
from source_trees.drawing import picture, table


def make(root: Path) -> Expected:
    """Findings, landmarks, views and interventions of both tracts."""
    classes = (
        ("lower-gi-tract/pathological-findings/polyps", "0d486f49-7a49-4dc4-89fc-48b381307320"),
        ("lower-gi-tract/pathological-findings/ulcerative-colitis-grade-1-2", "00064260-95ca-47fc-9103-2b526f59fada"),
        ("lower-gi-tract/anatomical-landmarks/cecum", "0a0a0a0a-0000-4000-8000-000000000001"),
        ("lower-gi-tract/quality-of-mucosal-views/bbps-2-3", "0a0a0a0a-0000-4000-8000-000000000002"),
        ("lower-gi-tract/therapeutic-interventions/dyed-lifted-polyps", "0a0a0a0a-0000-4000-8000-000000000003"),
        ("upper-gi-tract/anatomical-landmarks/z-line", "0a0a0a0a-0000-4000-8000-000000000004"),
        ("upper-gi-tract/pathological-findings/barretts-short-segment", "0a0a0a0a-0000-4000-8000-000000000005"),
        ("upper-gi-tract/pathological-findings/esophagitis-b-d", "0a0a0a0a-0000-4000-8000-000000000006"),
    )
    rows = []
    for folder, name in classes:
        tract, group, finding = folder.split("/")
        organ = "Lower GI" if tract.startswith("lower") else "Upper GI"
        rows.append({"Video file": name, "Organ": organ, "Finding": finding, "Classification": group})
        picture(root, f"labeled-images/{folder}/{name}.jpg")
    table(root, "labeled-images/image-labels.csv", rows)
    return Expected(
        rows=8,
        modalities={"endoscopy"},
        diseases={"colorectal_polyp", "ulcerative_colitis", "barrett_esophagus", "esophagitis"},
        organs={"colorectum", "colon", "esophagus"},
    )
