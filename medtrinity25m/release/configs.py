"""The configs of a release: `all`, one per modality, one per disease, `metadata`, `knowledge`.

One table, made from the manifest, from which the card's YAML and the builder class both take their configs. A
modality is a directory of shards; a disease is the explicit list of shards that hold it, plus a filter for
exactness, so that asking for a rare disease opens no footer in vain.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from medtrinity25m.registry import SPLITS
from medtrinity25m.release.manifest import Manifest

Filter = tuple[str, str, str]


@dataclass(frozen=True)
class ReleaseConfig:
    """One config: its files, exact row counts and image and mask bytes by split, and the filter that makes it exact."""

    name: str
    files: dict[str, list[str]]
    rows: dict[str, int]
    bytes: dict[str, int]
    filters: tuple[Filter, ...] = ()


def release_configs(manifest: Manifest) -> list[ReleaseConfig]:
    """Return the configs of a release, the default first."""
    shards = manifest["shards"]
    knowledge = manifest["knowledge"]
    return [
        _directory("all", shards, "data/*"),
        *(
            _directory(modality, [shard for shard in shards if shard["modality"] == modality], f"data/{modality}")
            for modality in manifest["modalities"]
        ),
        *(_disease(disease, shards) for disease in manifest["diseases"]),
        _directory("metadata", shards, "metadata/*"),
        ReleaseConfig(
            "knowledge", {"train": [knowledge["path"]]}, {"train": knowledge["rows"]}, {"train": knowledge["bytes"]}
        ),
    ]


def _directory(name: str, shards: Sequence[dict[str, Any]], folder: str) -> ReleaseConfig:
    rows, size = _totals(shards, lambda shard: shard["rows"]), _totals(shards, lambda shard: shard["bytes"])
    return ReleaseConfig(
        name, {split: [f"{folder}/{split}-*.parquet"] for split in rows}, rows, {s: size[s] for s in rows}
    )


def _disease(name: str, shards: Sequence[dict[str, Any]]) -> ReleaseConfig:
    holding = [shard for shard in shards if shard["diseases"].get(name)]
    rows = _totals(holding, lambda shard: shard["diseases"][name])
    size = _totals(holding, lambda shard: shard["disease_bytes"][name])
    files = {split: [f"data/{shard['name']}.parquet" for shard in holding if shard["split"] == split] for split in rows}
    return ReleaseConfig(name, files, rows, size, (("disease", "==", name),))


def _totals(shards: Sequence[dict[str, Any]], count: Callable[[dict[str, Any]], int]) -> dict[str, int]:
    """Return the sum over the shards of each split that has any, in the order of the splits."""
    total = {split: sum(count(shard) for shard in shards if shard["split"] == split) for split in SPLITS}
    return {split: total[split] for split in SPLITS if total[split]}
