"""A detector and a SAM in a whole build: asked in batches, named in the rows with their scores."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from medtrinity25m.build import build
from medtrinity25m.config import BuildConfig, SourceEntry
from medtrinity25m.progress import Reporter
from medtrinity25m.roi.neural import hub_models
from source_trees.drawing import picture
from test_hub_models import detr, sam
from tiny_models import need

pytestmark = need("torch", "transformers")
CARD = """
id = "{name}"
title = "Random weights"
version = "1"
code_license = "Apache-2.0"
weights_license = "CC0-1.0"
modalities = ["xray"]
min_score = {least}
[labels]
{label}
[run]
kind = "transformers"
model = "{name}"
{run}
"""
SOURCE = """
id = "films"
title = "Drawn films"
license = "CC0-1.0"
redistribution = "images"
egress = "any"
modality = "xray"
organs = ["chest"]
experts = {experts}
[layout]
kind = "folder_per_class"
images = "*"
"""


@pytest.fixture
def built(tmp_path, monkeypatch):
    """Build ten films with the experts named; returns the rows, and how many images each forward pass took."""
    import torch

    torch.manual_seed(0)
    detr(tmp_path / "detector")
    sam(tmp_path / "outliner")
    for at in range(10):
        picture(tmp_path / "data", f"{at}.png", (48, 64))
    (tmp_path / "key").write_text("a key for tests, sixteen bytes and more")
    sizes: list[int] = []
    plain = hub_models.HubExpert._find

    def count(expert, queries):
        sizes.append(len(queries))
        return plain(expert, queries)

    monkeypatch.setattr(hub_models.HubExpert, "_find", count)

    def run(experts: list[str], least: float = 0.0) -> tuple[list[dict], list[int]]:
        cards = {
            "detector": {"label": 'nodule = "nodule"', "run": 'task = "detection"'},
            "outliner": {"label": 'mask = "nodule"', "run": 'task = "box_prompt"\nbox_expert = "detector"'},
        }
        for name, parts in cards.items():
            threshold = least if name == "detector" else 0.0
            (tmp_path / f"{name}.toml").write_text(CARD.format(name=name, least=threshold, **parts))
        (tmp_path / "films.toml").write_text(SOURCE.format(experts=json.dumps(experts)))
        config = BuildConfig(
            out=Path(f"out-{'-'.join(experts)}-{least}"),
            key_file=Path("key"),
            sources=(SourceEntry(source="films", root=tmp_path / "data"),),
            split={"train": 1.0},
            base=tmp_path,
        )
        build(config, reporter=Reporter(quiet=True))
        files = sorted((config.folder / "data").rglob("*.parquet"))
        return [row for path in files for row in pq.read_table(path).to_pylist()], sizes

    return run


def test_a_detector_is_asked_in_batches_and_named_in_the_row(built):
    """Ten films are two passes; every region says who found it and how sure it was."""
    rows, sizes = built(["detector"])
    assert sizes == [8, 2]
    assert len(rows) == 10
    rois = [roi for row in rows for roi in row["rois"]]
    assert rois
    assert {(roi["origin"], roi["expert"], roi["label"]) for roi in rois} == {("expert", "detector", "nodule")}
    assert all(0 < roi["score"] < 1 and roi["mask"] is None for roi in rois)
    assert all("located by the expert model detector" in row["caption"] for row in rows if row["rois"])


def test_a_sam_outlines_what_the_detector_boxed(built):
    """Its regions have masks, and the row names the outliner; the detector only prompted it."""
    rows, _ = built(["outliner"])
    rois = [roi for row in rows for roi in row["rois"]]
    assert rois
    assert {roi["expert"] for roi in rois} == {"outliner"}
    assert all(roi["mask"] is not None for roi in rois)
    assert all(row["provenance"]["experts"] == ["outliner"] for row in rows)


def test_an_unsure_detector_leaves_the_row_without_a_region(built):
    """Below the threshold nothing is claimed, and the text says who looked."""
    rows, _ = built(["detector"], least=0.999)
    assert [row["rois"] for row in rows] == [[]] * 10
    said = "No region of interest was located in this image by the expert model detector."
    assert all(row["local_text"] == said for row in rows)
