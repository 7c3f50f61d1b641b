"""Everything known of one row: where it came from, what is marked, and what each claim rests on."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow.dataset as ds
import pyarrow.parquet as pq

from medtrinity25m.errors import ConfigError
from medtrinity25m.quality.extract.sentences import sentences
from medtrinity25m.release.manifest import read_manifest
from medtrinity25m.release.workspace import Workspace

TEXTS = ("global_text", "local_text", "relation_text", "caption")
NOT_RELEASED = "(not released: its license is not stated)"
EXCERPT = 240  # characters of a passage: what it is about, not all it says
MEASURED_COLUMNS = {"area_fraction": "area_fraction", "box": "bbox", "size_mm": "size_mm", "count": "count"}
"""Measurements that stand in a region's columns too."""


class Ground(NamedTuple):
    """What some words of a sentence say, whether that holds, and what it rests on."""

    words: str
    says: str
    verdict: str
    rests_on: str


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


def found_by_people(overlay: Path, row_id: str) -> dict[str, str]:
    """Return the verdict of a review on each attribute of a row, from the `verdicts.jsonl` of `review import`.

    Raises:
        ConfigError: the file is no such overlay.
    """
    try:
        lines = [json.loads(line) for line in overlay.read_text(encoding="utf-8").splitlines() if line.strip()]
        return {line["attribute"]: line["verdict"] for line in lines if line["id"] == row_id}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{overlay} is no verdicts.jsonl of `medtrinity25m review import`: {error}") from error


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


def grounds(row: dict[str, Any]) -> Iterator[tuple[str, str, list[Ground]]]:
    """Yield field, sentence and what the sentence rests on, for every sentence of a row that `explain` returned."""
    for field in TEXTS:
        text = row[field] or ""
        claims = sorted((one for one in row["claims"] if one["field"] == field), key=lambda one: one["start"])
        for span in sentences(text):
            inside = [one for one in claims if span.start <= one["start"] < span.end]
            yield field, text[span.start : span.end], [_ground(row, text, one) for one in inside]


def _ground(row: dict[str, Any], text: str, claim: dict[str, Any]) -> Ground:
    about = claim["attribute"] if claim["roi"] is None else f"{claim['attribute']} of roi {claim['roi']}"
    value = f"{claim['value']} {claim['unit'] or ''}".strip()
    says = f"{about} = {value}" if value else about
    return Ground(text[claim["start"] : claim["end"]], says, claim["verdict"], _rests_on(row, claim))


def _rests_on(row: dict[str, Any], claim: dict[str, Any]) -> str:
    """Return the evidence of a claim with what it holds: the column's value, the measurement, the passage's words."""
    kind, _, what = claim["evidence"].partition(":")
    roi = None if claim["roi"] is None or claim["roi"] >= len(row["rois"]) else row["rois"][claim["roi"]]
    if kind == "metadata":
        return f"column {what} = {_shown(_column(row, what, roi))}"
    if kind == "measured":
        column = MEASURED_COLUMNS.get(what)
        place = "image" if roi is None else f"roi {claim['roi']}, origin {roi['origin']}"
        held = "" if roi is None or column is None else f"; rois.{column} = {_shown(roi[column])}"
        return f"measured {what} ({place}){held}"
    if kind == "passage":
        passage = next((one for one in row["passages"] if one["passage_id"] == what), None)
        if passage is None:
            return f"passage {what}"
        return f"passage “{passage['title']}”: {_excerpt(passage['text'] or NOT_RELEASED)}"
    return "the model alone; nothing in the row speaks of it"


def _column(row: dict[str, Any], name: str, roi: dict[str, Any] | None) -> object:
    head, _, field = name.partition(".")
    if head == "rois":
        found = row["rois"] if roi is None else [roi]
        return f"{len(found)} regions" if not field else ", ".join(dict.fromkeys(str(one[field]) for one in found))
    held = row.get(head)
    return held.get(field) if field and isinstance(held, dict) else held


def _shown(value: object) -> str:
    """Return a column's value as a person reads it: six digits, lists without brackets."""
    if isinstance(value, list | tuple):
        return ", ".join(map(_shown, value)) or "nothing"
    if isinstance(value, dict):
        return ", ".join(f"{name} {_shown(one)}" for name, one in value.items())
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _excerpt(text: str) -> str:
    return text if len(text) <= EXCERPT else text[:EXCERPT].rsplit(" ", 1)[0] + " …"
