"""What the cells of one table row say of an image: labels, box, and the words beside them."""

from __future__ import annotations

import math
import re

from medtrinity25m.errors import RefusedError
from medtrinity25m.readers.layout_options import Columns
from medtrinity25m.readers.pattern import cell_of, empty, fill
from medtrinity25m.readers.record import BoxMark
from medtrinity25m.readers.tabular import Row

TRUE = ("1", "1.0", "true", "yes", "y", "positive")  # how one-column-a-finding tables say "present"; -1 is "uncertain"
COLUMN_KEYS = ("label", "box_label", "split", "view", "laterality", "text")


def templates_of(columns: Columns) -> list[str]:
    """Return every template and column that `columns` names, for checking that the table has them."""
    named = [template for key in COLUMN_KEYS if (template := getattr(columns, key)) is not None]
    return [*named, *columns.label_columns, *columns.box]


def is_true(cell: object) -> bool:
    """Say whether a cell of a yes-or-no column says yes."""
    return str(cell).strip().casefold() in TRUE


def optional(template: str | None, row: Row) -> str | None:
    """Return a filled template, or None when it is not asked for or the line leaves it empty."""
    if template is None:
        return None
    try:
        return fill(template, row, "").strip() or None
    except RefusedError:
        return None


def labels_of(columns: Columns, row: Row) -> tuple[str, ...]:
    """Return the raw labels of a row, in its order."""
    cell = None if columns.label is None else cell_of(row, columns.label)
    if isinstance(cell, list):
        parts = [str(part) for part in cell]
    else:
        said = optional(columns.label, row)
        parts = [] if said is None else said.split(columns.label_separator) if columns.label_separator else [said]
    parts += [name for name in columns.label_columns if is_true(cell_of(row, name) or "")]
    parts = [part.strip().strip(columns.label_strip).strip() if columns.label_strip else part.strip() for part in parts]
    return tuple(dict.fromkeys(part for part in parts if part))


def box_of(columns: Columns, row: Row, where: str, label: str | None) -> BoxMark | None:
    """Return the line's box, None when its columns are empty (a line without a finding)."""
    cells: list[object] = [cell_of(row, name) for name in columns.box]
    if not cells or all(empty(cell) for cell in cells):
        return None
    if len(cells) == 1:
        whole = cells[0]
        cells = list(whole) if isinstance(whole, list) else re.split(r"[\s,;]+", str(whole).strip(" \t[]()"))
    try:
        a, b, c, d = (float(str(cell)) for cell in cells)
    except ValueError:
        a = b = c = d = math.nan
    if not all(map(math.isfinite, (a, b, c, d))):
        raise RefusedError("table.box", f"{where}: {list(columns.box)} holds {cells!r}, expected four finite numbers")
    region = optional(columns.box_label, row) or label or ""
    corners = {"xyxy": (a, b, c, d), "cxcywh": (a - c / 2, b - d / 2, a + c / 2, b + d / 2)}
    xyxy = corners.get(columns.box_format, (a, b, a + c, b + d))
    return BoxMark(label=region, xyxy=xyxy, unit=columns.box_unit)
