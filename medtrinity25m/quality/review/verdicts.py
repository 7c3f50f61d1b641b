"""The words readers use, and the CSV files they come in.

One row an item: `item`, `reader`, a verdict under each of the five attributes, `comment`. An empty verdict was not
given. Cells that a spreadsheet would take for a formula get an apostrophe in front, which is taken off again when
read.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from medtrinity25m.errors import ConfigError, one_line
from medtrinity25m.quality.scores import ATTRIBUTES

ReaderVerdict = Literal["correct", "partly", "wrong", "na"]
VERDICTS: tuple[ReaderVerdict, ...] = ("correct", "partly", "wrong", "na")
"""`na`: there is nothing to judge; the image has no region, and the text does not speak of one."""

POINTS = {"correct": 2.0, "partly": 1.0, "wrong": 0.0}
"""The paper's 0 to 2 for a verdict."""

COLUMNS = ("item", "reader", *ATTRIBUTES, "comment")
FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""First characters that make a spreadsheet evaluate a cell (OWASP, CSV injection)."""

MAX_CSV = 32 << 20  # bytes; 200 items with long comments have less than one megabyte


class Sheet(NamedTuple):
    """One reader's verdicts: item → attribute → verdict, and item → comment."""

    reader: str
    verdicts: dict[str, dict[str, str]]
    comments: dict[str, str]


def guarded_cell(text: str) -> str:
    """Return a cell that no spreadsheet evaluates."""
    return f"'{text}" if text.startswith(FORMULA) else text


def plain_cell(text: str) -> str:
    """Return what `guarded_cell` was given."""
    return text[1:] if text.startswith("'") and text[1:].startswith(FORMULA) else text


def write_csv(columns: Sequence[str], rows: Iterable[Mapping[str, str]]) -> str:
    """Return a CSV text, lines ended as RFC 4180 has it."""
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, columns, restval="")
    writer.writeheader()
    for row in rows:
        writer.writerow({name: guarded_cell(value) for name, value in row.items()})
    return buffer.getvalue()


def read_csv(path: Path, columns: Sequence[str]) -> list[tuple[str, dict[str, str]]]:
    """Return the rows of a CSV with these columns, each with its file and line.

    Commas or semicolons, as spreadsheets of different countries write them.

    Raises:
        ConfigError: the file cannot be read, or a column is missing.
    """
    try:
        if path.stat().st_size > MAX_CSV:
            raise ConfigError(f"{path} has more than {MAX_CSV:,} bytes; this is no sheet of a reader")
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not UTF-8 text; save it as CSV UTF-8") from error
    head = text.partition("\n")[0]
    delimiter = ";" if head.count(";") > head.count(",") else ","
    try:
        table = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
        missing = [name for name in columns if name not in (table.fieldnames or ())]
        if missing:
            raise ConfigError(f"{path}: has no column {', '.join(missing)}; it needs {', '.join(columns)}")
        return [
            (f"{path}:{table.line_num}", {name: plain_cell((row[name] or "").strip()) for name in columns})
            for row in table
        ]
    except csv.Error as error:
        raise ConfigError(f"{path} is no CSV: {error}") from error


def read_sheet(path: Path, items: Mapping[str, Any]) -> Sheet:
    """Return one reader's verdicts on the items of a pack.

    Raises:
        ConfigError: the file is not a sheet of this pack; names file and line.
    """
    verdicts: dict[str, dict[str, str]] = {}
    comments: dict[str, str] = {}
    readers: set[str] = set()
    for where, row in read_csv(path, COLUMNS):
        item = row["item"]
        if item not in items:
            said = f"{where}: item {item!r} is not in this pack"
            raise ConfigError(one_line(f"{said}; take the key.json that was made with it"))
        if item in verdicts:
            raise ConfigError(f"{where}: item {item} stands there twice; keep one of its rows")
        verdicts[item] = {name: _verdict(row[name], where) for name in ATTRIBUTES if row[name]}
        comments[item] = row["comment"]
        readers.add(row["reader"])
    if len(readers) != 1:
        who = ", ".join(sorted(readers)) or "none"
        raise ConfigError(one_line(f"{path}: a sheet is of one reader, this one names {who}"))
    return Sheet(readers.pop(), verdicts, comments)


def _verdict(word: str, where: str) -> str:
    if word.casefold() not in VERDICTS:
        raise ConfigError(one_line(f"{where}: {word!r} is no verdict; write {', '.join(VERDICTS)}, or leave it empty"))
    return word.casefold()
