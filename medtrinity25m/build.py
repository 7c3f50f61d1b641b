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
from medtrinity25m.description.describe import Describe
from medtrinity25m.description.exchange import Model
from medtrinity25m.description.measured import MeasuredDescriber
from medtrinity25m.description.options import DescribeMeasured
from medtrinity25m.description.options import model_of as open_model
from medtrinity25m.description.prompt_files import prompts_sha256
from medtrinity25m.description.replies import ReplyStore
from medtrinity25m.engine import Crash, Engine
from medtrinity25m.errors import GateFailedError, ResumeRefusedError
from medtrinity25m.features import PASSAGE_FEATURES
from medtrinity25m.keys import Key
from medtrinity25m.knowledge.glossary import Cite, passages
from medtrinity25m.knowledge.hpo import CORPUS as HPO
from medtrinity25m.knowledge.hpo import attribution
from medtrinity25m.knowledge.options import Knowledge
from medtrinity25m.knowledge.retrieve import Passages, Retrieve, open_base
from medtrinity25m.knowledge.snippet import UNSTATED, Snippet
from medtrinity25m.pipeline import Stage, batched, each
from medtrinity25m.progress import Reporter
from medtrinity25m.quality.error_rates import release_error_rates
from medtrinity25m.quality.scores import Score
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
ASKED_AHEAD = 4
"""Samples a worker reads for each call in flight, so that the calls of a batch that end early leave few idle."""
NEW_PLAN = "plan.parquet.part"  # swept away if the build stops before it is accepted


def stages(config: BuildConfig, model: Model | None = None) -> tuple[Stage, ...]:
    """Return what happens to a sample between reading and writing, in order; `model` stands for the config's."""
    rules = {source.id: source.roi for source, _ in config.resolved}
    cited = each(Cite()) if config.knowledge is None else each(Retrieve(*_knowledge(config)))
    return (
        batched(_consult(config), BATCH),  # where: experts mark what nobody marked
        each(Locate(rules)),  # annotations become regions of interest
        each(CoarseCaption()),  # metadata become one sentence
        cited,  # passages of the knowledge base
        _described(config, model or model_of(config)),  # global, local and relation text, with claims that were checked
        each(Score()),  # 0 to 2 points on each of the paper's five attributes
    )


def _described(config: BuildConfig, model: Model | None) -> Stage:
    """Return the stage that writes the texts: from measurements, or by a model whose every statement is checked."""
    options = config.describe
    if model is None or isinstance(options, DescribeMeasured):
        return each(MeasuredDescriber())
    passages = None if config.knowledge is None else Passages(*_knowledge(config))
    describe = Describe(model, options.backend, options.prompt, passages)
    return batched(describe, ASKED_AHEAD * getattr(options, "concurrency", 1))


def model_of(config: BuildConfig) -> Model | None:
    """Return the model that describes, its replies kept in the config's cache; None where texts are only measured.

    Raises:
        ConfigError: a package, a folder or a key is missing.
    """
    paths = {name: config.path(path) for name in ("path", "replies") if (path := getattr(config.describe, name, None))}
    return open_model(config.describe.with_(**paths), reply_store(config).folder)


def reply_store(config: BuildConfig) -> ReplyStore:
    """Return where the replies of a config's model are kept: in its cache, by request."""
    return ReplyStore(config.cache_folder.absolute() / "replies")


def _knowledge(config: BuildConfig) -> tuple[Knowledge, Path, Path]:
    """Return how a process finds the knowledge base: options, cache, and the folder relative paths start from."""
    if config.knowledge is None:
        raise ValueError("this config names no knowledge base")
    return config.knowledge, config.cache_folder.absolute(), config.base.absolute()


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
    config.check_egress()
    stages(config)  # an expert that cannot be had is said before anything is read
    space = Workspace(config.folder)
    space.create()
    with space.locked(), Engine(workers).running() as engine, (reporter or Reporter()).during(space) as report:
        space.sweep()
        state = _begin(config, _conditions(config, key, report), key, space, engine, report)
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


