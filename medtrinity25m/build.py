"""The whole pipeline: `stages` is the paper's method as a list, `build` runs it from plan to release.

The same call again resumes: what the journals say is done and whose hash still matches is not done twice. A
folder that was begun under other conditions is refused, with the difference.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from medtrinity25m import __version__
from medtrinity25m.caption import CoarseCaption
from medtrinity25m.config import BuildConfig
from medtrinity25m.description.measured import MeasuredDescriber
from medtrinity25m.engine import Crash, Engine
from medtrinity25m.errors import GateFailedError, ResumeRefusedError
from medtrinity25m.features import PASSAGE_FEATURES
from medtrinity25m.keys import Key
from medtrinity25m.knowledge.glossary import Cite, passages
from medtrinity25m.pipeline import Stage, batched, each
from medtrinity25m.progress import Reporter
from medtrinity25m.readers.safe import Jail
from medtrinity25m.release.card import make_card
from medtrinity25m.release.manifest import SUCCESS, Manifest, file_entry, make_manifest, read_manifest, write_manifest
from medtrinity25m.release.parquet import ParquetFile
from medtrinity25m.release.plan import Shard, make_plan, read_shards, write_plan, write_stacks
from medtrinity25m.release.quarantine import QUARANTINE_SCHEMA, Rejected
from medtrinity25m.release.shards import Marker, ShardBuilder
from medtrinity25m.release.workspace import Workspace, committed, sha256_file, write_committed
from medtrinity25m.roi.annotations import Locate
from medtrinity25m.roi.consult import BATCH, Consult
from medtrinity25m.roi.volumes import VolumeRoom

SHAPING_LIBRARIES = (
    "pyarrow",
    "pillow",
    "numpy",
    "scipy",
    "isal",
    "pydicom",
    "nibabel",
    "python-gdcm",
    "pylibjpeg-openjpeg",
    "scikit-image",
    "torch",
    "monai",
    "transformers",
    "onnxruntime",
)
"""Packages whose version can change a pixel or a byte of the release."""
NEW_PLAN = "plan.parquet.part"  # swept away if the build stops before it is accepted


def stages(config: BuildConfig) -> tuple[Stage, ...]:
    """Return what happens to a sample between reading and writing, in order."""
    rules = {source.id: source.roi for source, _ in config.resolved}
    return (
        batched(_consult(config), BATCH),  # where: experts mark what nobody marked
        each(Locate(rules)),  # annotations become regions of interest
        each(CoarseCaption()),  # metadata become one sentence
        each(Cite()),  # the terms' passages
        each(MeasuredDescriber()),  # what was measured becomes global, local and relation text, with claims
    )


def _consult(config: BuildConfig) -> Consult:
    """Return the stage that asks the config's experts; what they find in volumes stays beside the release."""
    sources = {source.id: (source, root.resolve()) for source, root in config.resolved}
    room = VolumeRoom(sources, config.cache_folder.absolute(), Workspace(config.folder).stacks.absolute())
    return Consult(config.panels, config.cards, room)


@dataclass(frozen=True)
class Outcome:
    """What a call of `build` came to."""

    manifest: Manifest
    built: int
    """Shards written by this call."""
    kept: int
    """Shards that were done before."""


def build(config: BuildConfig, *, workers: int = 1, reporter: Reporter | None = None) -> Outcome:
    """Build or resume the release `config.folder`.

    Raises:
        ConfigError: the config, a source or the key cannot be used.
        ResumeRefusedError: the folder was begun with another config, key, version or input.
        LockedError: another process is building the folder.
        DiskError: the disk refused a write.
        GateFailedError: rows are missing, or none could be written.
    """
    key = config.key()
    stages(config)  # an expert that cannot be had is said before anything is read
    space = Workspace(config.folder)
    space.create()
    with space.locked(), Engine(workers).running() as engine, (reporter or Reporter()).during(space) as report:
        space.sweep()
        state = _begin(config, key, space, engine, report)
        shards = list(read_shards(space.plan))
        done = {name: entry for name, entry in space.journal().items() if _intact(entry, space)}
        todo = [shard for shard in shards if shard.name not in done]
        if todo:
            (space.release / SUCCESS).unlink(missing_ok=True)  # while shards are missing this is no release
        before = sum(entry["records"] for entry in done.values())
        report.start("building", sum(len(shard.records) for shard in shards), before)
        for entry in _run(config, space, engine, todo):
            done[entry["name"]] = entry
            report.finished(entry["name"], entry["records"])
        manifest = _finish(config, space, [done[shard.name] for shard in shards], state)
        return Outcome(manifest, built=len(todo), kept=len(shards) - len(todo))


def _begin(config: BuildConfig, key: Key, space: Workspace, engine: Engine, report: Reporter) -> dict[str, Any]:
    """Make the plan, or check that the one there is still the right one; return the state beside it."""
    conditions = _conditions(config, key)
    inventory = list(_inventory(config))
    if space.state.is_file():
        state: dict[str, Any] = json.loads(space.state.read_text(encoding="utf-8"))
        _refuse_changed(conditions, state["conditions"], space.release)
        known = [tuple(json.loads(line)) for line in space.inventory.read_text(encoding="utf-8").splitlines()]
        if known == inventory:
            return state
        report.say("files were touched since the plan was made; checking what changed")
        fresh = _plan(config, key, space, engine, report, conditions)
        if any(state[name] != fresh[name] for name in ("plan_sha256", "rejected")):
            raise ResumeRefusedError(f"{space.release} was begun with other files: {_difference(known, inventory)}")
    else:
        report.say("planning: listing the sources and reading every file once")
        state = _plan(config, key, space, engine, report, conditions)
    (space.work / NEW_PLAN).replace(space.plan)
    write_committed(space.inventory, "".join(json.dumps(line) + "\n" for line in inventory))
    write_committed(space.state, json.dumps(state, indent=1, sort_keys=True))
    return state


