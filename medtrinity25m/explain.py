"""Everything known of one row: where it came from, what is marked, and what each claim rests on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.dataset as ds
import pyarrow.parquet as pq

from medtrinity25m.errors import ConfigError
from medtrinity25m.release.manifest import read_manifest
from medtrinity25m.release.workspace import Workspace

TEXTS = ("coarse_caption", "global_text", "local_text", "relation_text", "caption")


def explain(folder: Path, row_id: str) -> dict[str, Any]:
    """Return the row, its shard, its plan record and its passages; the image and masks as byte counts.

    Raises:
        ConfigError: the release has no row that starts with `row_id`, or several.
        GateFailedError: the folder is not a finished release.
    """
    manifest = read_manifest(folder)
    names = [folder / "metadata" / f"{shard['name']}.parquet" for shard in manifest["shards"]]
    table = ds.dataset(names, format="parquet").to_table(filter=ds.field("id") >= row_id, columns=["id"])
    matches = [found for found in table["id"].to_pylist() if found.startswith(row_id)]
    if len(matches) != 1:
        how = "no row has" if not matches else f"{len(matches)} rows have"
        raise ConfigError(
            f"{folder}: {how} an id that begins with {row_id!r}; `medtrinity25m stream {folder}` lists ids"
        )
    row = _row(folder, manifest, matches[0])
    passages = {p["passage_id"]: p for p in pq.read_table(folder / manifest["knowledge"]["path"]).to_pylist()}
    return row | {
        "plan": _plan_record(folder, matches[0]),
        "passages": [passages[cited["passage_id"]] for cited in row["knowledge"]],
    }


def _row(folder: Path, manifest: dict[str, Any], row_id: str) -> dict[str, Any]:
    for shard in manifest["shards"]:
        path = folder / "data" / f"{shard['name']}.parquet"
        for row in pq.read_table(path, filters=[("id", "==", row_id)]).to_pylist():
            row["image"] = f"{len(row['image']['bytes']):,} bytes"
            for roi in row["rois"]:
                roi["mask"] = None if roi["mask"] is None else f"{len(roi['mask']['bytes']):,} bytes"
            found: dict[str, Any] = {"shard": shard["name"], **row}
            return found
    raise ConfigError(f"{folder}: row {row_id} is in metadata/ but not in data/; run `medtrinity25m verify {folder}`")


def _plan_record(folder: Path, row_id: str) -> str | None:
    """Return the plan's line about the row, where the work folder is still there."""
    plan = Workspace(folder).plan
    if not plan.is_file():
        return None
    found = pq.read_table(plan, filters=[("id", "==", row_id)], columns=["record"])["record"].to_pylist()
    return found[0] if found else None


def claim_lines(row: dict[str, Any]) -> Iterator[tuple[str, str, str, str, str]]:
    """Yield field, words, attribute, value with unit, and evidence of every claim, in reading order."""
    for claim in sorted(row["claims"], key=lambda claim: (TEXTS.index(claim["field"]), claim["start"])):
        words = row[claim["field"]][claim["start"] : claim["end"]]
        about = claim["attribute"] if claim["roi"] is None else f"{claim['attribute']} of roi {claim['roi']}"
        yield claim["field"], words, about, f"{claim['value']} {claim['unit'] or ''}".strip(), claim["evidence"]
