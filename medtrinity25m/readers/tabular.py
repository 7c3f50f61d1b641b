"""Rows of tables: CSV, TSV, JSON, JSON Lines (each also gzipped) and Parquet, joined and split up as a layout asks.

A row is a mapping from column to cell, with a name for messages (`train.csv#line=7`). A line that cannot be read
comes out as the refusal in its place, and the others go on. Fields of the file's path are columns too. Rows stream:
of a table nothing is held but the partners of a join.

**Why**

- *CSV is read strictly*: a quote that is never closed makes one cell of all lines that follow, and a lenient reader
  takes it.
- *A key that stands twice in one JSON object is refused*: the parser keeps the last and drops the other rows.
- *A join has partners*: when none of its lines agrees with any, the two write the same ids in two ways, and every
  label or box of the second table would be missing without a word.
"""

from __future__ import annotations

import csv
import io
import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from medtrinity25m.errors import ConfigError, RefusedError
from medtrinity25m.readers.layout_options import Join
from medtrinity25m.readers.parquet_table import parquet_rows
from medtrinity25m.readers.pattern import cell_of, columns_of, empty, match_path, sound
from medtrinity25m.readers.safe import Jail, gunzip

Row = dict[str, object]
Line = tuple[str, Row | RefusedError]
"""Where a row stands, and the row or why it cannot be used."""

KEY_COLUMN = "_key"  # the key of a row in a JSON object of rows
MAX_JSON_BYTES = 1 << 30  # of a file that is parsed as a whole, which takes some ten times its bytes
MAX_PAIRS = 10_000  # lines of two tables that agree in one key: dozens of questions times hundreds of boxes


def read_tables(
    jail: Jail, files: Iterable[str], pattern: str, records: str | None, embedded: str | None
) -> Iterator[Line]:
    """Yield the rows of every file that fits `pattern`, in the order of their paths.

    `embedded` is a Parquet column that holds image bytes: its cells become the addresses of these bytes.

    Raises:
        ConfigError: no file fits, or one cannot be read to its end: what it would have said is missing without a word.
    """
    found = [(path, fields) for path in files if (fields := match_path(pattern, path)) is not None]
    if not found:
        raise ConfigError(f"table {pattern} does not exist below the source's folder")
    for path, fields in found:
        try:
            for where, row in _lines(jail, path, records, embedded):
                if not isinstance(row, RefusedError):
                    row.update((name, value) for name, value in fields.items() if empty(row.get(name)))
                yield where, row
        except RefusedError as refusal:
            raise ConfigError(f"table {path}: {refusal.detail}") from refusal


def used_tables(files: Iterable[str], pattern: str) -> set[str]:
    """Return the files that fit a table's pattern."""
    return {path for path in files if match_path(pattern, path) is not None}


def join(lines: Iterable[Line], jail: Jail, files: list[str], joined: Join) -> Iterator[Line]:
    """Yield the lines with the columns of another table added; a line with several partners is repeated.

    A column that both tables have keeps the first one's cell where there is one. An empty key agrees with nothing.

    Raises:
        ConfigError: a table has no such column, or no line has a partner.
    """
    partners: dict[tuple[str, ...], list[Row]] = defaultdict(list)
    there = Known(joined.pairs.values(), joined.file)
    refused: list[Line] = []
    for where, row in there.watched(read_tables(jail, files, joined.file, joined.records, None)):
        if isinstance(row, RefusedError):
            refused.append((where, row))
        elif (key := _key(row, joined.pairs.values())) is not None:
            partners[key].append(row)
    alone = [dict.fromkeys(there.names)]
    times: Counter[tuple[str, ...]] = Counter()
    here = Known(joined.pairs, "the table")
    for where, row in here.watched(lines):
        if isinstance(row, RefusedError):
            yield where, row
            continue
        key = _key(row, joined.pairs)
        found = alone if key is None else partners.get(key, alone)
        if key is not None and found is not alone:
            times[key] += 1
            if times[key] > 1 and times[key] * len(found) > MAX_PAIRS:
                why = f"{where}: {key} stands in {len(found)} lines of {joined.file} and {times[key]} of the table"
                yield where, RefusedError("table.join", f"{why}, too many to join; one side should name it once")
                continue
        own = {name: cell for name, cell in row.items() if not empty(cell)}
        for partner in found:
            yield where, {**row, **partner, **own}
    if here.names and partners and not times:
        on = ", ".join(f"{left} = {right}" for left, right in joined.pairs.items())
        raise ConfigError(f"no line agrees with any of {joined.file} in {on}; compare how the two write them")
    yield from refused


def split_up(lines: Iterable[Line], columns: dict[str, str]) -> Iterator[Line]:
    """Yield the lines with the fields of `columns`' patterns as columns, where a cell fits its pattern."""
    for where, row in lines:
        if not isinstance(row, RefusedError):
            for name, pattern in columns.items():
                cell = cell_of(row, name)
                row = {**row, **((match_path(pattern, str(cell)) or {}) if not empty(cell) else {})}
        yield where, row


