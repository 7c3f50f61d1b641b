"""Path patterns with named fields: `images/{split}/{case}_0000.nii.gz`.

A `{name}` matches part of one path component, as short as the rest allows; `*` matches inside one component;
`**` matches across components. Matching is case-sensitive and covers the whole relative path.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache

from medtrinity25m.errors import ConfigError, RefusedError

_TOKEN = re.compile(r"\{([A-Za-z_]\w*)\}|(\*\*/?)|(\*)")
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
        name, across, _ = token.groups()
        if name is not None:
            out += f"(?P={name})" if name in seen else f"(?P<{name}>[^/]+?)"
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
    names = _FIELD.findall(template)
    for name in names or [template]:
        if empty(row.get(name)):
            raise RefusedError("table.column_missing", f"{where}: column {name!r} is missing or empty")
    if not names:
        return str(row[template])
    return _FIELD.sub(lambda field: str(row[field.group(1)]), template)
