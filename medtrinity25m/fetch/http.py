"""`kind = "http"`: one file at a URL."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote, urlsplit

from medtrinity25m.downloads import Http
from medtrinity25m.errors import ConfigError
from medtrinity25m.fetch.paths import safe_path
from medtrinity25m.fetch.place import Arrived
from medtrinity25m.fetch.tools import Tools
from medtrinity25m.fetch.transfer import Checksum, Wanted, download


def arrive(table: Http, folder: Path, tools: Tools) -> Arrived:
    """Have the file at `folder/<name>`."""
    name = table.name or unquote(urlsplit(table.url).path.rpartition("/")[2])
    try:
        path = safe_path(name)
    except ValueError as error:
        raise ConfigError(f"{table.url}: the file name {name!r} {error}; give `name` in the table") from None
    checksum: Checksum | None = None
    if table.sha256 is not None:
        checksum = ("sha256", table.sha256)
    elif table.md5 is not None:
        checksum = ("md5", table.md5)
    download(
        Wanted(table.url, folder / path, checksum=checksum, help=f"log in or accept the terms at {tools.homepage}"),
        tools.meter,
        tools.patience,
    )
    return Arrived((path,), {"url": table.url})
