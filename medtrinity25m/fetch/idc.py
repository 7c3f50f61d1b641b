"""`kind = "idc"`: a collection of the NCI Imaging Data Commons, by `idc-index`.

`collection = "lidc_idri"` means the images as they were submitted; `collection = "lidc_idri/dicom_lidc_idri_nodules"`
the segmentations and reports of that analysis result about them. Files come to
`<collection>/<PatientID>/<StudyInstanceUID>/<Modality>_<SeriesInstanceUID>/`.

**Why** analysis results have to be named: others made them, under licences of their own (those about NSCLC-Radiomics
are CC BY 4.0, its images CC BY-NC 3.0), and many were made by models: in `idc-index-data` 25.0.5, NLST has 203,087
series of CT and 126,051 segmentations by TotalSegmentator. A model's guess must not look like a radiologist's mark.

**Why** series are counted afterwards: the client logs what failed and returns as if all were well. Its index says how
many files each series has and how many bytes.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Protocol

from medtrinity25m.downloads import Idc
from medtrinity25m.errors import ConfigError, DiskError
from medtrinity25m.fetch.meter import folder_bytes
from medtrinity25m.fetch.patience import AgainError, persist
from medtrinity25m.fetch.place import Arrived
from medtrinity25m.fetch.tools import Tools, missing_package
from medtrinity25m.release.workspace import disk_errors

MAX_NAMED = 12  # names listed in a message


@dataclass(frozen=True)
class Series:
    """A line of the index."""

    uid: str
    files: int
    size: int
    license: str


class Client(Protocol):
    """What is asked of the Imaging Data Commons."""

    version: str

    def collections(self) -> Iterable[str]:
        """Return the ids of all collections."""

    def results(self, collection: str) -> Iterable[str]:
        """Return the ids of the analysis results about a collection."""

    def series(self, collection: str, result: str | None) -> list[Series]:
        """Return the series as submitted, or those of an analysis result."""

    def download(self, uids: list[str], folder: Path, *, bars: bool) -> None:
        """Have these series below `folder`; files that are there are not fetched again."""


def arrive(table: Idc, folder: Path, tools: Tools, client: Client | None = None) -> Arrived:
    """Have all series of the collection, or of one analysis result about it."""
    idc = client or Real()
    collection, _, result = table.collection.partition("/")
    series = _chosen(idc, collection, result or None)
    size = sum(one.size for one in series)
    tools.meter.say(f"{table.collection}: {len(series):,} series, {size:,} bytes, {_licenses(series)}")
    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)

    def attempt() -> None:
        if lacking := _incomplete(folder, series):
            with _told(), disk_errors(folder):
                idc.download(lacking, folder, bars=tools.meter.terminal)
        if lacking := _incomplete(folder, series):
            raise AgainError(f"{len(lacking):,} of {len(series):,} series are not complete")

    with tools.meter.watching(table.collection, folder, size):
        persist(table.collection, attempt, lambda: folder_bytes(folder), tools.patience, tools.meter)
    files = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.dcm"))
    return Arrived(tuple(files), {"idc_version": idc.version, "licenses": _licenses(series)})


def _chosen(idc: Client, collection: str, result: str | None) -> list[Series]:
    series = idc.series(collection, result)
    if series:
        return series
    known = list(idc.collections())
    if collection not in known:
        near = get_close_matches(collection, known, n=3, cutoff=0.3)
        raise ConfigError(f"IDC {idc.version} has no collection {collection!r}; nearest: {', '.join(near) or 'none'}")
    there = ", ".join(sorted(idc.results(collection))[:MAX_NAMED]) or "none"
    raise ConfigError(f"IDC {idc.version}: {collection} has no series of {result or 'its own'}; results: {there}")


def _licenses(series: Iterable[Series]) -> str:
    return ", ".join(sorted({one.license for one in series}))


def _incomplete(folder: Path, series: Iterable[Series]) -> list[str]:
    """Return the UIDs of the series whose folder does not hold the files and bytes of the index."""
    there = _folders(folder)
    return [one.uid for one in series if there.get(one.uid) != (one.files, one.size)]


def _folders(folder: Path) -> Mapping[str, tuple[int, int]]:
    """Return files and bytes of every series folder, `<Modality>_<SeriesInstanceUID>`."""
    found = {}
    for root, _, names in os.walk(folder):
        sizes = [(Path(root) / name).stat().st_size for name in names if name.endswith(".dcm")]
        if sizes:
            found[Path(root).name.partition("_")[2]] = (len(sizes), sum(sizes))
    return found


class Real:
    """The index that comes with `idc-index-data` and the downloader that comes with `s5cmd`."""

    def __init__(self) -> None:
        try:
            from idc_index import IDCClient
        except ImportError:
            raise missing_package("idc-index", "The Imaging Data Commons") from None
        logging.getLogger("idc_index").setLevel(logging.WARNING)
        self._client: Any = IDCClient()
        self.version = str(self._client.get_idc_version())

    def collections(self) -> Iterable[str]:
        """See `Client`."""
        return sorted(set(self._client.index["collection_id"]))

    def results(self, collection: str) -> Iterable[str]:
        """See `Client`."""
        index = self._client.index
        return sorted(set(index[index["collection_id"] == collection]["analysis_result_id"].dropna()))

    def series(self, collection: str, result: str | None) -> list[Series]:
        """See `Client`."""
        index = self._client.index
        lines = index[index["collection_id"] == collection]
        named = lines["analysis_result_id"]
        lines = lines[named.isna() if result is None else named == result]
        columns = zip(
            lines["SeriesInstanceUID"],
            lines["instanceCount"],
            lines["series_size_MB"],
            lines["license_short_name"],
            strict=True,
        )
        return [Series(str(uid), int(files), round(mb * 1e6), str(name)) for uid, files, mb, name in columns]

    def download(self, uids: list[str], folder: Path, *, bars: bool) -> None:
        """See `Client`."""
        self._client.download_from_selection(
            str(folder), seriesInstanceUID=uids, quiet=True, show_progress_bar=bars, use_s5cmd_sync=True
        )


@contextmanager
def _told() -> Iterator[None]:
    """Turn the client's refusal for want of room into ours; it is known by name, so that tests need no idc-index."""
    try:
        yield
    except Exception as error:
        if type(error).__name__ != "IDCClientInsufficientDiskSpaceError":
            raise
        raise DiskError(f"{error} Make room, then run the same command again") from None
