"""Rows of tables: CSV, TSV, JSON, JSON Lines (each also gzipped) and Parquet, joined and split up as a layout asks.

A row is a mapping from column to cell, with a name for messages (`train.csv#line=7`). A line that cannot be read
comes out as the refusal in its place, and the others go on. Fields of the file's path are columns too.
"""

from __future__ import annotations

import csv
import io
import json
from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from medtrinity25m.errors import ConfigError, RefusedError
from medtrinity25m.readers.layout_options import Join
from medtrinity25m.readers.pattern import cell_of, columns_of, empty, match_path
from medtrinity25m.readers.safe import Jail, gunzip

Row = dict[str, object]
Line = tuple[str, Row | RefusedError]
"""Where a row stands, and the row or why it cannot be used."""

KEY_COLUMN = "_key"  # the key of a row in a JSON object of rows


def read_tables(
    jail: Jail, files: Iterable[str], pattern: str, records: str | None, embedded: str | None
) -> list[Line]:
    """Return the rows of every file that fits `pattern`, in the order of their paths.

    `embedded` is a Parquet column that holds image bytes: its cells become the addresses of these bytes.

    Raises:
        ConfigError: no file fits, or one cannot be read at all: what it would have said is missing without a word.
    """
    found = [(path, fields) for path in files if (fields := match_path(pattern, path)) is not None]
    if not found:
        raise ConfigError(f"table {pattern} does not exist below the source's folder")
    lines: list[Line] = []
    for path, fields in found:
        try:
            for where, row in _lines(jail, path, records, embedded):
                lines.append((where, row if isinstance(row, RefusedError) else {**fields, **row}))
        except RefusedError as refusal:
            raise ConfigError(f"table {path}: {refusal.detail}") from refusal
    return lines


def used_tables(files: Iterable[str], pattern: str) -> set[str]:
    """Return the files that fit a table's pattern."""
    return {path for path in files if match_path(pattern, path) is not None}


def join(lines: list[Line], jail: Jail, files: list[str], joined: Join) -> list[Line]:
    """Return the lines with the columns of another table added; a line with several partners is repeated.

    A column that both tables have keeps the first one's cell where there is one.
    """
    partners: dict[tuple[str, ...], list[Row]] = defaultdict(list)
    refused: list[Line] = []
    for where, row in read_tables(jail, files, joined.file, joined.records, None):
        if isinstance(row, RefusedError):
            refused.append((where, row))
        else:
            partners[_key(row, joined.pairs.values())].append(row)
    names = {name for rows in partners.values() for row in rows for name in row}
    _check([row for rows in partners.values() for row in rows], joined.pairs.values(), joined.file)
    blank = dict.fromkeys(names)
    out: list[Line] = []
    for where, row in lines:
        if isinstance(row, RefusedError):
            out.append((where, row))
            continue
        own = {name: cell for name, cell in row.items() if not empty(cell)}
        found = partners.get(_key(row, joined.pairs.keys()), [blank])
        out.extend((where, {**row, **partner, **own}) for partner in found)
    return out + refused


def split_up(lines: list[Line], columns: dict[str, str]) -> list[Line]:
    """Return the lines with the fields of `columns`' patterns as columns, where a cell fits its pattern."""

    def more(row: Row) -> Row:
        parts: Row = {}
        for name, pattern in columns.items():
            cell = cell_of(row, name)
            parts |= (match_path(pattern, str(cell)) or {}) if not empty(cell) else {}
        return {**row, **parts}

    return [(where, row if isinstance(row, RefusedError) else more(row)) for where, row in lines]


def check_columns(lines: list[Line], templates: Iterable[str], what: str) -> None:
    """Refuse a TOML that names a column the table does not have: its content would be missing without a word."""
    rows = [row for _, row in lines if not isinstance(row, RefusedError)]
    _check(rows, (column for template in templates for column in columns_of(template)), what)


