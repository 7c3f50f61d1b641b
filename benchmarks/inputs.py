"""The demo's real images, repeated to thousands of files of which no two are equal: what `run.py` builds from.

A plan drops files with equal bytes and DICOM files with equal SOP Instance UIDs. So the copies differ, as little
as the format allows and without loss: DICOM in its SOP Instance and Series UIDs (each copy is a series of its own,
as each original is), PNG and TIFF in their corner pixel, NIfTI in its corner voxel, JPEG in a comment, since
encoding it again would change every pixel. Masks are copied as they are.
"""

from __future__ import annotations

import gzip
import json
import shutil
import struct
import warnings
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pydicom
from PIL import Image
from pydicom.uid import generate_uid

from medtrinity25m.config import SourceEntry
from medtrinity25m.demo import INPUTS, collect

CONFIG, DEMO_CONFIG = "build.yaml", "demo.yaml"  # what `prepare` writes: of the repeated files, of the originals
MASKS = "masks"  # folder of the image-and-mask layout whose files go with an image, not for themselves


@dataclass(frozen=True)
class Share:
    """How much of the benchmark one file of the demo is.

    Args:
        per_mille: of all rows.
        rows: that one copy gives: slices or frames that the source's rule keeps and that are not blank.
        what: words for the caption of the tables.
    """

    per_mille: int
    rows: int
    what: str


MIX: dict[str, Share] = {
    "693_UNCR.dcm": Share(140, 1, "CT 512"),
    "eCT_Supplemental.dcm": Share(140, 2, "CT 512"),
    "bad_sequence.dcm": Share(80, 1, "CT 512, JPEG Lossless"),
    "explicit_VR-UN.dcm": Share(30, 1, "CT 512, JPEG 2000"),
    "J2K_pixelrep_mismatch.dcm": Share(20, 1, "CT 512, JPEG 2000"),
    "CT_small.dcm": Share(20, 1, "small CT and MR"),
    "MR_small.dcm": Share(10, 1, "small CT and MR"),
    "emri_small.dcm": Share(30, 10, "small CT and MR"),
    "MR2_UNCR.dcm": Share(20, 1, "MR 1024"),
    "examples_overlay.dcm": Share(100, 1, "MR 484x300 with an outlined lesion"),
    "mni_icbm152_t1_tal_nlin_sym_09a_converted.nii.gz": Share(90, 15, "slices of NIfTI volumes 233x197"),
    "ihc.png": Share(100, 1, "histopathology 512 RGB"),
    "field.tif": Share(50, 1, "microscopy 512 with a mask of 125 nuclei"),
    "US1_UNCR.dcm": Share(30, 1, "ultrasound 640 to 1024"),
    "examples_palette.dcm": Share(30, 1, "ultrasound 640 to 1024"),
    "JPGLosslessP14SV1_1s_1f_8b.dcm": Share(30, 1, "ultrasound 640 to 1024"),
    "color3d_jpeg_baseline.dcm": Share(40, 8, "ultrasound 640 to 1024"),
    "retina.jpg": Share(25, 1, "fundus"),
    "microaneurysms.png": Share(10, 1, "fundus"),
    "RG1_UNCR.dcm": Share(3, 1, "radiographs 1800"),
    "RG3_UNCR.dcm": Share(2, 1, "radiographs 1800"),
}
"""Mostly the 512 x 512 of the large public collections; a radiograph costs as much as ten of them, and is rare."""


def prepare(folder: Path, rows: int) -> str:
    """Write below `folder` inputs for about `rows` rows and the configs that build them and the originals.

    Returns what the inputs are, in words.
    """
    config = collect(folder / "unused", folder / "originals", print)
    entries, counts = [], Counter[str]()
    for entry in config.sources:
        root = folder / "inputs" / entry.source
        for original in sorted(path for path in entry.root.rglob("*") if path.name in MIX):
            where = original.relative_to(entry.root)
            if where.parts[0] != MASKS:
                copies = _copies(where.name, rows)
                _repeat(original, root / where, copies)
                counts[MIX[where.name].what] += copies * MIX[where.name].rows
        _write_tables(entry.source, root)
        entries.append(SourceEntry(source=entry.source, root=root))
    repeated = config.model_copy(update={"sources": tuple(entries)})
    for name, one in ((CONFIG, repeated), (DEMO_CONFIG, config)):
        (folder / name).write_text(json.dumps(one.model_dump(mode="json")), encoding="utf-8")  # JSON is YAML
    return ", ".join(f"{count / counts.total():.1%} {what}" for what, count in counts.most_common())


def _copies(name: str, rows: int) -> int:
    """Return how many copies of a file give its share of `rows`; at least one, so that each kind is measured."""
    return max(1, round(rows * MIX[name].per_mille / 1000 / MIX[name].rows))


def _repeat(original: Path, target: Path, copies: int) -> None:
    """Write `copies` of a file beside `target`, numbered, each with the mask of its own where there is one."""
    target.parent.mkdir(parents=True, exist_ok=True)
    mask = original.parent.parent / MASKS / original.name
    for number in range(copies):
        name = f"{number:05d}-{target.name}"
        _copy(original, target.with_name(name), number)
        if mask.is_file():
            beside = target.parent.parent / MASKS / name
            beside.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(mask, beside)


def _copy(original: Path, target: Path, number: int) -> None:
    """Write one copy, different from every other `number`."""
    mark = number.to_bytes(2, "little")  # OverflowError beyond 65,536 copies, which no few thousand rows need
    if original.suffix == ".dcm":
        _copy_dicom(original, target, number)
    elif original.suffix == ".jpg":
        data = original.read_bytes()  # a COM segment after SOI: marker FFFE, length with itself, text (T.81 B.2.4.5)
        target.write_bytes(data[:2] + b"\xff\xfe" + struct.pack(">H", 2 + len(mark)) + mark + data[2:])
    elif original.suffix == ".gz":
        volume = bytearray(gzip.decompress(original.read_bytes()))
        first = int(struct.unpack_from("<f", volume, 108)[0])  # vox_offset of the NIfTI-1 header
        volume[first : first + 2] = _xor(volume[first : first + 2], mark)
        target.write_bytes(gzip.compress(volume, mtime=0))
    else:
        array = np.array(Image.open(original))
        corner = array.reshape(-1).view(np.uint8)[:2]
        corner[:] = np.frombuffer(_xor(corner.tobytes(), mark), np.uint8)
        Image.fromarray(array).save(target)


def _copy_dicom(original: Path, target: Path, number: int) -> None:
    with warnings.catch_warnings():  # the originals are test files, some with odd values that are not ours to mend
        warnings.simplefilter("ignore")
        data = pydicom.dcmread(original)
        data.SOPInstanceUID = generate_uid(entropy_srcs=["instance", original.name, str(number)])
        data.SeriesInstanceUID = generate_uid(entropy_srcs=["series", original.name, str(number)])
        data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID
        data.save_as(target)


def _xor(data: bytes | bytearray, mark: bytes) -> bytes:
    return bytes(one ^ other for one, other in zip(data, mark, strict=True))


def _write_tables(source: str, root: Path) -> None:
    """Write a source's tables with the line of each original once for every copy of it."""
    tables = next(item.tables for item in INPUTS if item.source == source)
    for name, text in tables:
        head, *lines = text.splitlines()
        (root / name).write_text("\n".join([head, *_numbered(lines, root)]) + "\n", encoding="utf-8")


def _numbered(lines: list[str], root: Path) -> Iterator[str]:
    for line in lines:
        file = line.partition(",")[0]
        for copy in sorted(root.glob(f"*-{file}")):
            yield copy.name + line[len(file) :]
