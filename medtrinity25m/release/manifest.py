"""`manifest.json`: every file of a release with size and SHA-256, and every count the card tells.

The manifest is written after all it names, `_SUCCESS` after the manifest. A folder without `_SUCCESS` is not a
release.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from medtrinity25m import __version__
from medtrinity25m.errors import GateFailedError
from medtrinity25m.registry import SPLITS, Source
from medtrinity25m.release.quarantine import Rejected, funnel
from medtrinity25m.release.workspace import sha256_file, write_committed

MANIFEST = "manifest.json"
SUCCESS = "_SUCCESS"
Manifest = dict[str, Any]
COUNTED = ("diseases", "organs", "sources", "origins", "describers", "prompts", "fallbacks", "exchange")
SHARD_KEYS = ("name", "modality", "split", "rows", "bytes", "diseases", "disease_bytes", "files")


def make_manifest(
    entries: Sequence[dict[str, Any]],
    knowledge: dict[str, Any],
    sources: Iterable[Source],
    rejected: Sequence[Rejected],
    state: dict[str, Any],
) -> Manifest:
    """Return the manifest of finished shards.

    Args:
        entries: journal entries of all shards.
        knowledge: path, bytes, sha256 and rows of the knowledge file.
        rejected: the quarantined records.
        sources: of which it was built.
        state: of the plan: `read`, records and refusals together, and `split_conflicts`.

    Raises:
        GateFailedError: `read = written + rejected` does not hold, or nothing was written.
    """
    shards = sorted(entries, key=lambda entry: entry["name"])
    read, written, refused = state["read"], sum(shard["rows"] for shard in shards), len(rejected)
    if read != written + refused:
        raise GateFailedError(
            f"{read} records were read but {written} written and {refused} rejected; the folder is unusable"
        )
    if not written:
        telling = sorted(rejected, key=lambda row: row.code == "layout.unclaimed")  # the other reasons say more
        example = f"; for example {telling[0].code}: {telling[0].detail}" if telling else "; the sources hold no files"
        raise GateFailedError(f"none of {read} records could be used{example}")
    files = [file for shard in shards for file in shard["files"]] + [knowledge]
    identity = hashlib.sha256(json.dumps([__version__, files], sort_keys=True).encode()).hexdigest()
    return {
        "format": 1,
        "build": identity[:12],
        "pipeline_version": __version__,
        "rows": {"read": read, "written": written, "rejected": refused},
        "rejected_by_reason": funnel(rejected),
        "split_conflicts": state["split_conflicts"],
        "splits": _by(shards, "split"),
        "modalities": _by(shards, "modality"),
        **{name: _sum(shards, name) for name in COUNTED},
        "quality": _points(shards),
        "corrections": _corrections(shards),
        "about_sources": [_about(source) for source in sources],
        "shards": [{key: shard[key] for key in SHARD_KEYS} for shard in shards],
        "knowledge": knowledge,
        "knowledge_base": state["conditions"].get("knowledge"),
    }


def _about(source: Source) -> dict[str, Any]:
    wanted = ("id", "title", "license", "redistribution", "egress", "access", "homepage", "citation")
    return {name: getattr(source, name) for name in wanted}


def _by(shards: Sequence[dict[str, Any]], key: str) -> dict[str, int]:
    total: Counter[str] = Counter()
    for shard in shards:
        total[shard[key]] += shard["rows"]
    order = SPLITS if key == "split" else sorted(total)
    return {name: total[name] for name in order if total[name]}


def _sum(shards: Sequence[dict[str, Any]], key: str) -> dict[str, int]:
    total: Counter[str] = Counter()
    for shard in shards:
        total.update(shard[key])
    return dict(sorted(total.items()))


def _points(shards: Sequence[dict[str, Any]]) -> dict[str, dict[str, int]]:
    """Return for each attribute of quality how many rows have how many points."""
    total: dict[str, Counter[str]] = {}
    for shard in shards:
        for attribute, rows in shard["quality"].items():
            total.setdefault(attribute, Counter()).update(rows)
    return {attribute: dict(sorted(rows.items())) for attribute, rows in total.items()}


def _corrections(shards: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return what corrections changed, and in how many rows."""
    total: Counter[tuple[str, ...]] = Counter()
    for shard in shards:
        total.update({tuple(line): rows for *line, rows in shard["corrections"]})
    names = ("source", "by", "column", "was", "value")
    return [dict(zip(names, line, strict=True)) | {"rows": rows} for line, rows in sorted(total.items())]


def file_entry(path: Path, base: Path) -> dict[str, Any]:
    """Return path (relative to `base`), bytes and sha256 of a file."""
    return {"path": path.relative_to(base).as_posix(), "bytes": path.stat().st_size, "sha256": sha256_file(path)}


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Commit the manifest, then `_SUCCESS`, which holds the manifest's SHA-256."""
    card = file_entry(folder / "README.md", folder)
    # keys sorted: entries come from this process or from a journal, in either order
    text = json.dumps(manifest | {"card": card}, indent=1, ensure_ascii=False, sort_keys=True)
    write_committed(folder / MANIFEST, text + "\n")
    write_committed(folder / SUCCESS, sha256_file(folder / MANIFEST) + "\n")


def read_manifest(folder: Path) -> Manifest:
    """Return the manifest of a finished release.

    Raises:
        GateFailedError: the folder has no `_SUCCESS`, or its manifest is not the one that was written.
    """
    success, path = folder / SUCCESS, folder / MANIFEST
    if not success.is_file() or not path.is_file():
        raise GateFailedError(f"{folder} is not a finished release (no {SUCCESS}); run its build again to finish it")
    if success.read_text(encoding="utf-8").strip() != sha256_file(path):
        raise GateFailedError(f"{path} was changed after the build; run the build again")
    manifest: Manifest = json.loads(path.read_text(encoding="utf-8"))
    return manifest


def manifest_files(manifest: Manifest) -> list[dict[str, Any]]:
    """Return every file entry of a manifest: shards, metadata, knowledge and card."""
    return [file for shard in manifest["shards"] for file in shard["files"]] + [manifest["knowledge"], manifest["card"]]
