"""`medtrinity25m fetch SOURCE DEST`: have a source that can be had by program.

Each `[[download]]` table of the source's TOML is brought by the client of its service (`http`, `zenodo`, `hub`,
`kaggle`, `synapse`, `idc`), unpacked where the table says so, and put into the destination when all of them are
there. The same command goes on where a stopped one was, and does nothing when everything is there; see `place`.

Errors: `ConfigError` (2) for what a person has to do first: a login, terms, a package, a folder; `FetchError` (69) for
what a server did; `DiskError` (74); `LockedError` (75).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medtrinity25m.errors import ConfigError, FetchError

if TYPE_CHECKING:
    from medtrinity25m.downloads import Download
    from medtrinity25m.fetch.place import Arrived, Entry, Place
    from medtrinity25m.fetch.tools import Tools
    from medtrinity25m.fetch.unpack import Limits
    from medtrinity25m.registry import Source

MAX_NAMED = 5  # names listed in a note


@dataclass(frozen=True)
class Fetched:
    """What stands in the destination.

    Args:
        folder: the destination.
        files: how many the downloads brought, `size` their bytes.
        news: whether anything had to be done.
        notes: what a person should know: members left out, what has to be had by hand.
    """

    folder: Path
    files: int
    size: int
    news: bool
    notes: tuple[str, ...] = ()


def terms(source: Source) -> str:
    """Return licence, access and citation of a source in one line."""
    license_ = source.license
    if license_ == "LicenseRef-unverified":
        license_ = f"not verified, read it at {source.homepage or 'the homepage'}"
    cite = source.citation or source.homepage or "see its homepage"
    return f"{source.title}: license {license_}; access {source.access}; to cite: {cite}"


def find_source(name: str) -> Source:
    """Return the packaged source of that id, or the source a TOML describes."""
    from medtrinity25m.registry import load_source, packaged_source, packaged_sources

    known = packaged_sources()
    if (packaged := packaged_source(name)) is not None:
        return packaged
    if Path(name).suffix == ".toml":
        return load_source(Path(name))
    near = get_close_matches(name, known, n=3, cutoff=0.3)
    raise ConfigError(f"no packaged source is called {name!r}; nearest: {', '.join(near) or 'none'}; or give a TOML")


def fetch(
    source: Source,
    dest: Path,
    *,
    tools: Tools | None = None,
    limits: Limits | None = None,
) -> Fetched:
    """Have all files of a source in a folder.

    Args:
        source: with `[[download]]` tables.
        dest: the folder to write; beside it `<dest>.fetch` is filled first, and keeps notes afterwards.
        tools: progress, patience and addresses of mirrors; by default bars or lines on standard error.
        limits: what an archive may unpack to.

    Raises:
        ConfigError: the source cannot be had by program, or something is to be done by a person first.
        FetchError: a server or an archive failed.
        DiskError: no room. LockedError: another process fetches to this folder.
    """
    from medtrinity25m.fetch.place import Entry, Place
    from medtrinity25m.fetch.tools import Tools
    from medtrinity25m.fetch.unpack import Limits

    if not source.download:
        how = source.get_it or "download it there"
        raise ConfigError(f"{source.id} cannot be fetched by program: {how} ({source.homepage or 'homepage unknown'})")
    tools = replace(tools or Tools(), homepage=source.homepage or "the source's homepage")
    place = Place(dest)
    with place.locked():
        tools.meter.say(terms(source))
        entries = [Entry(place.work, table) for table in dict.fromkeys(source.download)]
        notes: list[str] = []
        news = [_have(entry, place, tools, limits or Limits(), notes) for entry in entries]
        place.publish(entries)
        if any(news):
            place.note(_record(source, entries))
    sizes = [size for entry in entries for _, size in entry.files()]
    if source.get_it:
        notes.append(f"to be had by hand: {source.get_it}")
    return Fetched(place.dest, len(sizes), sum(sizes), any(news), tuple(notes))


def _have(entry: Entry, place: Place, tools: Tools, limits: Limits, notes: list[str]) -> bool:
    """Bring one download to its whole tree; return whether anything had to be done."""
    if entry.published and (gone := place.missing(entry)):
        tools.meter.say(f"{gone} is gone from {place.dest}; fetching its download again")
        entry.forget()
    if entry.settled:
        entry.drop_arrival()
        return not entry.published
    arrived = entry.arrived
    if arrived is None:
        arrived = _arrive(entry.download, entry.arrive, tools)
        entry.note_arrival(arrived)
    try:
        _settle(entry, arrived, tools, limits, notes)
    except FetchError:
        entry.forget()  # a damaged archive stays damaged: the next call fetches it again
        raise
    entry.note_tree()
    return True


def _arrive(table: Download, folder: Path, tools: Tools) -> Arrived:
    """Let the client of the service fill a folder. Clients are imported here, each when it is needed."""
    from medtrinity25m import downloads

    match table:
        case downloads.Http():
            from medtrinity25m.fetch import http

            return http.arrive(table, folder, tools)
        case downloads.Zenodo():
            from medtrinity25m.fetch import zenodo

            return zenodo.arrive(table, folder, tools)
        case downloads.HuggingFace():
            from medtrinity25m.fetch import hub

            return hub.arrive(table, folder, tools)
        case downloads.Kaggle():
            from medtrinity25m.fetch import kaggle

            return kaggle.arrive(table, folder, tools)
        case downloads.Synapse():
            from medtrinity25m.fetch import synapse

            return synapse.arrive(table, folder, tools)
        case downloads.Idc():
            from medtrinity25m.fetch import idc

            return idc.arrive(table, folder, tools)


def _settle(entry: Entry, arrived: Arrived, tools: Tools, limits: Limits, notes: list[str]) -> None:
    """Unpack or move every file that arrived to the tree. A file that is gone was settled before a kill."""
    from medtrinity25m.fetch.archives import PACKED
    from medtrinity25m.fetch.place import merge
    from medtrinity25m.fetch.unpack import unpack

    for path in arrived.files:
        source = entry.arrive / path
        target = entry.tree / Path(path).relative_to(arrived.root)
        if not source.exists():
            continue
        if _is_archive(entry.download, path):
            if left_out := unpack(source, target.parent, tools.meter, limits):
                named = ", ".join(left_out[:MAX_NAMED])
                notes.append(f"{target.name}: {len(left_out):,} links or devices were left out: {named}")
            source.unlink()
            continue
        if path.casefold().endswith(PACKED):
            notes.append(f"{path} was left packed: nothing here opens it; unpack it by hand")
        merge(source, target)


def _is_archive(table: Download, path: str) -> bool:
    """Say whether a file is to be unpacked: the one file of an `http` table, of others what is named as archive."""
    from medtrinity25m.fetch.archives import named_as_archive

    return bool(getattr(table, "unpack", False)) and (table.kind == "http" or named_as_archive(path))


def _record(source: Source, entries: Sequence[Entry]) -> dict[str, Any]:
    """Return what `fetched.json` says."""
    downloads = []
    for entry in entries:
        about = {} if entry.arrived is None else dict(entry.arrived.about)
        table = entry.download.model_dump(mode="json", exclude_defaults=True)
        downloads.append({**table, "about": about, "files": sum(1 for _ in entry.files())})
    return {
        "source": source.id,
        "license": source.license,
        "citation": source.citation,
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "downloads": downloads,
    }
