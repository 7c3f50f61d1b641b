"""Checks a finished release against its manifest and its rows against their own masks."""

from __future__ import annotations

import io
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from medtrinity25m.release.manifest import MANIFEST, SUCCESS, manifest_files, read_manifest
from medtrinity25m.release.png import decode_mask
from medtrinity25m.release.workspace import sha256_file

MAX_FAULTS = 20  # enough to see what is wrong; a broken disk would list millions


def faults(folder: Path) -> list[str]:
    """Return what is wrong with a release, a sentence a fault, at most 20; an empty list means it is whole.

    Raises:
        GateFailedError: the folder is not a finished release.
    """
    found: list[str] = []
    for fault in _faults(folder):
        found.append(fault)
        if len(found) == MAX_FAULTS:
            break
    return found


def _faults(folder: Path) -> Iterator[str]:
    manifest = read_manifest(folder)
    ids: set[str] = set()
    splits: dict[str, set[str]] = defaultdict(set)
    for file in manifest_files(manifest):
        path = folder / file["path"]
        if not path.is_file():
            yield f"{file['path']} is missing"
        elif sha256_file(path) != file["sha256"]:
            yield f"{file['path']} is not what was written (SHA-256 differs)"
    yield from _strangers(folder, {file["path"] for file in manifest_files(manifest)} | {MANIFEST, SUCCESS})
    for shard in manifest["shards"]:
        path = folder / "data" / f"{shard['name']}.parquet"
        try:
            rows = 0
            for row in _rows(path):
                rows += 1
                yield from (f"{shard['name']}, row {row['id']}: {fault}" for fault in row_faults(row))
                if row["id"] in ids:
                    yield f"id {row['id']} is given twice"
                ids.add(row["id"])
                if row["patient"] is not None:
                    splits[row["patient"]].add(shard["split"])
            if rows != shard["rows"]:
                yield f"{shard['name']} holds {rows} rows, the manifest says {shard['rows']}"
        except (pa.ArrowException, OSError) as error:
            yield f"{shard['name']} cannot be read: {error}"
    yield from (f"patient {patient} is in {sorted(where)}" for patient, where in splits.items() if len(where) > 1)
    if len(ids) != manifest["rows"]["written"]:
        yield f"{len(ids)} rows were found, the manifest says {manifest['rows']['written']}"


def _strangers(folder: Path, known: set[str]) -> Iterator[str]:
    """Yield a fault for every file the manifest does not know; it would be published with the others."""
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_file() and name not in known and not name.startswith("."):
            yield f"{name} is not in the manifest; it does not belong to the release"


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    with pq.ParquetFile(path, page_checksum_verification=True) as file:
        for group in range(file.num_row_groups):
            yield from file.read_row_group(group).to_pylist()


def row_faults(row: dict[str, Any]) -> Iterator[str]:
    """Yield what is wrong with one row of `data/`, a sentence a fault."""
    with Image.open(io.BytesIO(row["image"]["bytes"])) as image:
        size = image.size
    if size != (row["width"], row["height"]):
        yield f"image is {size}, the columns say {(row['width'], row['height'])}"
    for index, roi in enumerate(row["rois"]):
        yield from (f"roi {index}: {fault}" for fault in _roi_faults(roi, row["width"], row["height"]))
        if roi["text"] and roi["text"] not in (row["local_text"] or ""):
            yield f"roi {index}: its text is not part of local_text"
    for claim in row["claims"]:
        text = row[claim["field"]] or ""
        if not text[claim["start"] : claim["end"]].strip():
            yield f"claim {claim['attribute']} spans nothing in {claim['field']}"
        if claim["verdict"] == "contradicted":
            yield f"claim {claim['attribute']} = {claim['value']} is contradicted by {claim['evidence']}"


def _roi_faults(roi: dict[str, Any], width: int, height: int) -> Iterator[str]:
    x, y, w, h = roi["bbox"]
    if not (x >= 0 and y >= 0 and w > 0 and h > 0 and x + w <= width and y + h <= height):
        yield f"box {roi['bbox']} leaves the image {width} x {height}"
    share = w * h / (width * height)
    if roi["mask"] is not None:
        try:
            mask = decode_mask(roi["mask"]["bytes"])
        except ValueError as error:
            yield f"mask cannot be read: {error}"
            return
        if mask.shape != (height, width):
            yield f"mask is {mask.shape}, the image {(height, width)}"
            return
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        if not rows.size or [columns[0], rows[0], columns[-1] + 1 - columns[0], rows[-1] + 1 - rows[0]] != [x, y, w, h]:
            yield f"box {roi['bbox']} is not the tightest around its mask"
        share = float(mask.mean())
    if abs(share - roi["area_fraction"]) > 1e-9:
        yield f"area_fraction is {roi['area_fraction']}, the region covers {share}"
