"""Path patterns with named fields: `images/{split}/{case}_0000.nii.gz`.

A `{name}` matches part of one path component, as short as the rest allows, and `{name:t1|t2}` one of these words;
`*` matches inside one component; `**` matches across components. Matching is case-sensitive and covers the whole
relative path. A template is a pattern over the columns of a table.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Mapping
from functools import lru_cache

from medtrinity25m.errors import ConfigError, RefusedError

_TOKEN = re.compile(r"\{([A-Za-z_]\w*)(?::([^{}]+))?\}|(\*\*/?)|(\*)")
MAX_CELL = 1 << 16  # characters of a cell that is parsed: a box or a list of findings has hundreds
_FIELD = re.compile(r"\{([^{}]+)\}")


def fields_of(pattern: str) -> set[str]:
    """Return the names of a pattern's fields."""
    return set(compile_pattern(pattern).groupindex)


@lru_cache(maxsize=256)
def compile_pattern(pattern: str) -> re.Pattern[str]:
    """Return the regular expression for a path pattern; a repeated field must match the same text."""
    out, end, seen = "", 0, set[str]()
    for token in _TOKEN.finditer(pattern):
        out += _literal(pattern[end : token.start()], pattern)
        name, words, across, _ = token.groups()
        if name is not None:
            part = "[^/]+?" if words is None else "|".join(map(re.escape, words.split("|")))
            out += f"(?P={name})" if name in seen else f"(?P<{name}>{part})"
            seen.add(name)
        elif across is not None:
            out += "(?:.*/)?" if across.endswith("/") else ".*"
        else:
            out += "[^/]*"
        end = token.end()
    return re.compile(out + _literal(pattern[end:], pattern), re.DOTALL)  # a file name may hold a line end


def _literal(text: str, pattern: str) -> str:
    if "{" in text or "}" in text:
        raise ConfigError(f"pattern {pattern!r}: a field is written {{name}}, letters, digits and _ only")
    return re.escape(text)


def match_path(pattern: str, path: str) -> dict[str, str] | None:
    """Return the fields of `path`, or None when it does not fit `pattern`."""
    found = compile_pattern(pattern).fullmatch(path)
    return None if found is None else found.groupdict()


def literals(pattern: str) -> int:
    """Return how many characters of a pattern stand for themselves: the more, the more it says about a path."""
    return len(_TOKEN.sub("", pattern))


def cell_of(row: Mapping[str, object], name: str) -> object:
    """Return a cell by its column, or None; `data.x` reaches into a cell that holds JSON or a Python literal."""
    if name in row or "." not in name:
        return row.get(name)
    head, _, rest = name.partition(".")
    inner = row.get(head)
    if isinstance(inner, str):
        inner = _structure(inner)
    return cell_of(inner, rest) if isinstance(inner, Mapping) else None


def _structure(text: str) -> object:
    """Return what a cell's text holds: JSON, or the literal that Python's `str` makes of it; None for anything else."""
    if not text.lstrip().startswith(("{", "[")) or len(text) > MAX_CELL:
        return None
    for read in (json.loads, ast.literal_eval):  # literals only: no name and no call is looked up
        try:
            return read(text)
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            continue
    return None


def empty(cell: object) -> bool:
    """Say whether a table's cell holds nothing: absent, blank, or the NaN that pandas writes for blank."""
    return cell is None or cell == "" or (isinstance(cell, float) and cell != cell) or cell in ("nan", "NaN")


def columns_of(template: str) -> list[str]:
    """Return the columns a template needs: its fields, or itself where it has none."""
    return _FIELD.findall(template) or [template]


def fill(template: str, row: Mapping[str, object], where: str) -> str:
    """Return a template with its `{column}` fields taken from `row`; a template without fields names a column.

    Raises:
        RefusedError: `table.column_missing` when the row has no such column or no value in it.
    """
    return "".join(text for text, _ in _filled(template, row, where))


def fill_pattern(template: str, row: Mapping[str, object], where: str) -> tuple[str, re.Pattern[str]]:
    """Return a template filled as `fill` does, and the expression of the paths it fits: its own `*` are wildcards."""
    parts = _filled(template, row, where)
    expression = "".join(re.escape(text) if given else compile_pattern(text).pattern for text, given in parts)
    return "".join(text for text, _ in parts), re.compile(expression, re.DOTALL)


def _filled(template: str, row: Mapping[str, object], where: str) -> list[tuple[str, bool]]:
    """Return the parts of a filled template, and whether each came from the row."""
    names = _FIELD.findall(template)
    cells = {name: cell_of(row, name) for name in names or [template]}
    for name, cell in cells.items():
        if empty(cell):
            raise RefusedError("table.column_missing", f"{where}: column {name!r} is missing or empty")
    if not names:
        return [(str(cells[template]), True)]
    pieces = _FIELD.split(template)
    return [
        (str(cells[piece]) if odd else piece, bool(odd)) for at, piece in enumerate(pieces) if (odd := at % 2) or piece
    ]
