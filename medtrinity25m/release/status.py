"""How far a build is, and what it refused, read from the work folder beside the release."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from medtrinity25m.errors import ConfigError
from medtrinity25m.release.manifest import SUCCESS
from medtrinity25m.release.workspace import Workspace


def build_status(folder: Path) -> dict[str, int | str]:
    """Return counts by name: shards and records planned and done, rows, rejected, and the state in a word."""
    space = _workspace(folder)
    if not space.plan.is_file():
        return {"state": "planning, or stopped while planning"}
    planned = pq.read_table(space.plan, columns=["shard"])["shard"].to_pylist()
    done = space.journal()
    plan_rejected = len(json.loads(space.state.read_text(encoding="utf-8"))["rejected"]) if space.state.is_file() else 0
    return {
        "state": "finished" if (folder / SUCCESS).is_file() else "unfinished; run the same build again to go on",
        "shards planned": len(set(planned)),
        "shards done": len(done),
        "records planned": len(planned),
        "records done": sum(entry["records"] for entry in done.values()),
        "rows written": sum(entry["rows"] for entry in done.values()),
        "rejected": plan_rejected + sum(entry["rejected"] for entry in done.values()),
    }


def quarantine_rows(folder: Path) -> list[dict[str, Any]]:
    """Return the refused records so far: source, path, locator, code, detail, stage."""
    space = _workspace(folder)
    rows: list[dict[str, Any]] = []
    if space.state.is_file():
        rows.extend(json.loads(space.state.read_text(encoding="utf-8"))["rejected"])
    for entry in space.journal().values():
        path = space.work / entry["quarantine"]["path"]
        rows.extend(json.loads(line) for line in path.read_text(encoding="utf-8").splitlines())
    return sorted(rows, key=lambda row: (row["source"], row["locator"], row["code"]))


def _workspace(folder: Path) -> Workspace:
    space = Workspace(folder)
    if not space.work.is_dir():
        raise ConfigError(
            f"{folder}: there is no {space.work.name} beside it, where a build keeps its plan and quarantine"
        )
    return space
