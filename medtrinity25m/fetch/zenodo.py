"""`kind = "zenodo"`: files of a record, checked against the MD5 Zenodo publishes.

The record is read at `/api/records/<number>`; its `files` carry `key`, `size` and `checksum` ("md5:…"), and the
content is at `/api/records/<number>/files/<key>/content` (InvenioRDM since October 2023). The number of a concept,
which stands for all versions, leads to the newest one; its own `id` is what files are asked from and remembered.
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any
from urllib.parse import quote

from pydantic import Field, ValidationError

from medtrinity25m.downloads import Zenodo
from medtrinity25m.errors import ConfigError, FetchError
from medtrinity25m.fetch.paths import safe_path
from medtrinity25m.fetch.place import Arrived
from medtrinity25m.fetch.tools import Tools
from medtrinity25m.fetch.transfer import Wanted, download, get_json
from medtrinity25m.triplet import Frozen

MAX_NAMED = 10  # names listed in a message


class _File(Frozen, extra="ignore"):
    key: str
    size: int = Field(ge=0)
    checksum: str = Field(pattern=r"^md5:[0-9a-f]{32}$")


class _Record(Frozen, extra="ignore"):
    id: int
    files: tuple[_File, ...]


def arrive(table: Zenodo, folder: Path, tools: Tools) -> Arrived:
    """Have the files of the record that fit `files`, all of them where it is empty."""
    page = f"https://zenodo.org/records/{table.record}"
    base = f"{tools.endpoints.zenodo}/api/records/{table.record}"
    record = _parsed(get_json(base, f"Zenodo record {table.record}", tools.meter, tools.patience), page)
    chosen = _chosen(record.files, table.files, page)
    paths = [_path(file, page) for file in chosen]
    for file, path in zip(chosen, paths, strict=True):
        wanted = Wanted(
            url=f"{tools.endpoints.zenodo}/api/records/{record.id}/files/{quote(file.key, safe='')}/content",
            path=folder / path,
            checksum=("md5", file.checksum.removeprefix("md5:")),
            size=file.size,
            help=f"access to the record may be restricted, see {page}",
        )
        download(wanted, tools.meter, tools.patience)
    return Arrived(tuple(paths), {"record": f"https://zenodo.org/records/{record.id}"})


def _parsed(raw: Any, page: str) -> _Record:
    try:
        return _Record.model_validate(raw)
    except ValidationError:
        raise FetchError(f"{page} lists no files with sizes and MD5; its files may be restricted: see there") from None


def _chosen(files: tuple[_File, ...], patterns: tuple[str, ...], page: str) -> list[_File]:
    """Return the files that fit a pattern; each pattern must fit one."""
    for pattern in patterns:
        if not any(fnmatchcase(file.key, pattern) for file in files):
            there = ", ".join(file.key for file in files[:MAX_NAMED])
            raise ConfigError(f"{page} has no file {pattern!r}; it has {len(files)} files: {there}")
    return [file for file in files if not patterns or any(fnmatchcase(file.key, pattern) for pattern in patterns)]


def _path(file: _File, page: str) -> str:
    try:
        return safe_path(file.key)
    except ValueError as error:
        raise FetchError(f"{page}: the file name {file.key!r} {error}") from None