def _plan(
    config: BuildConfig, key: Key, space: Workspace, engine: Engine, report: Reporter, conditions: dict[str, Any]
) -> dict[str, Any]:
    """Write a plan under a temporary name and return what is to be remembered of it."""
    plan = make_plan(config, key, engine, report)
    fresh = space.work / NEW_PLAN
    write_plan(plan, fresh)
    write_stacks(plan.stacks, space.stacks)
    return {
        "conditions": conditions,
        "plan_sha256": sha256_file(fresh),
        "read": plan.read,
        "split_conflicts": plan.split_conflicts,
        "rejected": [asdict(row) for row in plan.rejected],
    }


def _conditions(config: BuildConfig, key: Key) -> dict[str, Any]:
    """Return what a resumed build must share with the one that was begun."""
    return {"version": __version__, "key": key.public_id, "libraries": _libraries(), **config.fingerprint()}


def _libraries() -> dict[str, str]:
    found = {}
    for name in SHAPING_LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "absent"
    return found


def _inventory(config: BuildConfig) -> Iterator[tuple[str, str, int, int, int]]:
    """Yield source, path, size, modification and change time of every file, sorted."""
    for source, root in config.resolved:
        jail = Jail(root)
        for path in jail.files():
            status = (jail.root / path).lstat()
            yield source.id, path, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _difference(known: list[tuple[Any, ...]], now: list[tuple[str, str, int, int, int]]) -> str:
    before, after = ({(line[0], line[1]): line[2:] for line in lines} for lines in (known, now))
    parts = {
        "added": sorted(after.keys() - before.keys()),
        "removed": sorted(before.keys() - after.keys()),
        "changed": sorted(name for name in after.keys() & before.keys() if after[name] != before[name]),
    }
    said = [
        f"{len(names)} {what} ({names[0][1]}{', …' if len(names) > 1 else ''})"
        for what, names in parts.items()
        if names
    ]
    return f"{', '.join(said)}; build into a new folder, or delete this one and its .work folder first"


def _refuse_changed(now: dict[str, Any], before: dict[str, Any], release: Path) -> None:
    changed = [f"{name}: {old} → {new}" for name, old, new in _leaf_differences(before, now)]
    if changed:
        advice = "build into a new folder, or delete this one and its .work folder first"
        raise ResumeRefusedError(f"{release} was begun under other conditions: {'; '.join(changed)}; {advice}")


def _leaf_differences(before: Any, now: Any, name: str = "") -> Iterator[tuple[str, Any, Any]]:
    if isinstance(before, dict) and isinstance(now, dict):
        for key in sorted(before.keys() | now.keys()):
            yield from _leaf_differences(before.get(key), now.get(key), f"{name}.{key}".lstrip("."))
    elif before != now:
        yield name, before, now


def _intact(entry: dict[str, Any], space: Workspace) -> bool:
    """Say whether everything a journal entry names stands with the hash it had."""
    files = [(space.release, file) for file in entry["files"]] + [(space.work, entry["quarantine"])]
    return all((base / f["path"]).is_file() and sha256_file(base / f["path"]) == f["sha256"] for base, f in files)


def _run(config: BuildConfig, space: Workspace, engine: Engine, todo: list[Shard]) -> Iterator[dict[str, Any]]:
    sources = {source.id: (source, root.resolve()) for source, root in config.resolved}
    builder = ShardBuilder(space, sources, config.cache_folder, stages(config), int(config.row_group_mb * 1e6))
    crashed: list[Shard] = []
    for shard, entry in zip(todo, engine.map(builder, todo), strict=True):
        if isinstance(entry, Crash):
            crashed.append(shard)
        else:
            yield entry
    for shard in crashed:  # each crash names one record; refuse it and try the rest again
        entry = Crash(0)
        while isinstance(entry, Crash):
            _, culprit = Marker.read(space, shard.name)
            if culprit in builder.poison:
                why = "ends its process outside of any record, for want of memory perhaps; try fewer workers"
                raise GateFailedError(f"shard {shard.name} {why}")
            builder = replace(builder, poison=builder.poison | {culprit})
            entry = next(engine.map(builder, [shard]))
        yield entry


def _finish(config: BuildConfig, space: Workspace, entries: list[dict[str, Any]], state: dict[str, Any]) -> Manifest:
    """Write knowledge, card, manifest and `_SUCCESS`, unless they stand already."""
    refused = [Rejected(**row) for row in state["rejected"]]
    for entry in entries:
        lines = (space.work / entry["quarantine"]["path"]).read_text(encoding="utf-8").splitlines()
        refused.extend(Rejected(**json.loads(line)) for line in lines)
    cited = {passage for entry in entries for passage in entry["passages"]}
    knowledge = _write_knowledge(space.release, cited)
    sources = [source for source, _ in config.resolved]
    with committed(space.work / "quarantine.parquet") as part:
        pq.write_table(pa.Table.from_pylist([asdict(row) for row in refused], schema=QUARANTINE_SCHEMA), part)
    manifest = make_manifest(entries, knowledge, sources, refused, state)
    card = make_card(manifest)
    write_committed(space.release / "README.md", card)
    write_manifest(space.release, manifest)
    return read_manifest(space.release)


def _write_knowledge(release: Path, cited: set[str]) -> dict[str, Any]:
    path = release / "knowledge" / "train-00000-of-00001.parquet"
    rows = list(passages(cited))
    with committed(path) as part, ParquetFile(part, PASSAGE_FEATURES, 8 << 20) as table:
        for row in rows:
            table.add(row, len(row["text"]))
    return file_entry(path, release) | {"rows": len(rows)}
