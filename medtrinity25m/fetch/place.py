"""Where a download lies while it comes, what is remembered of it, and how it becomes the folder that was asked for.

`fetch SOURCE data/x` fills `data/x.fetch/` and renames it to `data/x` when everything is there, so that a folder
`data/x` is a whole one and holds nothing but the source's own files: a build would otherwise list our notes as files
nobody claimed. What stays in `data/x.fetch/` are notes: which files came from which download, and `fetched.json`.

One folder a `[[download]]` table::

    data/x.fetch/<key>/arrive/       as the client writes it; partial files too
    data/x.fetch/<key>/arrived.json  the client is done: which of these files are the source's
    data/x.fetch/<key>/tree/         unpacked, as it will be in data/x
    data/x.fetch/<key>/files.jsonl   the tree is whole: every path with its size
    data/x.fetch/<key>/published     its files stand in data/x

Each step is a rename, so a killed process loses nothing but the step it was at. Files are not forced to the disk one
by one, which would take hours for a million; what a power failure takes shows as a wrong size at the next call.
"""

from __future__ import annotations

import fcntl
import filecmp
import hashlib
import json
import os
import shutil
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from medtrinity25m.downloads import Download
from medtrinity25m.errors import ConfigError, FetchError, LockedError
from medtrinity25m.release.workspace import disk_errors, write_committed


@dataclass(frozen=True)
class Arrived:
    """What a client brought.

    Args:
        files: POSIX paths below `arrive/`.
        about: what is known of the version that was had.
        root: the folder below `arrive/` that stands for the destination.
    """

    files: tuple[str, ...]
    about: Mapping[str, str] = field(default_factory=dict)
    root: str = ""


class Entry:
    """The folder of one `[[download]]` table.

    Args:
        work: the folder beside the destination.
        download: the table; its content is the folder's name, so a changed table is another download.
    """

    def __init__(self, work: Path, download: Download) -> None:
        self.download = download
        options = json.dumps(download.model_dump(mode="json"), sort_keys=True)
        self.folder = work / hashlib.sha256(options.encode()).hexdigest()[:16]
        self.arrive = self.folder / "arrive"
        self.tree = self.folder / "tree"
        self._arrived = self.folder / "arrived.json"
        self._files = self.folder / "files.jsonl"
        self._published = self.folder / "published"

    @property
    def arrived(self) -> Arrived | None:
        """What the client brought, once it is done."""
        if not self._arrived.exists():
            return None
        raw = json.loads(self._arrived.read_text(encoding="utf-8"))
        return Arrived(tuple(raw["files"]), raw["about"], raw["root"])

    def note_arrival(self, arrived: Arrived) -> None:
        """Remember that the client is done."""
        content = {"files": arrived.files, "about": dict(arrived.about), "root": arrived.root}
        write_committed(self._arrived, json.dumps(content))

    @property
    def settled(self) -> bool:
        """Whether the tree was whole once."""
        return self._files.exists()

    def files(self) -> Iterator[tuple[str, int]]:
        """Yield path and size of every file of the whole tree."""
        with self._files.open(encoding="utf-8") as lines:
            for line in lines:
                path, size = json.loads(line)
                yield path, size

    def note_tree(self) -> None:
        """Remember what the whole tree holds, and drop what it was made from."""
        found = sorted(_walk(self.tree)) if self.tree.exists() else []
        if not found:
            raise FetchError(f"the download {self.download.kind} brought no file; check its table in the source's TOML")
        write_committed(self._files, "".join(json.dumps(item, ensure_ascii=False) + "\n" for item in found))
        self.drop_arrival()

    def drop_arrival(self) -> None:
        """Remove what the tree was made from."""
        shutil.rmtree(self.arrive, ignore_errors=True)

    @property
    def published(self) -> bool:
        """Whether the files stand in the destination."""
        return self._published.exists()

    def note_published(self) -> None:
        """Remember that the files stand in the destination."""
        write_committed(self._published, "")

    def forget(self) -> None:
        """Start over."""
        shutil.rmtree(self.folder, ignore_errors=True)


class Place:
    """A destination and the work folder beside it.

    Raises:
        ConfigError: the destination is a file, a mount point, or holds files nobody fetched.
    """

    def __init__(self, dest: Path) -> None:
        self.dest = dest.expanduser().resolve()
        if not self.dest.name or self.dest.is_mount():
            raise ConfigError(f"{dest} cannot be replaced by a new folder; give one inside it")
        if self.dest.exists() and not self.dest.is_dir():
            raise ConfigError(f"{dest} is a file; give the folder to write")
        self.work = self.dest.with_name(self.dest.name + ".fetch")
        if _filled(self.dest) and not self.work.is_dir():
            raise ConfigError(f"{dest} already holds files that were not fetched; give a new folder")

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Make the work folder and hold its lock.

        Raises:
            LockedError: another process fetches to the same destination; the message says which.
        """
        with disk_errors(self.work):
            self.work.mkdir(parents=True, exist_ok=True)
        with disk_errors(self.work), (self.work / "lock").open("a+", encoding="utf-8") as handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                handle.seek(0)
                holder = handle.read().strip() or "another process"
                raise LockedError(f"{self.dest} is being fetched by {holder}; wait for it or stop it") from None
            handle.truncate(0)
            handle.write(f"process {os.getpid()} on {socket.gethostname()}")
            handle.flush()
            yield

    def missing(self, entry: Entry) -> str | None:
        """Return a published file that is gone, or None.

        Raises:
            ConfigError: a file has another size than it was fetched with; it may hold somebody's work.
        """
        for path, size in entry.files():
            try:
                found = (self.dest / path).stat().st_size
            except FileNotFoundError:
                return path
            if found != size:
                what = f"has {found:,} bytes and was fetched with {size:,}"
                raise ConfigError(f"{self.dest / path} {what}; remove it to have it fetched again")
        return None

    def publish(self, entries: Sequence[Entry]) -> None:
        """Put the trees of all entries into the destination: one rename where it does not exist yet."""
        waiting = [entry for entry in entries if not entry.published]
        if not waiting:
            return
        with disk_errors(self.dest):
            target = self.dest if _filled(self.dest) else self.work / "tree"
            for entry in waiting:
                if entry.tree.exists():
                    merge(entry.tree, target)
            if target != self.dest:
                target.rename(self.dest)  # an empty folder is replaced
            for entry in waiting:
                entry.note_published()

    def note(self, content: Mapping[str, object]) -> None:
        """Write `fetched.json`: what was fetched, under which licence, in which version."""
        write_committed(self.work / "fetched.json", json.dumps(content, indent=1, ensure_ascii=False) + "\n")


def _filled(folder: Path) -> bool:
    return folder.is_dir() and any(folder.iterdir())


def _walk(folder: Path, prefix: str = "") -> Iterator[tuple[str, int]]:
    """Yield (path, bytes) of every file below a folder."""
    for item in os.scandir(folder):
        path = prefix + item.name
        if item.is_dir(follow_symlinks=False):
            yield from _walk(Path(item.path), path + "/")
        else:
            yield path, item.stat(follow_symlinks=False).st_size


def merge(source: Path, target: Path) -> None:
    """Move everything below `source` to `target`; what is there already must be the same."""
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        source.rename(target)
        return
    if source.is_dir() and target.is_dir():
        for item in sorted(source.iterdir()):
            merge(item, target / item.name)
        source.rmdir()
        return
    if source.is_dir() or target.is_dir() or not filecmp.cmp(source, target, shallow=False):
        raise FetchError(f"{target} is there already and differs from the file of that name that was fetched")
    source.unlink()
