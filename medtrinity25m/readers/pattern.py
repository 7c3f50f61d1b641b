"""Path patterns with named fields: `images/{split}/{case}_0000.nii.gz`.

A `{name}` matches part of one path component, as short as the rest allows, and `{name:t1|t2}` one of these words;
`*` matches inside one component; `**` matches across components. Matching is case-sensitive and covers the whole
relative path. A template is a pattern over the columns of a table.
"""

from __future__ import annotations

import ast
import json
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from medtrinity25m.errors import ConfigError, RefusedError

_TOKEN = re.compile(r"\{([A-Za-z_]\w*)(?::([^{}]+))?\}|(\*\*/?)|(\*)")
MAX_CELL = 1 << 16  # characters of a cell that is parsed: a box or a list of findings has hundreds
_FIELD = re.compile(r"\{([^{}]+)\}")
_WILD = re.compile(r"(\*\*/?|\*)")


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
    return row[name] if name in row else reach(row, name)[1]


def reach(row: Mapping[str, object], name: str) -> tuple[bool, object]:
    """Return whether a row has what `name` says, and the cell, None where it has not.

    A name that reaches into an empty cell, `{}` or `[]` finds an empty cell; one that reaches into a cell without
    that key, or into text that cannot be parsed, finds none.
    """
    if name in row or "." not in name:
        return name in row, row.get(name)
    head, _, rest = name.partition(".")
    inner = row.get(head)
    if empty(inner):
        return True, None
    if isinstance(inner, str):
        inner = structure(inner)
    if inner in ({}, []):
        return True, None
    return reach(inner, rest) if isinstance(inner, Mapping) else (False, None)


@lru_cache(maxsize=16)
def structure(text: str) -> object:
    """Return what a cell's text holds: JSON, or the literal that Python's `str` makes of it; None for anything else.

    What is returned is shared between calls, to be read only.
    """
    if not text.lstrip().startswith(("{", "[")) or len(text) > MAX_CELL:
        return None
    for read in (json.loads, _literal_of):
        try:
            found: object = read(text)
        except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
            continue
        return found if sound(found, text) else None
    return None


def _literal_of(text: str) -> object:
    with warnings.catch_warnings():  # about backslashes that escape nothing
        warnings.simplefilter("ignore")
        return ast.literal_eval(text)  # literals only: no name and no call is looked up


def sound(content: object, text: str) -> bool:
    """Say whether what was parsed from `text` is Unicode throughout: escapes can spell halves of a character."""
    if "\\u" not in text and "\\U" not in text:
        return True
    try:
        json.dumps(content, ensure_ascii=False, default=str).encode()
    except (UnicodeEncodeError, TypeError, ValueError, RecursionError):
        return False
    return True


def empty(cell: object) -> bool:
    """Say whether a table's cell holds nothing: absent, blank, or the NaN that pandas writes for blank."""
    if isinstance(cell, str):
        return not cell or cell.isspace() or cell in ("nan", "NaN")
    return cell is None or (isinstance(cell, float) and cell != cell)


def columns_of(template: str) -> list[str]:
    """Return the columns a template needs: its fields, or itself where it has none."""
    return _FIELD.findall(template) or [template]


def fill(template: str, row: Mapping[str, object], where: str) -> str:
    """Return a template with its `{column}` fields taken from `row`; a template without fields names a column.

    Raises:
        RefusedError: `table.column_missing` when the row has no such column or no value in it.
    """
    pieces = _split_at(_FIELD, template)
    if len(pieces) == 1:
        return _cell(template, row, where)
    return "".join(_cell(piece, row, where) if at % 2 else piece for at, piece in enumerate(pieces))


@dataclass(frozen=True)
class Wild:
    """A filled template with the wildcards it was written with: `literals[0] wildcards[0] literals[1] …`.

    A `*` that comes from a cell is part of a literal.
    """

    literals: tuple[str, ...]
    wildcards: tuple[str, ...]

    def __str__(self) -> str:
        return self.literals[0] + "".join(map("".join, zip(self.wildcards, self.literals[1:], strict=True)))

    def fits(self, path: str) -> bool:
        """Say whether a path fits."""
        first, *rest = self.literals
        return path.startswith(first) and _follows(path[len(first) :], self.wildcards, tuple(rest))


def _follows(text: str, wildcards: tuple[str, ...], literals: tuple[str, ...]) -> bool:
    """Say whether a text is made of wildcards, each with its literal behind it."""
    if not wildcards:
        return not text
    literal, start = literals[0], 0
    if len(wildcards) == 1:  # the last literal stands at the end
        start = len(text) - len(literal)
        return start >= 0 and text.endswith(literal) and _takes(wildcards[0], text[:start])
    while (at := text.find(literal, start)) >= 0:
        if _takes(wildcards[0], text[:at]) and _follows(text[at + len(literal) :], wildcards[1:], literals[1:]):
            return True
        start = at + 1
    return False


def _takes(wildcard: str, text: str) -> bool:
    match wildcard:
        case "*":
            return "/" not in text
        case "**/":
            return not text or text.endswith("/")
        case _:
            return True


def fill_wild(template: str, row: Mapping[str, object], where: str) -> Wild:
    """Return a template filled as `fill` does; its own `*` and `**` stay wildcards.

    Raises:
        RefusedError: `table.column_missing`, as `fill`.
    """
    literals, wildcards = [""], list[str]()
    pieces = _split_at(_FIELD, template)
    for at, piece in enumerate(pieces if len(pieces) > 1 else ("", template)):
        if at % 2:
            literals[-1] += _cell(piece, row, where)
        elif "*" not in piece:
            literals[-1] += piece
        else:
            first, *rest = _split_at(_WILD, piece)
            literals[-1] += first
            wildcards += rest[::2]
            literals += rest[1::2]
    return Wild(tuple(literals), tuple(wildcards))


@lru_cache(maxsize=256)
def _split_at(token: re.Pattern[str], text: str) -> tuple[str, ...]:
    return tuple(token.split(text))


def _cell(name: str, row: Mapping[str, object], where: str) -> str:
    cell = cell_of(row, name)
    if empty(cell):
        raise RefusedError("table.column_missing", f"{where}: column {name!r} is missing or empty")
    return str(cell)
