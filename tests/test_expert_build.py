"""Experts in a whole build: a network on volumes, found once, cut into slices, told in the rows."""

from __future__ import annotations

import io
from pathlib import Path

import nibabel
import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from medtrinity25m.build import build
from medtrinity25m.config import BuildConfig, SourceEntry
from medtrinity25m.progress import Reporter
from source_trees.drawing import dicom
from tiny_models import need

pytestmark = need("torch", "monai")

CARD = """
id = "bright"
title = "Voxels above 100 HU"
version = "1"
code_license = "Apache-2.0"
weights_license = "Apache-2.0"
modalities = ["ct"]
dimensions = 3
needs = "HU"
min_score = 0.6
min_area_px = 20
[labels]
1 = "bone"
[run]
kind = "torchscript"
model = "bright.ts"
[run.geometry]
size = [32, 32, 16]
values = "HU"
"""
SOURCE = """
id = "{name}"
title = "Drawn volumes"
license = "CC0-1.0"
redistribution = "images"
egress = "any"
modality = "ct"
values = "HU"
organs = ["chest"]
experts = ["bright"]
[layout]
{layout}
"""


def save_network(path: Path) -> None:
    """Write a network of two channels of logits: background, and what is brighter than 100 HU."""
    import torch

    class Bright(torch.nn.Module):
        def forward(self, x):
            return torch.cat([torch.zeros_like(x), (x - 100.0) / 10.0], dim=1)

    with torch.no_grad():
        torch.jit.trace(Bright(), torch.zeros(1, 1, 32, 32, 16)).save(str(path))


def body() -> np.ndarray:
    """Return a volume (x, y, z) of 40 x 36 x 10, about 20 HU with a block of 400 HU in slices 3 to 6."""
    voxels = np.full((40, 36, 10), 20.0, np.float32) + np.random.default_rng(0).normal(0, 20, (40, 36, 10))
    voxels[8:20, 10:30, 3:7] = 400.0
    return voxels


@pytest.fixture
def config(tmp_path) -> BuildConfig:
    """A NIfTI volume and a DICOM series of the same body, one expert for both."""
    voxels = body()
    (tmp_path / "nifti").mkdir()
    image = nibabel.Nifti1Image(voxels.astype(np.int16), np.diag([0.5, 0.8, 3.0, 1.0]))
    image.header.set_xyzt_units("mm")
    nibabel.save(image, tmp_path / "nifti" / "scan.nii.gz")
    for at in range(10):  # LPS: columns to the left, rows to the back
        plane = voxels[::-1, ::-1, at].T
        dicom(
            tmp_path,
            f"dicom/{(at * 7) % 10}.dcm",
            plane.shape,
            SOPInstanceUID=f"1.2.3.9.{at}",
            PixelData=(plane + 1024).astype("<u2").tobytes(),
            RescaleIntercept="-1024",
            ImagePositionPatient=[0, 0, 3.0 * at],
            ImageOrientationPatient=[1, 0, 0, 0, 1, 0],
            PixelSpacing=[0.8, 0.5],
        )
    save_network(tmp_path / "bright.ts")
    (tmp_path / "bright.toml").write_text(CARD)
    layouts = {"nifti": 'kind = "nifti_pairs"\nimages = "{case}.nii.gz"', "dicom": 'kind = "dicom_tree"'}
    for name, layout in layouts.items():
        (tmp_path / f"{name}.toml").write_text(SOURCE.format(name=name, layout=layout))
    (tmp_path / "key").write_text("a key for tests, sixteen bytes and more")
    return BuildConfig(
        out=Path("out"),
        cache=Path("cache"),
        key_file=Path("key"),
        sources=tuple(SourceEntry(source=name, root=tmp_path / name) for name in layouts),
        base=tmp_path,
    )


def rows(config: BuildConfig) -> list[dict]:
    """Return the rows of the release."""
    tables = [pq.read_table(path) for path in sorted((config.folder / "data").rglob("*.parquet"))]
    return [row for table in tables for row in table.to_pylist()]


@pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning", "ignore:.*torch.jit.*:FutureWarning")
def test_a_network_on_volumes_marks_the_slices_it_should(config, monkeypatch):
    """Both forms of the body get the block on slices 3 to 6 and nothing elsewhere; a rebuild asks nobody."""
    build(config, reporter=Reporter(quiet=True))
    found = rows(config)
    assert len(found) == 20
    for row in found:
        inside = 3 <= row["slice_index"] <= 6
        assert row["provenance"]["experts"] == ["bright"]
        assert len(row["rois"]) == (1 if inside else 0), (row["source"], row["slice_index"])
        if not inside:
            assert "No region of interest was located in this image by the expert model bright." in row["caption"]
            continue
        (roi,) = row["rois"]
        assert (roi["origin"], roi["expert"], roi["label"]) == ("expert", "bright", "bone")
        assert 0.9 < roi["score"] <= 1
        assert roi["bbox"] == [20, 6, 12, 20]  # columns to the patient's left, rows to the back
        mask = np.array(Image.open(io.BytesIO(roi["mask"]["bytes"])))
        assert mask.sum() == 12 * 20

    def never(*_):
        raise AssertionError("the expert was asked again")

    monkeypatch.setattr("medtrinity25m.roi.volumes.volume_expert_of", never)
    monkeypatch.setattr("medtrinity25m.roi.volumes._at_hand", {})
    again = config.with_(out=Path("again"))
    build(again, reporter=Reporter(quiet=True))
    assert [row["rois"] for row in rows(again)] == [row["rois"] for row in found]