def rehearse(config: BuildConfig, model: Model, reporter: Reporter | None = None) -> None:
    """Send every planned sample through the stages with another model, and write no row.

    The plan is made and kept as `build` does, which goes on from it. Raises what `build` raises.
    """
    key = config.key()
    config.check_egress()
    space = Workspace(config.folder)
    space.create()
    with space.locked(), Engine(1).running() as engine, (reporter or Reporter()).during(space) as report:
        space.sweep()
        _begin(config, _conditions(config, key, report), key, space, engine, report)
        shards = list(read_shards(space.plan))
        report.start("collecting", sum(len(shard.records) for shard in shards))
        sources = {source.id: (source, root.resolve()) for source, root in config.resolved}
        builder = ShardBuilder(space, sources, config.cache_folder, stages(config, model), 0)
        for shard in shards:
            for _ in builder.described(shard):
                report.tick()


def _begin(
    config: BuildConfig, conditions: dict[str, Any], key: Key, space: Workspace, engine: Engine, report: Reporter
) -> dict[str, Any]:
    """Make the plan, or check that the one there is still the right one; return the state beside it."""
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


def _conditions(config: BuildConfig, key: Key, report: Reporter) -> dict[str, Any]:
    """Return what a resumed build must share with the one that was begun; indexes the knowledge base if need be."""
    found = {"version": __version__, "key": key.public_id, "libraries": _libraries(), **config.fingerprint()}
    if config.knowledge is not None:
        base = open_base(*_knowledge(config), report.say)
        base.prepare()
        asked = {"top_k": config.knowledge.top_k, "searched": config.knowledge.corpora}
        notices = [attribution()] if HPO in base.fingerprint()["corpora"] else []
        found["knowledge"] = base.fingerprint() | asked | {"notices": notices}
    model = model_of(config)
    if model is not None:
        found["describer"] = {"model": model.name, "prompts_sha256": prompts_sha256()}
    normal: dict[str, Any] = json.loads(json.dumps(found))  # as it is read back
    return normal


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
    knowledge = _write_knowledge(config, space.release, cited)
    sources = [source for source, _ in config.resolved]
    with committed(space.work / "quarantine.parquet") as part:
        pq.write_table(pa.Table.from_pylist([asdict(row) for row in refused], schema=QUARANTINE_SCHEMA), part)
    manifest = make_manifest(entries, knowledge, sources, refused, state)
    manifest["checker"] = _checker_errors(space, manifest)
    card = make_card(manifest)
    write_committed(space.release / "README.md", card)
    write_manifest(space.release, manifest)
    return read_manifest(space.release)


def _checker_errors(space: Workspace, manifest: Manifest) -> dict[str, Any]:
    """Return how often the checker errs on texts of this release, measured once a build."""
    known = space.work / "checker.json"
    if known.is_file():
        measured: dict[str, Any] = json.loads(known.read_text(encoding="utf-8"))
        if measured["build"] == manifest["build"]:
            return measured
    rates = release_error_rates(space.release, manifest=manifest)
    measured = {"build": manifest["build"]} | rates.model_dump(mode="json")
    write_committed(known, json.dumps(measured, indent=1))
    return measured


def _write_knowledge(config: BuildConfig, release: Path, cited: set[str]) -> dict[str, Any]:
    path = release / "knowledge" / "train-00000-of-00001.parquet"
    rows = list(passages(cited))
    if config.knowledge is not None:
        rows = [_passage(snippet) for snippet in Passages(*_knowledge(config))(sorted(cited))]
    with committed(path) as part, ParquetFile(part, PASSAGE_FEATURES, 8 << 20) as table:
        for row in rows:
            table.add(row, len(row["text"] or ""))
    return file_entry(path, release) | {"rows": len(rows)}


def _passage(snippet: Snippet) -> dict[str, Any]:
    """Return a snippet as a row of `knowledge/`; without its text where nobody said that it may be passed on."""
    row = {"passage_id": snippet.id} | snippet.model_dump(exclude={"id"})
    return row | {"text": None} if snippet.license == UNSTATED else row
