"""The table layout: a CSV, TSV or JSON Lines file with columns for image, label, box, patient, split.

Several lines may speak of one image (a line a box): their labels and boxes are joined. A line that cannot be
used is refused by number and the others go on.
"""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections.abc import Iterator
from pathlib import PurePosixPath

from medtrinity25m.errors import ConfigError, RefusedError
from medtrinity25m.readers.entry import Entry, Listing, Refusal, mask_mark
from medtrinity25m.readers.layout_options import Table
from medtrinity25m.readers.pattern import columns_of, empty, fill
from medtrinity25m.readers.record import BoxMark, Mark
from medtrinity25m.readers.safe import Jail
from medtrinity25m.registry import Source

Row = dict[str, object]
TRUE = ("1", "1.0", "true", "yes", "y", "positive")  # how one-column-a-finding tables say "present"; -1 is "uncertain"


def list_table(source: Source, layout: Table, jail: Jail) -> Listing:
    """Return one entry per image the table names."""
    listing = Listing(used={layout.file})
    found: dict[str, Entry] = {}
    try:
        text = _decode(jail.read_bytes(layout.file), layout.file)
    except RefusedError as refusal:
        raise ConfigError(f"{source.id}: table {layout.file}: {refusal.detail}") from refusal
    rows = list(_rows(text, layout.file))
    _check_columns(source, layout, [row for _, row in rows if not isinstance(row, RefusedError)])
    for line, row in rows:
        where = f"{layout.file}#line={line}"
        try:
            if isinstance(row, RefusedError):
                raise row
            path = str(PurePosixPath(fill(layout.image, row, where)))
            listing.used.add(path)
            entry = _entry(source, layout, path, row, where)
            jail.locate(path)
        except RefusedError as refusal:
            listing.refusals.append(Refusal.of(where, refusal))
            continue
        found[path] = entry if path not in found else _join(found[path], entry)
        listing.used.update(mark.path for mark in entry.marks if mark.kind == "file")
    listing.entries.extend(found.values())
    return listing


def _check_columns(source: Source, layout: Table, rows: list[Row]) -> None:
    """Refuse a TOML that names a column the table does not have: its content would be missing without a word."""
    known = {name for row in rows for name in row}
    named = ("image", "mask", "label", "patient", "study", "split", "view", "laterality", "modality", "organ")
    templates = [template for key in named if (template := getattr(layout, key)) is not None]
    wanted = [
        *(column for template in templates for column in columns_of(template)),
        *layout.label_columns,
        *layout.box,
    ]
    missing = [column for column in dict.fromkeys(wanted) if column not in known]
    if rows and missing:
        there = ", ".join(sorted(known))
        raise ConfigError(f"{source.id}: {layout.file} has no column {', '.join(map(repr, missing))}; it has: {there}")


def _entry(source: Source, layout: Table, path: str, row: Row, where: str) -> Entry:
    labels = _labels(layout, row)
    region = layout.mask_label or (labels[0] if labels else None)
    marks: list[Mark] = []
    if layout.box and (corners := _box(layout, row, where)) is not None:
        marks.append(BoxMark(label=region or "", xyxy=corners, unit=layout.box_unit))
    if layout.mask is not None and (mask := _optional(layout.mask, row)):
        marks.append(mask_mark(source, layout, str(PurePosixPath(mask)), region))
    return Entry(
        path=path,
        labels=labels,
        organs=() if (organ := _optional(layout.organ, row)) is None else (organ,),
        modality=_optional(layout.modality, row),
        patient=_optional(layout.patient, row),
        study=_optional(layout.study, row),
        split=_optional(layout.split, row),
        view=_optional(layout.view, row),
        laterality=_optional(layout.laterality, row),
        marks=tuple(marks),
    )


def _join(first: Entry, second: Entry) -> Entry:
    """Return one entry for two lines about the same image."""
    labels = tuple(dict.fromkeys((*first.labels, *second.labels)))
    marks = (*first.marks, *(mark for mark in second.marks if mark not in first.marks))
    return Entry(**{**first.__dict__, "labels": labels, "marks": marks})


def _labels(layout: Table, row: Row) -> tuple[str, ...]:
    cell = None if layout.label is None else row.get(layout.label)
    if isinstance(cell, list):
        parts = [str(part) for part in cell]
    else:
        said = _optional(layout.label, row)
        parts = [] if said is None else said.split(layout.label_separator) if layout.label_separator else [said]
    present = [name for name in layout.label_columns if str(row.get(name, "")).strip().casefold() in TRUE]
    return tuple(dict.fromkeys(part.strip() for part in (*parts, *present) if part.strip()))


def _box(layout: Table, row: Row, where: str) -> tuple[float, float, float, float] | None:
    """Return the line's box as corners, None when its columns are empty (a line without a finding)."""
    cells: list[object] = [row.get(name) for name in layout.box]
    if all(empty(cell) for cell in cells):
        return None
    if len(cells) == 1:
        whole = cells[0]
        cells = whole if isinstance(whole, list) else list(re.split(r"[\s,;]+", str(whole).strip(" \t[]()")))
    try:
        a, b, c, d = (float(str(cell)) for cell in cells)
    except ValueError:
        raise RefusedError("table.box", f"{where}: {layout.box} holds {cells!r}, expected four numbers") from None
    if not all(map(math.isfinite, (a, b, c, d))):
        raise RefusedError("table.box", f"{where}: {layout.box} holds {cells!r}, expected four finite numbers")
    if layout.box_format == "xyxy":
        return a, b, c, d
    if layout.box_format == "cxcywh":
        return a - c / 2, b - d / 2, a + c / 2, b + d / 2
    return a, b, a + c, b + d


def _optional(template: str | None, row: Row) -> str | None:
    """Return a filled template, or None when it is not asked for or the line leaves it empty."""
    if template is None:
        return None
    try:
        return fill(template, row, "").strip() or None
    except RefusedError:
        return None


def _rows(text: str, name: str) -> Iterator[tuple[int, Row | RefusedError]]:
    """Yield (line number, row); a line that cannot be read is yielded as the refusal."""
    if name.casefold().endswith((".jsonl", ".ndjson")):
        yield from _json_lines(text, name)
        return
    reader = csv.reader(io.StringIO(text, newline=""), delimiter="\t" if name.casefold().endswith(".tsv") else ",")
    header: list[str] | None = None
    while True:
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield reader.line_num, RefusedError("table.row", f"{name}, line {reader.line_num}: {error}")
            continue
        if header is None:
            header = [cell.strip() for cell in cells]
            if len(set(header)) != len(header):
                raise ConfigError(f"{name}: two columns have the same name; rename one: {', '.join(header)}")
        elif len(cells) == len(header):
            yield reader.line_num, dict(zip(header, cells, strict=True))
        elif cells:
            why = f"{name}, line {reader.line_num}: {len(cells)} cells, the header has {len(header)}"
            yield reader.line_num, RefusedError("table.row", why)


def _json_lines(text: str, name: str) -> Iterator[tuple[int, Row | RefusedError]]:
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            yield number, RefusedError("table.row", f"{name}, line {number}: not JSON ({error})")
            continue
        good = isinstance(row, dict)
        yield number, row if good else RefusedError("table.row", f"{name}, line {number}: not a JSON object")


def _decode(data: bytes, name: str) -> str:
    """Return the table's text: UTF-8 with or without a mark, or UTF-16 with one."""
    encoding = "utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        raise RefusedError("table.encoding", f"{name} is not UTF-8 (byte {error.start}); save it as UTF-8") from None
