"""Parquet parts of a corpus: sorted by id on writing, merged in order on reading, never a corpus in memory.

A part holds up to `MAX_ROWS` passages. Where a corpus has more than one, its order is made once, by an external merge
sort, into files of their own that carry on where the one before ends; whatever asks for passages reads those.

**Why** the order is written down, which doubles the disk a corpus takes: ids are hashes, so each part spans all of
them, and PubMed has more than 1,200 files. Reading them side by side would need as many open files, and looking up one
id a search in each. Of equal ids the row that sorts first stays, whatever the order the files came in.
"""

from __future__ import annotations

import heapq
import json
import shutil
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from itertools import chain, islice
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from medtrinity25m.errors import ConfigError
from medtrinity25m.knowledge.snippet import Snippet
from medtrinity25m.release.workspace import committed, disk_errors, sha256_file, write_committed

MAX_ROWS = 50_000  # passages a part: of 1,000 characters they take some 200 MB while they are sorted
GROUP_ROWS = 1_000  # rows a row group, what is read to find one passage
READ_ROWS = 250  # rows decoded at a time, in each of the parts that are merged
FAN_IN = 32  # parts merged at a time: 32 row groups of 1.5 MB
INDEX = "index.json"
SCHEMA = pa.schema([
    ("id", pa.string()), ("locator", pa.string()), ("offset", pa.int64()), ("title", pa.string()),
    ("text", pa.string()), ("corpus", pa.string()), ("license", pa.string()), ("terms", pa.list_(pa.string())),
])  # fmt: skip


Item = TypeVar("Item")


class Row(NamedTuple):
    """A passage as it is stored; rows compare by id, then by where they come from."""

    id: str
    locator: str
    offset: int
    title: str
    text: str
    corpus: str
    license: str
    terms: tuple[str, ...]

    def snippet(self) -> Snippet:
        """Return the passage, validated."""
        return Snippet(**self._asdict())


class Bounds(NamedTuple):
    """One file of a corpus in order: its name, SHA-256, rows, first and last id."""

    name: str
    sha256: str
    rows: int
    first: str
    last: str


def row_of(snippet: Snippet, terms: tuple[str, ...]) -> Row:
    """Return a passage as it is stored."""
    fields = {name: getattr(snippet, name) for name in Row._fields}
    return Row(**(fields | {"terms": terms}))


def write(path: Path, rows: Iterable[Row]) -> Bounds:
    """Commit rows that come in order as one part; equal ids once, the first of them."""
    first, last, count = "", "", 0
    with committed(path) as part, _writer(part) as writer:
        for group in _groups(distinct(rows), GROUP_ROWS):
            writer.write_table(pa.Table.from_pylist([row._asdict() for row in group], schema=SCHEMA))
            first, last, count = first or group[0].id, group[-1].id, count + len(group)
    return Bounds(path.name, sha256_file(path), count, first, last)


def read(path: Path) -> Iterator[Row]:
    """Yield the rows of a part in its order.

    Raises:
        ConfigError: the part is damaged or not there.
    """
    with _opened(path) as file:
        for batch in file.iter_batches(batch_size=READ_ROWS):
            yield from _rows(batch)