def _check(rows: list[Row], columns: Iterable[str], what: str) -> None:
    known = {name for row in rows for name in row}
    missing = [name for name in dict.fromkeys(columns) if name not in known and name.partition(".")[0] not in known]
    if rows and missing:
        there = ", ".join(sorted(known))
        raise ConfigError(f"{what} has no column {', '.join(map(repr, missing))}; it has: {there}")


def _key(row: Row, columns: Iterable[str]) -> tuple[str, ...]:
    return tuple(str(cell_of(row, name)).strip() for name in columns)


def _lines(jail: Jail, path: str, records: str | None, embedded: str | None) -> Iterator[Line]:
    name = path.casefold()
    if name.endswith(".parquet"):
        yield from _parquet(jail, path, embedded)
        return
    data = jail.read_bytes(path)
    if name.endswith(".gz"):
        data, name = gunzip(data, path), name.removesuffix(".gz")
    text = _decode(data, path)
    if name.endswith((".jsonl", ".ndjson")):
        yield from _json_lines(text, path)
    elif name.endswith(".json"):
        yield from _json(text, path, records)
    else:
        yield from _separated(text, path, "\t" if name.endswith(".tsv") else ",")


def _parquet(jail: Jail, path: str, embedded: str | None) -> Iterator[Line]:
    """Yield the rows of a Parquet file without the bytes of its images."""
    try:
        with pq.ParquetFile(jail.locate(path)) as file:
            names = [name for name in file.schema_arrow.names if name != embedded]
            start = 0
            for batch in file.iter_batches(columns=names, batch_size=8192):
                for number, row in enumerate(batch.to_pylist(), start):
                    address = {} if embedded is None else {embedded: f"{path}!/{embedded}/{number}"}
                    yield f"{path}#row={number}", {**row, **address}
                start += batch.num_rows
    except (pa.ArrowException, OSError) as error:
        raise RefusedError("table.parquet", f"{path} is no Parquet file that can be read: {error}") from None


def _separated(text: str, name: str, delimiter: str) -> Iterator[Line]:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    header: list[str] | None = None
    while True:
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield _refused(name, reader.line_num, str(error))
            continue
        if header is None:
            header = [cell.strip() for cell in cells]
            named = [cell for cell in header if cell]
            if len(set(named)) != len(named):
                raise ConfigError(f"{name}: two columns have the same name; rename one: {', '.join(header)}")
        elif len(cells) == len(header):
            # columns without a name are what a spreadsheet leaves behind
            row: Row = {column: cell for column, cell in zip(header, cells, strict=True) if column}
            yield f"{name}#line={reader.line_num}", row
        elif cells:
            yield _refused(name, reader.line_num, f"{len(cells)} cells, the header has {len(header)}")


def _json_lines(text: str, name: str) -> Iterator[Line]:
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            yield _refused(name, number, f"not JSON ({error})")
            continue
        yield (f"{name}#line={number}", row) if isinstance(row, dict) else _refused(name, number, "not a JSON object")


def _json(text: str, name: str, records: str | None) -> Iterator[Line]:
    """Yield the rows of a JSON file: a list of objects, or an object of objects."""
    try:
        content: Any = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise RefusedError("table.json", f"{name} is not JSON ({error})") from None
    if records is not None:
        content = cell_of(content, records) if isinstance(content, dict) else None
    if isinstance(content, dict):
        content = [{KEY_COLUMN: key, **row} if isinstance(row, dict) else row for key, row in content.items()]
    if not isinstance(content, list):
        at = "" if records is None else f" at {records!r}"
        raise RefusedError("table.json", f"{name} holds no list of rows{at}; name its key with records")
    for number, row in enumerate(content):
        where = f"{name}#row={number}"
        yield where, row if isinstance(row, dict) else RefusedError("table.row", f"{where}: not a JSON object")


def _refused(name: str, line: int, why: str) -> Line:
    return f"{name}#line={line}", RefusedError("table.row", f"{name}, line {line}: {why}")


def _decode(data: bytes, name: str) -> str:
    """Return the table's text: UTF-8 with or without a mark, or UTF-16 with one."""
    encoding = "utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        raise RefusedError("table.encoding", f"{name} is not UTF-8 (byte {error.start}); save it as UTF-8") from None