class Known:
    """The columns a table turned out to have; one that is asked for and in no row would be missing without a word.

    Args:
        templates: columns, and templates over columns, that a TOML asks for.
        what: the table's name for messages.
    """

    def __init__(self, templates: Iterable[str], what: str) -> None:
        self.names: set[str] = set()
        self._asked = [column for template in templates for column in columns_of(template)]
        self._what = what

    def watched(self, lines: Iterable[Line]) -> Iterator[Line]:
        """Yield the lines; raises `ConfigError` after the last of them for columns that none has."""
        for where, row in lines:
            if not isinstance(row, RefusedError):
                self.names.update(row)
            yield where, row
        known = self.names
        missing = [name for name in dict.fromkeys(self._asked) if not known & {name, name.partition(".")[0]}]
        if known and missing:
            there = ", ".join(sorted(known))
            raise ConfigError(f"{self._what} has no column {', '.join(map(repr, missing))}; it has: {there}")


def _key(row: Row, columns: Iterable[str]) -> tuple[str, ...] | None:
    """Return what a line is joined by, None where a part of it is empty; 7.0 is how pandas writes 7 beside blanks."""
    cells = [cell_of(row, name) for name in columns]
    if any(empty(cell) for cell in cells):
        return None
    return tuple(str(int(cell) if isinstance(cell, float) and cell.is_integer() else cell).strip() for cell in cells)


def _lines(jail: Jail, path: str, records: str | None, embedded: str | None) -> Iterator[Line]:
    name = path.casefold()
    if name.endswith(".parquet"):
        yield from parquet_rows(jail.locate(path), path, embedded)
        return
    data = jail.read_bytes(path)
    if name.endswith(".gz"):
        data, name = gunzip(data, path), name.removesuffix(".gz")
    if not data.strip(b"\0 \r\n\t"):
        raise RefusedError("table.empty", f"{path} is empty; fetch it again")
    if name.endswith((".jsonl", ".ndjson")):
        yield from _json_lines(data, path)
    elif name.endswith(".json"):
        yield from _json(data, path, records)
    else:
        yield from _separated(data, path, "\t" if name.endswith(".tsv") else ",")


def _separated(data: bytes, name: str, delimiter: str) -> Iterator[Line]:
    with _text(data, name, "") as text:
        reader = csv.reader(text, delimiter=delimiter, strict=True)
        header: list[str] = []
        while True:
            first = reader.line_num + 1
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                lost = "" if reader.line_num == first else f"; it takes the lines up to {reader.line_num} with it"
                yield _refused(name, first, f"{error}{lost}")
                continue
            if not header:
                header = _header(cells, name)
            elif len(cells) == len(header):
                # columns without a name are what a spreadsheet leaves behind
                row: Row = {column: cell for column, cell in zip(header, cells, strict=True) if column}
                yield f"{name}#line={first}", row
            elif cells:
                yield _refused(name, first, f"{len(cells)} cells, the header has {len(header)}")


def _header(cells: list[str], name: str) -> list[str]:
    header = [cell.strip() for cell in cells]
    named = [cell for cell in header if cell]
    if len(set(named)) != len(named):
        raise ConfigError(f"{name}: two columns have the same name; rename one: {', '.join(header)}")
    return header


def _json_lines(data: bytes, name: str) -> Iterator[Line]:
    with _text(data, name, "\n") as text:  # JSON may hold other line ends within its strings
        for number, line in enumerate(text, 1):
            if not line.strip():
                continue
            try:
                row = _parsed(line)
            except (ValueError, RecursionError) as error:
                yield _refused(name, number, f"not JSON ({error})")
                continue
            yield _checked(f"{name}#line={number}", row, line)


def _json(data: bytes, name: str, records: str | None) -> Iterator[Line]:
    """Yield the rows of a JSON file: a list of objects, or an object of objects."""
    if len(data) > MAX_JSON_BYTES:
        why = f"{name} has {len(data):,} bytes; the limit is {MAX_JSON_BYTES:,}; write it as JSON Lines"
        raise RefusedError("table.too_large", why)
    with _text(data, name, "") as stream:
        text = stream.read()
    try:
        content = _parsed(text)
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
        yield _checked(f"{name}#row={number}", row, text)


def _parsed(text: str) -> Any:
    """Return what JSON text holds; raises `ValueError` or `RecursionError`."""
    return json.loads(text, object_pairs_hook=_object)


def _object(pairs: list[tuple[str, Any]]) -> Row:
    found = dict(pairs)
    if len(found) != len(pairs):
        twice = next(key for key, count in Counter(key for key, _ in pairs).items() if count > 1)
        raise ValueError(f"the key {twice[:80]!r} stands twice in one object")
    return found


def _checked(where: str, row: object, text: str) -> Line:
    if not isinstance(row, dict):
        return where, RefusedError("table.row", f"{where}: not a JSON object")
    if not sound(row, text):
        return where, RefusedError("table.row", f"{where}: holds half of a Unicode character")
    return where, row


def _refused(name: str, line: int, why: str) -> Line:
    return f"{name}#line={line}", RefusedError("table.row", f"{name}, line {line}: {why}")


@contextmanager
def _text(data: bytes, name: str, newline: str) -> Iterator[io.TextIOWrapper]:
    """Give the table's text: UTF-8 with or without a mark, or UTF-16 with one."""
    encoding = "utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    try:
        with io.TextIOWrapper(io.BytesIO(data), encoding, newline=newline) as text:
            yield text
    except UnicodeDecodeError as error:
        found = error.object[error.start : error.start + 4].hex(" ")
        raise RefusedError(
            "table.encoding", f"{name} is not {encoding[:6]} (bytes {found}); save it as UTF-8"
        ) from None
