"""Builds one shard, alone: read its records, run the stages, write, commit, note it in the journal.

A shard is the unit of work, retry and resume. `ShardBuilder` needs nothing but its arguments and the files, so it
runs in this process, in a pool's worker or on another machine alike, and its bytes are the same everywhere.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from medtrinity25m.errors import GateFailedError, ResumeRefusedError
from medtrinity25m.features import FEATURES, METADATA_FEATURES
from medtrinity25m.pipeline import Stage, run
from medtrinity25m.readers.load import Loader
from medtrinity25m.readers.record import Record
from medtrinity25m.readers.safe import Jail
from medtrinity25m.registry import Source
from medtrinity25m.release.manifest import COUNTED, file_entry
from medtrinity25m.release.parquet import ParquetFile
from medtrinity25m.release.plan import CRASHED, Shard
from medtrinity25m.release.quarantine import Rejected
from medtrinity25m.release.rows import data_row, metadata_row, row_bytes, to_triplet
from medtrinity25m.release.workspace import Workspace, committed
from medtrinity25m.triplet import Exchange, Sample

METADATA_GROUP_BYTES = 8 << 20  # text rows are a few kB: one or two groups a shard


@dataclass(frozen=True)
class ShardBuilder:
    """Callable that builds a shard and returns its journal entry.

    Args:
        sources: source and folder, by source id.
        cache: folder that archives are unpacked to.
        stages: what happens between reading and writing.
        poison: locators that ended a process before; refused instead of touched.
    """

    workspace: Workspace
    sources: dict[str, tuple[Source, Path]]
    cache: Path
    stages: tuple[Stage, ...]
    group_bytes: int
    poison: frozenset[str] = frozenset()

    def __call__(self, shard: Shard) -> dict[str, Any]:
        """Build, commit and journal one shard."""
        tally = Tally({record.id: record.path for record in shard.records})
        data = self.workspace.release / "data" / f"{shard.name}.parquet"
        metadata = self.workspace.release / "metadata" / f"{shard.name}.parquet"
        with (
            committed(data) as part,
            committed(metadata) as metadata_part,
            ParquetFile(part, FEATURES, self.group_bytes) as rows,
            ParquetFile(metadata_part, METADATA_FEATURES, METADATA_GROUP_BYTES) as bare,
        ):
            for sample in self.described(shard):
                if sample.rejected == "file.changed":
                    raise ResumeRefusedError(f"{sample.detail}; or restore the file and run the same command again")
                if sample.rejected is not None:
                    tally.refuse(sample)
                    continue
                row = data_row(to_triplet(sample))
                tally.write(row, sample.exchange)
                rows.add(row, row_bytes(row))
                bare.add(metadata_row(row), len(str(row["caption"])))
        entry = {
            "name": shard.name,
            "modality": shard.modality,
            "split": shard.split,
            **tally.counts(len(shard.records)),
        }
        quarantine = self.workspace.quarantine / f"{shard.name.replace('/', '-')}.jsonl"
        with committed(quarantine) as quarantine_part:
            quarantine_part.write_text(
                "".join(json.dumps(asdict(row)) + "\n" for row in tally.rejected), encoding="utf-8"
            )
        entry["files"] = [file_entry(path, self.workspace.release) for path in (data, metadata)]
        entry["quarantine"] = file_entry(quarantine, self.workspace.work)
        self.workspace.record(entry)
        return entry

    def described(self, shard: Shard) -> Iterator[Sample]:
        """Yield the samples of a shard as the stages leave them, refused ones too."""
        return run(self._samples(shard), *self.stages)

    def _samples(self, shard: Shard) -> Iterator[Sample]:
        """Yield the samples of a shard in its order, each source's by its own loader."""
        marker = Marker(self.workspace, shard.name)
        for source_id, records in groupby(shard.records, key=lambda record: record.source):
            source, root = self.sources[source_id]
            yield from self._loaded(Loader(source, Jail(root, self.cache)), records, marker)

    def _loaded(self, loader: Loader, records: Iterable[Record], marker: Marker) -> Iterator[Sample]:
        for record in records:
            marker.at(record.locator)
            if record.locator in self.poison:
                yield loader.bare(record).reject("engine.crash", f"{record.path}: {CRASHED}")
            else:
                yield from loader((record,))