def read_terms(path: Path) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield ids and terms of a part in its order, its texts not read."""
    with _opened(path) as file:
        for batch in file.iter_batches(batch_size=GROUP_ROWS, columns=["id", "terms"]):
            ids, terms = batch.to_pydict().values()
            yield from zip(ids, map(tuple, terms), strict=True)


def find(path: Path, ids: Sequence[str]) -> Iterator[Row]:
    """Yield the rows of a part that have one of `ids`, which are sorted."""
    stamp = path.stat()
    starts = _starts(path, stamp.st_size, stamp.st_mtime_ns)
    wanted: dict[int, list[str]] = {}
    for one in ids:
        wanted.setdefault(bisect_right(starts, one) - 1, []).append(one)
    for group, these in wanted.items():
        if group >= 0:
            table, places = _group(path, stamp.st_size, stamp.st_mtime_ns, group)
            for place in (places[one] for one in these if one in places):
                yield from _rows(table.slice(place, 1))


def merge(parts: Sequence[Path]) -> Iterator[Row]:
    """Yield the rows of sorted parts in order, equal ids once, the row that sorts first."""
    return distinct(heapq.merge(*map(read, parts)))


def order(parts: Sequence[Path], folder: Path) -> list[Bounds]:
    """Write the passages of parts in order as files `00000.parquet` …; `index.json`, which lists them, comes last.

    Args:
        parts: at least one.
        folder: new or left behind by a stopped process; what it holds is replaced.
    """
    with disk_errors(folder):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
    runs, level = list(parts), 0
    while len(runs) > FAN_IN:
        merged = []
        for number, some in enumerate(_groups(runs, FAN_IN)):
            merged.append(folder / f"run-{level}-{number}.parquet")
            write(merged[-1], merge(some))
        _remove(run for run in runs if run.parent == folder)
        runs, level = merged, level + 1
    found: list[Bounds] = []
    rest = merge(runs)
    while (first := next(rest, None)) is not None:
        found.append(write(folder / f"{len(found):05}.parquet", chain([first], islice(rest, MAX_ROWS - 1))))
    _remove(run for run in runs if run.parent == folder)
    write_committed(folder / INDEX, json.dumps(found))
    return found


def ordered(folder: Path) -> list[Bounds] | None:
    """Return what `order` wrote to a folder; None if it did not end there."""
    try:
        return [Bounds(*entry) for entry in json.loads((folder / INDEX).read_text(encoding="utf-8"))]
    except (OSError, ValueError, TypeError):
        return None


def _writer(path: Path) -> pq.ParquetWriter:
    return pq.ParquetWriter(
        path,
        SCHEMA,
        compression="zstd",
        use_dictionary=["corpus", "license"],
        write_statistics=["id"],
        write_page_checksum=True,
    )


def _groups(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    rest = iter(items)
    while group := list(islice(rest, size)):
        yield group


def distinct(rows: Iterable[Row]) -> Iterator[Row]:
    """Yield sorted rows, equal ids once, the first of them."""
    last = None
    for row in rows:
        if row.id != last:
            yield row
        last = row.id


def _rows(batch: Any) -> Iterator[Row]:
    columns = batch.to_pydict()
    columns["terms"] = [tuple(terms) for terms in columns["terms"]]
    return map(Row, *(columns[name] for name in Row._fields))


@lru_cache(maxsize=1024)
def _starts(path: Path, _size: int, _changed: int) -> list[str]:
    """Return the first id of each row group; size and time of change tell one state of the file from another."""
    with _opened(path) as file:
        groups = (file.metadata.row_group(number) for number in range(file.metadata.num_row_groups))
        return [group.column(0).statistics.min for group in groups]


@lru_cache(maxsize=64)
def _group(path: Path, _size: int, _changed: int, number: int) -> tuple[Any, dict[str, int]]:
    """Return a row group, and where each id stands in it."""
    with _opened(path) as file:
        table = file.read_row_group(number)
    return table, {one: place for place, one in enumerate(table.column("id").to_pylist())}


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """Open a part; what Arrow raises on a damaged one becomes a `ConfigError` that names it."""
    try:
        with pq.ParquetFile(path, page_checksum_verification=True, pre_buffer=False) as file:
            if not file.schema_arrow.equals(SCHEMA):
                raise ConfigError(f"{path} has other columns than this version writes; add the corpus again")
            yield file
    except (pa.ArrowException, OSError) as error:
        why = f"{path} is damaged or gone ({type(error).__name__}); see `medtrinity25m knowledge verify`"
        raise ConfigError(why) from None


def _remove(paths: Iterable[Path]) -> None:
    for path in paths:
        path.unlink(missing_ok=True)
