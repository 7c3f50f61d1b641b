"""Unpacks once what can only be read from front to back, so that it can be read at any place.

A file is written under a temporary name in the cache folder, synced and renamed, under a lock that lets the other
processes wait for the first one. Its name holds a hash of the original's path, size and time of change, so another
archive, or a newer one, never meets an old copy.

**Why** the lock is a help and not the guarantee: on file systems without locks two processes write the same bytes
under two temporary names, and the second rename changes nothing.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from medtrinity25m.errors import DiskError, RefusedError

CHUNK = 4 << 20  # bytes copied at a time
_NAME = 80  # characters of the original's name kept in the copy's, for whoever looks into the folder


def spooled(cache: Path | None, name: str, key: object, suffix: str, write: Callable[[BinaryIO], None]) -> Path:
    """Return the place of a file in the cache folder, written by `write` if it is not there yet.

    Args:
        cache: the folder, made when needed.
        name: what the file is made of, for messages and for its name.
        key: whatever the content depends on, by its `repr`.
        suffix: ends the file's name.
        write: writes the whole content; what it raises leaves nothing behind.

    Raises:
        RefusedError: `archive.needs_cache` when there is no cache folder; and what `write` raises.
        DiskError: the cache folder cannot be written to, or is full.
    """
    if cache is None:
        why = f"{name} has to be unpacked before it can be read, and no cache folder is set"
        raise RefusedError("archive.needs_cache", f"{why}; set one, or unpack the file beside its source")
    short = "".join(c if c.isalnum() or c in "._-" else "_" for c in Path(name).name[-_NAME:])
    place = cache / f"{short}-{hashlib.sha256(repr(key).encode()).hexdigest()[:24]}{suffix}"
    if place.is_file():
        return place
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with _locked(place.with_name(place.name + ".lock")):
            if not place.is_file():
                _commit(place, write)
    except OSError as error:
        reason = f"{error.strerror or error} while {name} was unpacked to {place}"
        raise DiskError(f"{reason}; make room, or set another cache folder") from error
    return place


def _commit(place: Path, write: Callable[[BinaryIO], None]) -> None:
    handle, temporary = tempfile.mkstemp(prefix=place.name, suffix=".part", dir=place.parent)
    part = Path(temporary)
    try:
        with os.fdopen(handle, "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        part.replace(place)
    finally:
        part.unlink(missing_ok=True)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold a lock file for the block, where the file system has locks."""
    with path.open("a") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
        except OSError:  # some network file systems have none
            yield
            return
        yield
