"""Files of the trees: small drawn images in the formats of the official downloads, each different from all others."""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import UID, CTImageStorage, ExplicitVRLittleEndian

Box = tuple[int, int, int, int]
"""x0, y0, x1, y1, half-open."""


def noise(name: str, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """Return uint8 noise that only `name` decides, so that no two files are duplicates."""
    seed = np.frombuffer(name.encode(), np.uint8).astype(np.uint32)
    return np.random.default_rng(seed.tolist()).integers(20, 220, shape, dtype=np.uint8)


def picture(root: Path, path: str, size: tuple[int, int] = (32, 40), *, color: bool = True) -> None:
    """Write a raster image of (height, width); the suffix chooses the format."""
    target = root / path
    target.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(noise(path, (*size, 3) if color else size)).save(target)


def picture16(root: Path, path: str, size: tuple[int, int] = (32, 40), base: int = 32768) -> None:
    """Write a 16-bit gray PNG whose values lie around `base`."""
    target = root / path
    target.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray((noise(path, size).astype(np.uint16) + base).astype(np.uint16)).save(target)


def blocks(size: tuple[int, int], boxes: Mapping[int, Box] | Sequence[Box]) -> NDArray[np.uint8]:
    """Return a (height, width) label map with a filled rectangle a box; a sequence is drawn with 255."""
    found = np.zeros(size, np.uint8)
    items = boxes.items() if isinstance(boxes, Mapping) else [(255, box) for box in boxes]
    for value, (x0, y0, x1, y1) in items:
        found[y0:y1, x0:x1] = value
    return found


def mask(
    root: Path,
    path: str,
    boxes: Mapping[int, Box] | Sequence[Box] = ((8, 6, 20, 16),),
    size: tuple[int, int] = (32, 40),
) -> None:
    """Write a mask image: rectangles with their values, or 255."""
    target = root / path
    target.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(blocks(size, boxes)).save(target)


def volume(root: Path, path: str, shape: tuple[int, int, int] = (24, 20, 4), *, hu: bool = False) -> None:
    """Write a NIfTI volume (x, y, z) of int16, 1 x 1 x 3 mm, in RAS."""
    values = noise(path, shape).astype(np.int16)
    _nifti(root, path, values * 4 - 500 if hu else values)


def labels(root: Path, path: str, boxes: Mapping[int, Box], slices: Sequence[int] = (1, 2), depth: int = 4) -> None:
    """Write a NIfTI label volume of (24, 20, depth) with (x0, y0, x1, y1) voxel rectangles on `slices`."""
    values = np.zeros((24, 20, depth), np.int16)
    for value, (x0, y0, x1, y1) in boxes.items():
        for index in slices:
            values[x0:x1, y0:y1, index] = value
    _nifti(root, path, values)


def _nifti(root: Path, path: str, values: NDArray[Any]) -> None:
    target = root / path
    target.parent.mkdir(parents=True, exist_ok=True)
    image = nibabel.Nifti1Image(values, np.diag([1.0, 1.0, 3.0, 1.0]))
    image.header.set_xyzt_units("mm")
    nibabel.save(image, target)


def dicom(root: Path, path: str, size: tuple[int, int] = (32, 40), **elements: Any) -> FileDataset:
    """Write a 16-bit gray DICOM image, of CT unless Modality says otherwise; `elements` are set on top."""
    target = root / path
    target.parent.mkdir(parents=True, exist_ok=True)
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = UID(elements.pop("SOPClassUID", CTImageStorage))
    number = int.from_bytes(path.encode()[-12:], "big")
    meta.MediaStorageSOPInstanceUID = UID(elements.pop("SOPInstanceUID", f"1.2.826.0.1.3680043.8.498.{number}"))
    file = FileDataset(str(target), {}, file_meta=meta, preamble=b"\0" * 128)
    file.SOPClassUID, file.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    file.Modality, file.PatientID = "CT", "unnamed"
    file.StudyInstanceUID, file.SeriesInstanceUID = "1.2.3.4", "1.2.3.4.5"
    file.Rows, file.Columns = size
    file.SamplesPerPixel, file.PhotometricInterpretation = 1, "MONOCHROME2"
    file.BitsAllocated, file.BitsStored, file.HighBit, file.PixelRepresentation = 16, 16, 15, 0
    file.RescaleSlope, file.RescaleIntercept = "1", "0"
    file.PixelData = noise(path, size).astype("<u2").tobytes()
    for keyword, value in elements.items():
        setattr(file, keyword, value)
    file.save_as(target, enforce_file_format=True)
    return file


def table(root: Path, path: str, rows: Sequence[Mapping[str, Any]], delimiter: str = ",") -> None:
    """Write a CSV (or, with a tab, TSV) table, gzipped where the name ends in .gz."""
    target = root / path
    target.parent.mkdir(parents=True, exist_ok=True)
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(rows[0]), delimiter=delimiter)
    writer.writeheader()
    writer.writerows(rows)
    data = text.getvalue().encode()
    target.write_bytes(gzip.compress(data, mtime=0) if path.endswith(".gz") else data)


def json_file(root: Path, path: str, content: Any) -> None:
    """Write JSON; a `.jsonl` gets one line an item."""
    target = root / path
    target.parent.mkdir(parents=True, exist_ok=True)
    lines = [json.dumps(item) for item in content] if path.endswith(".jsonl") else [json.dumps(content)]
    target.write_text("\n".join(lines) + "\n")


def text(root: Path, path: str, lines: Sequence[str]) -> None:
    """Write a text file, a line an item."""
    target = root / path
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text("\n".join(lines) + "\n")
