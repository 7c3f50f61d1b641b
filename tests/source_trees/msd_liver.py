"""Medical Segmentation Decathlon: `Task<n>_<name>/` with `imagesTr`, `labelsTr`, `imagesTs` and `dataset.json`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import nibabel
import numpy as np

from source_trees import Expected
from source_trees.drawing import Box, json_file, labels, noise, volume


def task(
    root: Path,
    name: str,
    cases: Mapping[str, Mapping[int, Box]],
    test: str,
    words: Sequence[str],
    channels: Sequence[str] = ("CT",),
) -> None:
    """Write a task: `cases` are file names without suffix and what is labeled on their slices 1 and 2."""
    for folder, case in [*(("imagesTr", case) for case in cases), ("imagesTs", test)]:
        path = f"{name}/{folder}/{case}.nii.gz"
        if len(channels) == 1:
            volume(root, path, hu=channels == ("CT",))
        else:
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            image = nibabel.Nifti1Image(
                noise(path, (24, 20, 4, len(channels))).astype(np.float32), np.diag([1.0, 1, 3, 1])
            )
            image.header.set_xyzt_units("mm")
            nibabel.save(image, root / path)
    for case, boxes in cases.items():
        labels(root, f"{name}/labelsTr/{case}.nii.gz", boxes)
    (root / name / f"imagesTr/._{next(iter(cases))}.nii.gz").write_bytes(b"\0\5\26\7\0\2\0\0Mac OS X        ")
    said = {
        "name": name.partition("_")[2],
        "licence": "CC-BY-SA 4.0",
        "modality": {str(number): channel for number, channel in enumerate(channels)},
        "labels": {str(value): word for value, word in enumerate(("background", *words))},
        "numTraining": len(cases),
        "numTest": 1,
        "training": [{"image": f"./imagesTr/{case}.nii.gz", "label": f"./labelsTr/{case}.nii.gz"} for case in cases],
        "test": [f"./imagesTs/{test}.nii.gz"],
    }
    json_file(root, f"{name}/dataset.json", said)


def make(root: Path) -> Expected:
    """A liver with a tumor in it and one without."""
    cases = {"liver_0": {1: (2, 2, 14, 14), 2: (5, 5, 8, 8)}, "liver_1": {1: (2, 2, 14, 14)}}
    task(root, "Task03_Liver", cases, "liver_132", ("liver", "cancer"))
    return Expected(
        rows=4,
        modalities={"ct"},
        patients=2,
        diseases={"liver_tumor"},
        organs={"abdomen", "liver"},
        rois=6,
    )
