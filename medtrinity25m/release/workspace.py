"""The work folder beside a release: lock, plan, journals, quarantine. And how a file is committed.

A release `medtrinity-25m/` is built with `medtrinity-25m.work/` beside it. The work folder holds what must not
be published (paths, reasons, file names that may name patients), so it is never inside the release, and it is
made readable by its owner only.

A file is committed by writing it under a temporary name, fsync, SHA-256, rename, fsync of the folder, and a line
in this worker's journal. Done means that the journal says so and the hash matches; a file that is merely there
means nothing.
"""

from __future__ import annotations

import errno
import fcntl
import filecmp
import hashlib
import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from medtrinity25m.errors import ConfigError, DiskError, LockedError

PART = ".part"  # suffix of a file that is not committed yet
DISK_ERRNOS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EFBIG)


class Workspace:
    """The folders of one build.

    Args:
        release: the folder that is published; `work` lies beside it.
    """

    def __init__(self, release: Path) -> None:
        self.release = release
        self.work = release.with_name(release.name + ".work")
        self.plan = self.work / "plan.parquet"
        self.stacks = self.work / "stacks.jsonl"
        self.state = self.work / "state.json"
        self.inventory = self.work / "inventory.jsonl"
        self.journals = self.work / "journal"
        self.quarantine = self.work / "quarantine"
        self.active = self.work / "active"

    def create(self) -> None:
        """Make the folders."""
        with disk_errors(self.work):
            for folder in (self.work, self.journals, self.quarantine, self.active):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.release.mkdir(parents=True, exist_ok=True)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the build's lock.

        Raises:
            LockedError: another process holds it; the message says which.
        """
        with disk_errors(self.work), (self.work / "lock").open("a+", encoding="utf-8") as handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                handle.seek(0)
                holder = handle.read().strip() or "another process"
                raise LockedError(f"{self.release} is being built by {holder}; wait for it or stop it") from None
            handle.truncate(0)
            handle.write(f"process {os.getpid()} on {socket.gethostname()}")
            handle.flush()
            yield

    def sweep(self) -> None:
        """Remove the uncommitted files of builds that were stopped; call only under the lock."""
        for folder in (self.release, self.work):
            for path in folder.rglob(f"*{PART}"):
                path.unlink()

    def journal(self) -> dict[str, dict[str, Any]]:
        """Return what the journals say is done, by name; a torn last line is ignored."""
        done: dict[str, dict[str, Any]] = {}
        for path in sorted(self.journals.glob("*.jsonl")):
            for line in path.read_text(encoding="utf-8").splitlines():
                try:
                    entry = json.loads(line)
                    done[entry["name"]] = entry
                except (ValueError, KeyError, TypeError):
                    continue
        return done

    def record(self, entry: dict[str, Any]) -> None:
        """Append a line to this worker's journal and see it to the disk."""
        path = self.journals / f"{socket.gethostname()}-{os.getpid()}.jsonl"
        with disk_errors(path), path.open("a", encoding="utf-8") as handle:
            handle.write("\n" + json.dumps(entry, sort_keys=True) + "\n")
            handle.flush()
            os.fsync(handle.fileno())


@contextmanager
def committed(path: Path) -> Iterator[Path]:
    """Give a temporary name to write to; on leaving the block the file stands complete under its own name."""
    part = path.with_name(f"{path.name}.{os.getpid()}{PART}")
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield part
            with part.open("rb") as handle:
                os.fsync(handle.fileno())
            if not (path.is_file() and filecmp.cmp(part, path, shallow=False)):  # what stands already is left alone
                part.replace(path)
                _sync_folder(path.parent)
        finally:
            part.unlink(missing_ok=True)


def write_committed(path: Path, text: str) -> None:
    """Commit a text file, UTF-8."""
    with committed(path) as part:
        part.write_text(text, encoding="utf-8")


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turn a disk that refuses into a `DiskError` naming the path."""
    try:
        yield
    except PermissionError as error:
        raise ConfigError(f"{error.filename or path}: permission denied; choose a folder you may write to") from error
    except OSError as error:
        if error.errno not in DISK_ERRNOS:
            raise
        why = f"{error.filename or path}: {error.strerror}; make room or mend the disk, then run the same command again"
        raise DiskError(why) from error


def sha256_file(path: Path) -> str:
    """Return the SHA-256 of a file in hex."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
