"""What the cells of one table row say of an image: labels, box, and the words beside them."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping

from medtrinity25m.errors import RefusedError
from medtrinity25m.readers.layout_options import Columns
from medtrinity25m.readers.pattern import cell_of, empty, fill, reach
from medtrinity25m.readers.record import BoxMark
from medtrinity25m.readers.tabular import Row

TRUE = ("1", "1.0", "true", "yes", "y", "positive")  # how one-column-a-finding tables say "present"; -1 is "uncertain"
MAX_WORD = 256  # characters of a label: the longest of a vocabulary has 60, and near words are looked for
SPOKEN = ("value", "content")  # where a turn of a conversation has its words, beside "from" or "role"
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


def word(template: str | None, row: Row, where: str) -> str | None:
    """Return what `optional` does, where it names a thing; refuses `table.label` for a text of hundreds of letters."""
    found = optional(template, row)
    return None if found is None else _word(found, where)


def labels_of(columns: Columns, row: Row, where: str) -> tuple[str, ...]:
    """Return the raw labels of a row, in its order.

    Raises:
        RefusedError: `table.label` for a text of hundreds of letters, and for a cell that should hold JSON and does
            not.
    """
    if columns.label is not None and _unread(row, columns.label):
        raise RefusedError("table.label", f"{where}: {columns.label!r} cannot be read from its cell")
    cell = None if columns.label is None else cell_of(row, columns.label)
    if isinstance(cell, list):
        parts = [str(part) for part in cell if not empty(part)]
    else:
        said = optional(columns.label, row)
        parts = [] if said is None else said.split(columns.label_separator) if columns.label_separator else [said]
    parts += [name for name in columns.label_columns if is_true(cell_of(row, name) or "")]
    parts = [part.strip().strip(columns.label_strip).strip() if columns.label_strip else part.strip() for part in parts]
    return tuple(dict.fromkeys(_word(part, where) for part in parts if part))


def text_of(columns: Columns, row: Row) -> str | None:
    """Return the text published with the image; of a conversation, the turns with who speaks, a line each."""
    cell = None if columns.text is None else cell_of(row, columns.text)
    if isinstance(cell, list) and cell:
        return "\n".join(map(_turn, cell))
    return json.dumps(cell, ensure_ascii=False, default=str) if isinstance(cell, dict) else optional(columns.text, row)


def box_of(columns: Columns, row: Row, where: str, label: str | None) -> BoxMark | None:
    """Return the line's box, None when its columns are empty (a line without a finding).

    Raises:
        RefusedError: `table.box` when the columns hold anything but four numbers, or a box that ends before it begins.
    """
    cells: list[object] = [cell_of(row, name) for name in columns.box]
    unread = [name for name in columns.box if _unread(row, name)]
    if unread:
        heads = {name: str(row.get(name.partition(".")[0]))[:80] for name in unread}
        raise RefusedError("table.box", f"{where}: the cell has no such part, or is no JSON: {heads}")
    if len(cells) == 1:
        cells = _sides(cells[0])
    if all(empty(cell) for cell in cells):
        return None
    try:
        a, b, c, d = (float(str(cell)) for cell in cells)
    except ValueError:
        a = b = c = d = math.nan
    corners = {"xyxy": (a, b, c, d), "cxcywh": (a - c / 2, b - d / 2, a + c / 2, b + d / 2)}
    xyxy = corners.get(columns.box_format, (a, b, a + c, b + d))
    if not all(map(math.isfinite, xyxy)):
        raise RefusedError("table.box", f"{where}: {list(columns.box)} holds {cells!r}, expected four finite numbers")
    if xyxy[2] < xyxy[0] or xyxy[3] < xyxy[1]:
        why = f"{where}: box {cells!r} ends before it begins; is box_format = {columns.box_format!r} right?"
        raise RefusedError("table.box", why)
    region = word(columns.box_label, row, where) or label or ""
    return BoxMark(label=region, xyxy=xyxy, unit=columns.box_unit)


def _sides(cell: object) -> list[object]:
    """Return the parts of a cell that holds a whole box, none where it is empty."""
    if isinstance(cell, str):
        return [part for part in re.split(r"[\s,;]+", cell.strip().strip("[]()")) if part]
    return list(cell) if isinstance(cell, list | tuple) else [cell]


def _unread(row: Row, name: str) -> bool:
    """Say whether a name that reaches into a cell finds nothing in it, though there is something."""
    return "." in name and not reach(row, name)[0]


def _word(text: str, where: str) -> str:
    if len(text) > MAX_WORD:
        raise RefusedError("table.label", f"{where}: {text[:40]!r}… has {len(text):,} characters, too many for a name")
    return text


def _turn(part: object) -> str:
    if not isinstance(part, Mapping):
        return str(part)
    words = next((part[key] for key in SPOKEN if key in part), None)
    speaker = part.get("from") or part.get("role")
    if words is None:
        return json.dumps(part, ensure_ascii=False, default=str)
    return f"{speaker}: {words}" if speaker else str(words)
