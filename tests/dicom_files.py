"""DICOM files for tests: the real ones that come with pydicom and pydicom-data, and drawn ones."""

from __future__ import annotations

import io
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, SecondaryCaptureImageStorage

AXIAL = [1, 0, 0, 0, 1, 0]


@cache
def real(name: str) -> bytes:
    """Return a file of pydicom or pydicom-data; nothing is downloaded."""
    path = get_testdata_file(name, download=False)
    assert path is not None, f"{name} is not installed; pydicom-data is a dev dependency"
    return Path(path).read_bytes()


def every_file() -> list[Path]:
    """Return all files of both packages, the ones that are no DICOM too."""
    roots = [Path(str(files("pydicom") / "data" / folder)) for folder in ("test_files", "charset_files")]
    roots.append(Path(str(files("data_store") / "data")))
    return sorted(path for root in roots for path in root.rglob("*") if path.is_file())


def header_of(name: str) -> Dataset:
    """Return pydicom's own reading of a real file."""
    return pydicom.dcmread(io.BytesIO(real(name)), force=True)


def sequence(*items: dict[str, Any]) -> Sequence:
    """Return a sequence with an item for each dictionary of keywords."""
    made = []
    for attributes in items:
        item = Dataset()
        for keyword, value in attributes.items():
            setattr(item, keyword, value)
        made.append(item)
    return Sequence(made)


def as_bytes(dataset: Dataset, syntax: str = ExplicitVRLittleEndian) -> bytes:
    """Return a data set as a DICOM file."""
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    buffer = io.BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def drawn(pixels: NDArray[Any], syntax: str = ExplicitVRLittleEndian, **attributes: Any) -> bytes:
    """Return a file with these stored values; keywords set, or with None delete, attributes."""
    return as_bytes(drawn_dataset(pixels, **attributes), syntax)


def drawn_dataset(pixels: NDArray[Any], **attributes: Any) -> Dataset:
    """Return the data set of a drawn image: (H, W) grey, or (frames, H, W) with `NumberOfFrames`."""
    bits = pixels.dtype.itemsize * 8
    colour = pixels.shape[-1] == 3 and pixels.ndim > 2
    rows, columns = pixels.shape[-3:-1] if colour else pixels.shape[-2:]
    settings: dict[str, Any] = {
        "SOPClassUID": CTImageStorage if attributes.get("Modality") == "CT" else SecondaryCaptureImageStorage,
        "SOPInstanceUID": "1.2.826.0.1.3680043.8.498.1",
        "Modality": "OT",
        "Rows": rows,
        "Columns": columns,
        "BitsAllocated": bits,
        "BitsStored": bits,
        "HighBit": attributes.get("BitsStored", bits) - 1,
        "SamplesPerPixel": 3 if colour else 1,
        "PixelRepresentation": int(pixels.dtype.kind == "i"),
        "PhotometricInterpretation": "RGB" if colour else "MONOCHROME2",
        **({"PlanarConfiguration": 0} if colour else {}),
        **attributes,
    }
    dataset = Dataset()
    for keyword, value in settings.items():
        if value is not None:
            setattr(dataset, keyword, value)
    if "PixelData" not in settings:
        data = np.ascontiguousarray(pixels).tobytes()
        dataset.add_new(0x7FE00010, "OW" if bits > 8 else "OB", data + b"\0" * (len(data) % 2))
    return dataset
