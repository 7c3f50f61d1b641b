"""Rows of a finished release for whoever judges them: all of them without pixels, or a drawn few with pixels.

A draw depends on the seed and the ids alone: every id is hashed with the seed and the smallest hashes win, so shard
sizes, the order of rows and rows that are added later change nothing for the others.
"""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import pyarrow.parquet as pq

from medtrinity25m.errors import ConfigError
from medtrinity25m.release.manifest import Manifest, read_manifest

Row = dict[str, Any]


def metadata_rows(
    folder: Path, columns: Sequence[str] | None = None, manifest: Manifest | None = None
) -> Iterator[Row]:
    """Yield every row of `metadata/`, shard after shard; `manifest` is given while a release is being finished.

    Raises:
        GateFailedError: the folder is not a finished release.
    """
    for shard in (manifest or read_manifest(folder))["shards"]:
        with pq.ParquetFile(folder / "metadata" / f"{shard['name']}.parquet") as file:
            for group in range(file.num_row_groups):
                yield from file.read_row_group(group, columns=None if columns is None else list(columns)).to_pylist()


def rows_with_id(
    folder: Path, ids: Iterable[str], *, pixels: bool = False, manifest: Manifest | None = None
) -> dict[str, Row]:
    """Return the rows with these ids, those there are, by id; of `data/` with image and masks when `pixels`.

    Only the ids are read everywhere; the other columns only of row groups that hold a wanted row. Ids are hashes, so
    statistics rule no row group out, and a filter would read every image of the release.
    """
    wanted = set(ids)
    found: dict[str, Row] = {}
    for shard in (manifest or read_manifest(folder))["shards"]:
        with pq.ParquetFile(folder / ("data" if pixels else "metadata") / f"{shard['name']}.parquet") as file:
            for group in range(file.num_row_groups):
                known = file.read_row_group(group, columns=["id"])["id"].to_pylist()
                hits = [index for index, row_id in enumerate(known) if row_id in wanted]
                if hits:
                    rows = file.read_row_group(group).take(hits).to_pylist()
                    found |= {row["id"]: row for row in rows}
        if len(found) == len(wanted):
            break
    return found


def draw(
    folder: Path,
    count: int,
    seed: int,
    stratify: Literal["modality"] | None = None,
    manifest: Manifest | None = None,
) -> list[str]:
    """Return the ids of `count` rows that have a caption, drawn by seed, sorted.

    Args:
        folder: the release.
        count: rows to draw; fewer where the release has fewer.
        seed: of the draw.
        stratify: `modality` draws as many of each modality, as far as there are.
        manifest: given while the release is being finished.

    Raises:
        ConfigError: no row has a caption.
    """
    strata: dict[str, list[tuple[int, str]]] = {}
    for row in metadata_rows(folder, ("id", "modality", "caption"), manifest):
        if row["caption"]:
            stratum = strata.setdefault(row["modality"] if stratify else "", [])
            lot = int(hashlib.sha256(f"{seed}:{row['id']}".encode()).hexdigest(), 16)
            # a heap whose top is the largest hash kept so far: memory for `count` rows, not for the release
            (heapq.heappush if len(stratum) < count else heapq.heappushpop)(stratum, (-lot, row["id"]))
    if not strata:
        raise ConfigError(f"{folder}: no row has a caption, so there is nothing to judge; describe it first")
    ranked = [[row_id for _, row_id in sorted(strata[name], reverse=True)] for name in sorted(strata)]
    return sorted(_in_turn(ranked, count))


def _in_turn(strata: Sequence[Sequence[str]], count: int) -> list[str]:
    """Take one of each stratum in turn until there are enough."""
    deepest = max(len(stratum) for stratum in strata)
    turns = [stratum[depth] for depth in range(deepest) for stratum in strata if depth < len(stratum)]
    return turns[:count]
