"""The plan: every record of every source, de-duplicated, grouped by patient, given a split and a shard.

The plan depends on the inputs, the config and the key; not on clocks, hosts, the order of listing or the
number of workers. It is a Parquet file in the work folder; records in it are metadata only.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path
from typing import Protocol

import pyarrow as pa
import pyarrow.parquet as pq

from medtrinity25m.config import BuildConfig
from medtrinity25m.corrections import corrected
from medtrinity25m.engine import Crash, Engine
from medtrinity25m.keys import Key
from medtrinity25m.readers.entry import Entry, Refusal
from medtrinity25m.readers.expand import Expand, stack_of
from medtrinity25m.readers.layouts import list_source
from medtrinity25m.readers.record import Record
from medtrinity25m.readers.safe import Jail
from medtrinity25m.registry import EVALUATION_FIRST, SPLITS, Source, Split
from medtrinity25m.release.quarantine import Rejected
from medtrinity25m.release.workspace import write_committed

ROW_OVERHEAD = 4096  # bytes of text, claims and masks beside the image in a typical row


@dataclass(frozen=True)
class Shard:
    """One file of the release and the records that go into it, in row order."""

    modality: str
    split: Split
    number: int
    of: int
    records: tuple[Record, ...]

    @property
    def name(self) -> str:
        """Path below `data/` and `metadata/`: `ct/train-00000-of-00012`, without suffix."""
        return f"{self.modality}/{self.split}-{self.number:05d}-of-{self.of:05d}"


@dataclass(frozen=True)
class Stack:
    """A series of planes that make a volume: (file, frame) in spatial order."""

    source: str
    name: str
    planes: tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class Plan:
    """What will be built, and what was refused on the way to knowing it."""

    shards: tuple[Shard, ...]
    rejected: tuple[Rejected, ...]
    stacks: tuple[Stack, ...]
    split_conflicts: int
    """Groups whose official splits disagreed; all their records went to the most guarded one."""

    @property
    def read(self) -> int:
        """Records and refusals together: everything that was found."""
        return sum(len(shard.records) for shard in self.shards) + len(self.rejected)


CRASHED = "reading it ended the process twice; the file is damaged or needs more memory than there is"


class Watcher(Protocol):
    """Somebody who wants to know how far planning is."""

    def start(self, what: str, total: int) -> None:
        """So many files of a source are about to be opened."""

    def tick(self) -> None:
        """One was."""


def make_plan(config: BuildConfig, key: Key, engine: Engine, watcher: Watcher) -> Plan:
    """List, expand, de-duplicate, split and shard the records of all sources."""
    records: list[Record] = []
    rejected: list[Rejected] = []
    stacks: list[Stack] = []
    for source, root in config.resolved:
        jail = Jail(root, config.cache_folder)
        found, refused, series = _read_source(source, jail, key, engine, watcher, config.limit)
        records.extend(corrected(record, config.corrections_files) for record in found)
        rejected.extend(refused)
        stacks.extend(series)
    unique, duplicates = _without_duplicates(records)
    placed, conflicts = _with_splits(unique, config, key)
    shards = tuple(_cut(placed, int(config.shard_mb * 1e6)))
    order = sorted([*rejected, *duplicates], key=lambda row: (row.source, row.path, row.locator, row.code))
    return Plan(shards, tuple(order), tuple(stacks), conflicts)


def _read_source(
    source: Source, jail: Jail, key: Key, engine: Engine, watcher: Watcher, limit: int | None
) -> tuple[list[Record], list[Rejected], list[Stack]]:
    """Return the records, refusals and series of a source; with a limit, of its first entries by path only."""
    listing = list_source(source, jail, engine.map)
    refusals = list(listing.refusals)
    records: list[Record] = []
    entries: list[Entry] = listing.entries[:limit]
    watcher.start(f"planning {source.id}", len(entries))
    for entry, result in zip(entries, engine.map(Expand(source, jail, key), entries), strict=True):
        watcher.tick()
        if isinstance(result, Crash):
            refusals.append(Refusal(entry.path, "engine.crash", f"{entry.path}: {CRASHED}"))
        elif isinstance(result, Refusal):
            refusals.append(result)
        else:
            records.extend(result)
    rejected = [Rejected(source.id, r.path, r.path, r.code, r.detail, "plan") for r in refusals]
    return records[:limit], rejected, _stacks(listing.entries, source, key)


def _stacks(entries: list[Entry], source: Source, key: Key) -> list[Stack]:
    """Return the series of a source, whole: also with the planes that become no rows."""
    found: dict[str, list[tuple[int, str, int]]] = defaultdict(list)
    for entry in entries:
        for frame, place in entry.places.items():
            found[stack_of(entry, source, key)].append((place, entry.path, frame))
    return [
        Stack(source.id, name, tuple((path, frame) for _, path, frame in sorted(planes)))
        for name, planes in sorted(found.items())
    ]


def _without_duplicates(records: list[Record]) -> tuple[list[Record], list[Rejected]]:
    """Keep the first of records with the same bytes and plane, by source and locator."""
    first: dict[tuple[str, int], Record] = {}
    rejected: list[Rejected] = []
    for record in sorted(records, key=lambda record: (record.source, record.locator)):
        content = (record.sha256, record.index)
        kept = first.setdefault(content, record)
        if kept is not record:
            first[content] = _with_what_it_adds(kept, record)
            why = f"{record.locator} has the same bytes as {kept.locator} of {kept.source}"
            rejected.append(Rejected(record.source, record.path, record.locator, "plan.duplicate", why, "plan"))
    return list(first.values()), rejected


def _with_what_it_adds(kept: Record, other: Record) -> Record:
    """Return the record that is kept, in the more guarded of both splits, and with the text the other row has.

    A picture that one source trains on and another tests with is a test picture, however often it comes.
    """
    said = {record.official for record in (kept, other)}
    official = next((split for split in EVALUATION_FIRST if split in said), None)
    texts = dict.fromkeys(record.text for record in (kept, other) if record.text is not None)
    same = kept.source == other.source
    return kept.with_(official=official, text="\n".join(texts) or None if same else kept.text)


def _with_splits(records: list[Record], config: BuildConfig, key: Key) -> tuple[list[Record], int]:
    """Give every group one split: the official one, the most guarded where they disagree, else by the key."""
    official: dict[str, set[Split]] = defaultdict(set)
    for record in records:
        if record.official is not None:
            official[record.group].add(record.official)
    cuts = config.share_cuts()

    def place(group: str) -> Split:
        if group in official:
            return next(split for split in EVALUATION_FIRST if split in official[group])
        fraction = key.fraction(group)
        return next((split for split, end in cuts if fraction < end), cuts[-1][0])

    groups = {group: place(group) for group in {record.group for record in records}}
    placed = [record.with_(split=groups[record.group]) for record in records]
    return placed, sum(len(splits) > 1 for splits in official.values())


def _cut(records: list[Record], shard_bytes: int) -> Iterator[Shard]:
    """Cut the records of each modality and split into shards, ordered by disease, source, id."""

    def home(record: Record) -> tuple[str, int]:
        return record.modality, SPLITS.index(record.split or "train")

    ordered = sorted(records, key=lambda record: (*home(record), record.disease, record.source, record.id))
    for (modality, split), group in groupby(ordered, key=home):
        parts = list(_parts(list(group), shard_bytes))
        for number, part in enumerate(parts):
            yield Shard(modality, SPLITS[split], number, len(parts), tuple(part))


def _parts(records: list[Record], shard_bytes: int) -> Iterator[list[Record]]:
    part: list[Record] = []
    total = 0
    for record in records:
        cost = record.cost + ROW_OVERHEAD
        if part and total + cost > shard_bytes:
            yield part
            part, total = [], 0
        part.append(record)
        total += cost
    yield part


_SCHEMA = pa.schema(
    {"shard": pa.string(), "position": pa.int64(), "id": pa.string(), "source": pa.string(), "record": pa.string()}
)


def write_stacks(stacks: tuple[Stack, ...], path: Path) -> None:
    """Write the series of a plan, one JSON line each."""
    write_committed(path, "".join(json.dumps(asdict(stack)) + "\n" for stack in stacks))


def read_stacks(path: Path) -> dict[tuple[str, str], tuple[tuple[str, int], ...]]:
    """Return the planes of every series of a plan, by source and pseudonym."""
    stacks = map(json.loads, path.read_text(encoding="utf-8").splitlines())
    return {(one["source"], one["name"]): tuple((file, frame) for file, frame in one["planes"]) for one in stacks}


def write_plan(plan: Plan, path: Path) -> None:
    """Write the plan's records as Parquet, one row a record in shard order."""
    rows = [
        {"shard": s.name, "position": i, "id": r.id, "source": r.source, "record": r.model_dump_json(exclude_none=True)}
        for s in plan.shards
        for i, r in enumerate(s.records)
    ]
    pq.write_table(pa.Table.from_pylist(rows, schema=_SCHEMA), path, compression="zstd")


def read_shards(path: Path) -> Iterator[Shard]:
    """Yield the shards of a plan file, in order."""
    rows = pq.read_table(path).to_pylist()
    for name, group in groupby(rows, key=lambda row: row["shard"]):
        modality, rest = name.split("/")
        split, number, _, of = rest.split("-")
        records = tuple(Record.model_validate_json(row["record"]) for row in group)
        yield Shard(modality, split, int(number), int(of), records)