class Marker:
    """Says in a small file which record a shard is at: for the progress line, and to name the culprit of a crash."""

    def __init__(self, workspace: Workspace, shard: str) -> None:
        self._path = workspace.active / shard.replace("/", "-")
        self._count = 0

    def at(self, locator: str) -> None:
        """Note that `locator` is about to be decoded."""
        self._path.write_text(f"{self._count}\n{locator}", encoding="utf-8")
        self._count += 1

    @staticmethod
    def read(workspace: Workspace, shard: str) -> tuple[int, str]:
        """Return how many records a shard has behind it and which one it is at."""
        path = workspace.active / shard.replace("/", "-")
        try:
            count, _, locator = path.read_text(encoding="utf-8").partition("\n")
            return int(count or 0), locator
        except (OSError, ValueError):
            return 0, ""


class Tally:
    """What a shard wrote and refused; `paths` gives the file of each row's id."""

    def __init__(self, paths: Mapping[str, str]) -> None:
        self._paths = paths
        self.rows = 0
        self.rejected: list[Rejected] = []
        self.bytes = 0
        self.diseases: Counter[str] = Counter()
        self.disease_bytes: Counter[str] = Counter()
        self.sources: Counter[str] = Counter()
        self.organs: Counter[str] = Counter()
        self.origins: Counter[str] = Counter()
        self.passages: set[str] = set()
        self.describers: Counter[str] = Counter()
        self.prompts: Counter[str] = Counter()
        self.fallbacks: Counter[str] = Counter()
        self.exchange: Counter[str] = Counter()
        self.quality: dict[str, Counter[str]] = {}
        self.corrections: Counter[tuple[str, ...]] = Counter()

    def refuse(self, sample: Sample) -> None:
        """Count a rejected sample."""
        path, detail = self._paths[sample.id], sample.detail or ""
        self.rejected.append(Rejected(sample.source, path, sample.locator, str(sample.rejected), detail, "build"))

    def write(self, row: dict[str, Any], exchange: Exchange | None) -> None:
        """Count a written row, and what asking a model about it took."""
        size = row_bytes(row)
        self.rows += 1
        self.bytes += size
        self.disease_bytes[row["disease"]] += size
        self.diseases[row["disease"]] += 1
        self.sources[row["source"]] += 1
        self.organs.update(row["organs"])
        self.origins.update(roi["origin"] for roi in row["rois"])
        self.passages.update(passage["passage_id"] for passage in row["knowledge"])
        self._describe(row, exchange)

    def _describe(self, row: dict[str, Any], exchange: Exchange | None) -> None:
        """Count who wrote the text, how it scored, and what was corrected."""
        made = row["provenance"] or {}
        self.describers[" ".join(filter(None, (made.get("describer"), made.get("model")))) or "nobody"] += 1
        self.prompts.update(filter(None, [made.get("prompt_sha256")]))
        self.fallbacks.update(filter(None, [made.get("fallback")]))
        if exchange is not None:
            self.exchange.update(exchange.model_dump() | {"rows": 1, "repaired": int(made["repairs"] > 0)})
        for attribute, points in (row["quality"] or {}).items():
            self.quality.setdefault(attribute, Counter())[f"{points:g}"] += 1
        for change in row["corrections"]:
            line = (row["source"], change["by"], change["column"], change["was"], change["value"])
            self.corrections[line] += 1

    def counts(self, records: int) -> dict[str, Any]:
        """Return the tally for the journal, after checking that nothing was lost."""
        if records != self.rows + len(self.rejected):
            raise GateFailedError(f"{records} records were read, {self.rows} written and {len(self.rejected)} rejected")
        named = {name: dict(sorted(getattr(self, name).items())) for name in ("disease_bytes", *COUNTED)}
        passages = sorted(self.passages)
        totals = {"records": records, "rows": self.rows, "bytes": self.bytes, "rejected": len(self.rejected)}
        quality = {name: dict(sorted(points.items())) for name, points in self.quality.items()}
        corrections = [[*line, rows] for line, rows in sorted(self.corrections.items())]
        return totals | {"passages": passages, "quality": quality, "corrections": corrections, **named}
