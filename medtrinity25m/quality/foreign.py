"""Texts about the rows of a release, its own or anybody's, held against the rows.

A file of texts has one JSON object a line: the `id` of a row (or its first 8 digits and more) and `text`, or any of
`global_text`, `local_text`, `relation_text` and `caption`. `text` is checked as a caption is.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import pyarrow.parquet as pq

from medtrinity25m.errors import ConfigError
from medtrinity25m.knowledge.snippet import Snippet
from medtrinity25m.quality.check import check
from medtrinity25m.quality.evidence import Evidence
from medtrinity25m.quality.statement import Checked
from medtrinity25m.release.manifest import read_manifest
from medtrinity25m.triplet import TextField

FIELDS: tuple[TextField, ...] = get_args(TextField)
MAX_LINE = 1 << 20  # characters: a text about one image has hundreds
SHORTEST_ID = 8

Texts = dict[TextField, str]


@dataclass(frozen=True)
class CheckedRow:
    """The verdicts on the texts of one row."""

    id: str
    texts: Texts
    checked: tuple[Checked, ...]


def read_texts(path: Path) -> dict[str, Texts]:
    """Return the texts of a file by the id they are about.

    Raises:
        ConfigError: a line is not what it must be; the message names file and line.
    """
    found: dict[str, Texts] = {}
    try:
        with path.open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, start=1):
                if line.strip():
                    row_id, texts = _parsed(line, f"{path}:{number}")
                    if row_id in found:
                        raise ConfigError(f"{path}:{number}: a second line about {row_id}; give one line a row")
                    found[row_id] = texts
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: {error}") from error
    return found


def _parsed(line: str, where: str) -> tuple[str, Texts]:
    if len(line) > MAX_LINE:
        raise ConfigError(f"{where}: has {len(line):,} characters; one text an image, please")
    try:
        said = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{where}: is not JSON: {error}") from error
    if not isinstance(said, dict) or not isinstance(row_id := said.get("id"), str) or len(row_id) < SHORTEST_ID:
        raise ConfigError(f"{where}: needs the `id` of a row, {SHORTEST_ID} digits of it or more")
    given = {"caption": said["text"]} if "text" in said else {}
    given |= {field: said[field] for field in FIELDS if said.get(field) is not None}
    if not given or not all(isinstance(text, str) for text in given.values()):
        raise ConfigError(f"{where}: needs `text`, or one of {', '.join(FIELDS)}")
    return row_id, given  # type: ignore[return-value]


def check_release(folder: Path, texts: Mapping[str, Texts] | None = None) -> Iterator[CheckedRow]:
    """Yield the verdicts on each row's own texts, or on the given ones of the rows they are about.

    Raises:
        ConfigError: a text is about no row, or about several.
        GateFailedError: the folder is not a finished release.
    """
    manifest = read_manifest(folder)
    passages = {
        row["passage_id"]: Snippet(id=row.pop("passage_id"), **row)
        for row in pq.read_table(folder / manifest["knowledge"]["path"]).to_pylist()
        if row["text"] is not None  # its license lets it be passed on
    }
    wanted = None if texts is None else _whole_ids(folder, manifest, texts)
    for shard in manifest["shards"]:
        for row in _rows(folder / "data" / f"{shard['name']}.parquet", None if wanted is None else set(wanted)):
            said = _own(row) if wanted is None else wanted[row["id"]]
            cited = [passages[one["passage_id"]] for one in row["knowledge"] if one["passage_id"] in passages]
            yield CheckedRow(row["id"], said, tuple(check(Evidence.of_row(row, cited), said)))


def _rows(path: Path, wanted: set[str] | None) -> Iterator[dict[str, Any]]:
    with pq.ParquetFile(path) as file:
        for group in range(file.num_row_groups):
            ids = file.read_row_group(group, columns=["id"])["id"].to_pylist()
            hits = [at for at, row_id in enumerate(ids) if wanted is None or row_id in wanted]
            if hits:
                yield from file.read_row_group(group).take(hits).to_pylist()


def _own(row: Mapping[str, Any]) -> Texts:
    return {field: row[field] for field in FIELDS if row[field]}


def _whole_ids(folder: Path, manifest: Mapping[str, Any], texts: Mapping[str, Texts]) -> dict[str, Texts]:
    """Return the texts by the whole ids of their rows."""
    names = [folder / "metadata" / f"{shard['name']}.parquet" for shard in manifest["shards"]]
    ids = [row_id for name in names for row_id in pq.read_table(name, columns=["id"])["id"].to_pylist()]
    known = set(ids)
    found: dict[str, Texts] = {}
    for given, said in texts.items():
        matches = [given] if given in known else [row_id for row_id in ids if row_id.startswith(given)]
        if len(matches) != 1:
            what = "no row" if not matches else f"{len(matches)} rows"
            raise ConfigError(f"{folder} has {what} whose id begins with {given!r}")
        found[matches[0]] = said
    return found
