"""MedTrinity's own release: captions in Parquet, images in a zstd tar, the box in the pixels or in the file name."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image, ImageDraw

from source_trees import Expected
from source_trees.drawing import Box, noise

BHX = "_data2_langgao-mm_bhx-brain-bounding-box_CQ500-CT-22_CQ500-CT-22_Unknown Study_CT000015__0_30_20_40_25.jpg"
LESION = (
    "_data5_langgao_MedBench_Data_od_dataset_DeepLesion_Images_png_17_001087_10_01_184__18.3207_26.573_17.25_16.5.jpg"
)
ROWS: list[tuple[str, str, list[Box], str]] = [
    (BHX, "bhx", [], "The image is a non-contrast CT scan of the head. The region of interest shows a bleed."),
    (LESION, "deeplesion", [], "The image is a CT scan of the chest. The region of interest is a nodule."),
    (
        "seg_train_558_a_2-right lung.nii-105.jpg",
        "cr_rate",
        [(20, 12, 60, 50)],
        "The image is a CT. A lung is seen.",
    ),
    (
        "BraTS-GoAT-01507_0000_y_output-slice119.jpg",
        "brats_24",
        [(40, 40, 70, 62)],
        "The image is an MRI. A mass.",
    ),
    ("ISPY1_1001_0001.nii_45.png", "MAMA-MIA", [(10, 50, 44, 80)], "The image is a brain MRI. A tumor of the brain."),
    ("216840111366964013451228379692012275141819043_01-117-094.png", "padchest", [], "The image is an X-ray. Normal."),
    ("PMC1_fig2.jpg", "pmc_oa", [(15, 15, 50, 40)], "The image is an ultrasound of the liver. A cyst is seen."),
    ("PMC2_fig1.jpg", "pmc_oa", [(15, 15, 50, 40)], "The image shows CT and MRI side by side. Both are normal."),
]


def drawn(name: str, boxes: list[Box], quality: int = 90) -> bytes:
    """Return an image file of 96 x 112 with green rectangles two pixels wide, as the release has them."""
    picture = Image.fromarray(noise(name, (96, 112))).convert("RGB").resize((112, 96), Image.Resampling.BILINEAR)
    picture = Image.blend(picture, Image.new("RGB", picture.size, (70, 70, 70)), 0.7)
    for x0, y0, x1, y1 in boxes:
        ImageDraw.Draw(picture).rectangle((x0, y0, x1 - 1, y1 - 1), outline=(0, 255, 0), width=2)
    buffer = io.BytesIO()
    picture.save(buffer, "PNG" if name.endswith(".png") else "JPEG", quality=quality)
    return buffer.getvalue()


def archive(path: Path, members: dict[str, bytes]) -> None:
    """Write a tar compressed with zstd."""
    path.parent.mkdir(parents=True, exist_ok=True)
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w") as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    with pa.CompressedOutputStream(str(path), "zstd") as out:
        out.write(plain.getvalue())


def make(root: Path) -> Expected:
    """Eight rows in two archives, one row without its image, one image without a row."""
    captions = [*ROWS, ("restricted.jpg", "chexpert", [], "The image is a chest X-ray. Not in any archive.")]
    table = [
        {"id": f"{at:08x}-1b5c-11ef-af70-000066532cad", "file_name": name, "caption": caption, "source": source}
        for at, (name, source, _, caption) in enumerate(captions)
    ]
    (root / "25M_full").mkdir(parents=True)
    pq.write_table(pa.Table.from_pylist(table), root / "25M_full" / "train-00000-of-00001.parquet")
    for shard, rows in enumerate((ROWS[:4], ROWS[4:])):
        members = {f"data/deep/er/{name}": drawn(name, boxes) for name, _, boxes, _ in rows}
        if shard:
            members["data/of_no_row.jpg"] = drawn("of_no_row.jpg", [])
        archive(root / "25M_accessible" / f"dataset_shard_{shard + 8}.tar.zst", members)
    return Expected(
        rows=7,
        modalities={"ct", "mri", "xray", "ultrasound"},
        diseases={"intracranial_hemorrhage", "lesion"},
        organs={"brain", "breast", "chest"},
        rois=6,
        texts=7,
        refused=(("file.missing", 1), ("layout.unclaimed", 1), ("modality.unknown", 1)),
    )
