"""`kind = "kaggle"`: a dataset or the files of a competition, by `kagglehub`.

**Why** its cache folder and not its `output_dir`: with `output_dir` a partial download is refused or wiped at the
next call; in the cache the archive is resumed, and its MD5 checked, which is what `kagglehub` is good at. Public
datasets need no login; where Kaggle wants one it says so.
"""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from medtrinity25m.downloads import Kaggle
from medtrinity25m.errors import ConfigError, FetchError
from medtrinity25m.fetch.meter import folder_bytes
from medtrinity25m.fetch.patience import AgainError, persist
from medtrinity25m.fetch.place import Arrived
from medtrinity25m.fetch.tools import Tools, missing_package
from medtrinity25m.release.workspace import disk_errors

CACHE_VARIABLE = "KAGGLEHUB_CACHE"  # read by kagglehub at each call
LOGIN = "put a token from https://www.kaggle.com/settings into KAGGLE_API_TOKEN or ~/.kaggle/access_token"


class Client(Protocol):
    """The two functions of `kagglehub` that are called; both return the folder that holds the files."""

    def dataset_download(self, handle: str) -> str:
        """Have the newest version of a dataset."""

    def competition_download(self, handle: str) -> str:
        """Have the files of a competition."""


def arrive(table: Kaggle, folder: Path, tools: Tools, client: Client | None = None) -> Arrived:
    """Have all files of the dataset or competition."""
    kaggle = client or _client()
    handle = table.handle or str(table.competition)
    kind = "datasets" if table.handle else "competitions"
    page = f"https://www.kaggle.com/{kind}/{handle}"
    call = kaggle.dataset_download if table.handle else kaggle.competition_download
    brought: list[Path] = []

    def attempt() -> None:
        with _cache(folder), _told(page), disk_errors(folder), _bars(show=tools.meter.terminal):
            brought.append(Path(call(handle)))

    with tools.meter.watching(handle, folder):
        persist(handle, attempt, lambda: folder_bytes(folder), tools.patience, tools.meter)
    place = brought[0]
    if not place.resolve().is_relative_to(folder.resolve()):
        raise FetchError(f"kagglehub left the files in {place}; copy them from there")  # as it does inside of Kaggle
    about = {"page": page} | ({"version": place.name} if place.parent.name == "versions" else {})
    return Arrived(_files(place, folder), about, root=place.relative_to(folder).as_posix())


def _files(place: Path, folder: Path) -> tuple[str, ...]:
    return tuple(sorted(path.relative_to(folder).as_posix() for path in place.rglob("*") if path.is_file()))


def _client() -> Client:
    try:
        import kagglehub
    except ImportError:
        raise missing_package("kagglehub", "Kaggle") from None
    client: Client = kagglehub
    return client


@contextmanager
def _cache(folder: Path) -> Iterator[None]:
    """Point kagglehub to our folder while the block runs."""
    before = os.environ.get(CACHE_VARIABLE)
    os.environ[CACHE_VARIABLE] = str(folder)
    try:
        yield
    finally:
        if before is None:
            del os.environ[CACHE_VARIABLE]
        else:
            os.environ[CACHE_VARIABLE] = before


def _bars(*, show: bool) -> contextlib.AbstractContextManager[Any]:
    """Keep kagglehub's bars from filling a log file: it draws them wherever standard error leads."""
    return contextlib.nullcontext() if show else contextlib.redirect_stderr(io.StringIO())


@contextmanager
def _told(page: str) -> Iterator[None]:
    """Turn the client's errors into ours; they are known by name, so that tests need no kagglehub."""
    try:
        yield
    except Exception as error:
        told = _meaning(error, page)
        if told is None:
            raise
        raise told from None


def _meaning(error: Exception, page: str) -> Exception | None:
    names = {kind.__name__ for kind in type(error).__mro__}
    response = getattr(error, "response", None)
    code = None if response is None else response.status_code
    first = str(error).strip().partition("\n")[0]
    if "UnauthenticatedError" in names or code == 401:
        return ConfigError(f"Kaggle wants a login for {page}: {LOGIN}")
    if code == 403:
        return ConfigError(f"Kaggle refuses {page}: accept its terms there while logged in, and {LOGIN}")
    if code is not None and 400 <= code < 500 and code not in (408, 429):
        return FetchError(f"{page}: Kaggle answers {code}; check the handle in the source's TOML")
    if "DataCorruptionError" in names:
        return AgainError("the archive's MD5 is wrong")
    if "RequestException" in names:
        return AgainError(f"{type(error).__name__}: {first}")
    return None
