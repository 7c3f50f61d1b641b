"""What archives and tables with files inside have in common.

Members that may not be used (links, devices, names that lead out, names that occur twice) are named and refused.
What was opened stays open for the next call in the same process, outside of the objects, which are cheap to make.

**Why** a name that occurs twice is refused, both copies: zip readers take the last one, streaming tar readers the
first, and which is meant cannot be known.
"""

from __future__ import annotations

import os
import zipfile
import zlib
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO, Generic, NamedTuple, TypeVar

from medtrinity25m.errors import RefusedError
from medtrinity25m.readers.spool import CHUNK, spooled

Value = TypeVar("Value")

MAX_MEMBER_BYTES = 2 << 30  # what one worker may hold, as for a file that is unpacked by itself
_DAMAGE = (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, RuntimeError, OverflowError)
"""What the standard library, isal and pyarrow raise on damaged containers; none of it may escape."""


@dataclass(frozen=True)
class Members:
    """Addresses of the regular files of an archive, sorted, and of what it should not have, each with its refusal."""

    addresses: tuple[str, ...]
    refused: tuple[tuple[str, RefusedError], ...] = ()


class Stamp(NamedTuple):
    """What tells one state of a file from another; and the process, since a fork must not share open files."""

    place: Path
    size: int
    changed_ns: int
    status_ns: int
    inode: int
    process: int

    @classmethod
    def of(cls, place: Path) -> Stamp:
        """Return the stamp of a file as it is now."""
        status = place.stat()
        return cls(place, status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino, os.getpid())

    @property
    def key(self) -> tuple[str, int, int]:
        """What names the file's content in every process."""
        return str(self.place), self.size, self.changed_ns


@dataclass(frozen=True)
class Container(ABC):
    """An archive or table with files inside.

    Args:
        path: names it in messages and addresses.
        place: where it lies.
        cache: the folder to unpack to, if there is one.
    """

    path: str
    place: Path
    cache: Path | None

    @abstractmethod
    def members(self) -> Members:
        """Return what can be read and what cannot."""

    @abstractmethod
    def size(self, member: str) -> int:
        """Return a member's bytes, which reading never exceeds; refuses one that is not there or may not be used."""

    @abstractmethod
    def pieces(self, member: str) -> Iterator[bytes]:
        """Yield a member's content; its end is reached only if it is whole."""

    def check(self, member: str) -> None:
        """Refuse a member that is not there or may not be used."""
        self.size(member)

    def read(self, member: str) -> bytes:
        """Return a member's whole content."""
        size = self.size(member)
        if size > MAX_MEMBER_BYTES:
            why = f"{self.address(member)} has {size:,} bytes; the limit is {MAX_MEMBER_BYTES:,}; unpack {self.path}"
            raise RefusedError("archive.too_large", why)
        return b"".join(self.pieces(member))

    def head(self, member: str, size: int) -> bytes:
        """Return a member's first bytes, at most `CHUNK`, of which no checksum is checked."""
        return next(self.pieces(member), b"")[:size]

    def extract(self, member: str) -> Path:
        """Return the place of a member's copy in the cache folder."""
        self.check(member)

        def write(out: BinaryIO) -> None:
            for piece in self.pieces(member):
                out.write(piece)

        key = (*Stamp.of(self.place).key, member)
        return spooled(self.cache, self.address(member), key, PurePosixPath(member).suffix, write)

    def address(self, member: str) -> str:
        """Return what names a member for everybody."""
        return f"{self.path}!/{member}"

    def missing(self, member: str) -> RefusedError:
        """Return the refusal of a member that is not there."""
        return RefusedError("file.missing", f"{self.path} holds no {member}")

    def unsafe(self, member: str, why: str) -> RefusedError:
        """Return the refusal of a member that may not be used."""
        return RefusedError("archive.unsafe_member", f"{self.address(member)} {why}; unpack the archive and mend it")


class Recent(Generic[Value]):
    """The values made last, up to `max_bytes` of them; the very last is kept whatever its size."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._held: OrderedDict[object, tuple[Value, int]] = OrderedDict()

    def get(self, key: object, make: Callable[[], tuple[Value, int]]) -> Value:
        """Return the value of a key; where it is not held, `make` gives it and its bytes."""
        if key not in self._held:
            self._held[key] = make()
        self._held.move_to_end(key)
        while len(self._held) > 1 and sum(size for _, size in self._held.values()) > self._max_bytes:
            self._held.popitem(last=False)
        return self._held[key][0]


def settled(found: Iterable[tuple[str, str | None, Value]]) -> tuple[dict[str, Value], dict[str, str]]:
    """Sort members by use: names with what stands behind them, and refused names with why.

    Args:
        found: name as the archive has it, why it may not be used if that is known, and what stands behind it.
    """
    good: dict[str, Value] = {}
    bad: dict[str, str] = {}
    for raw, reason, what in found:
        name, why = _judged(raw)
        if name in good or name in bad:
            good.pop(name, None)
            bad[name] = "is there more than once"
        elif reason or why:
            bad[name] = reason or why or ""
        else:
            good[name] = what
    return good, bad


def _judged(name: str) -> tuple[str, str | None]:
    """Return a member's name as a plain relative path, and why it is none, if so."""
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if name.startswith("/"):
        return name, "has an absolute name"
    if ".." in parts:
        return name, "has a name that leads out of the archive"
    if not name.isascii() and any("\ud800" <= character <= "\udfff" for character in name):
        return name.encode("utf-8", "backslashreplace").decode(), "has a name that is no UTF-8"
    return "/".join(parts) or ".", None if parts else "has no name"


def pieces(read: Callable[[int], bytes], path: str) -> Iterator[bytes]:
    """Yield what `read` gives until its end; whatever it raises means that the container is damaged."""
    while piece := attempt(path, lambda: read(CHUNK)):
        yield piece


def attempt(path: str, action: Callable[[], Value]) -> Value:
    """Return what a call returns; what a damaged container makes it raise becomes a refusal."""
    try:
        return action()
    except NotImplementedError as error:  # before RuntimeError, of which it is one
        raise RefusedError("archive.unsupported", f"{path}: {error}; pack the archive anew") from None
    except MemoryError:
        raise RefusedError("archive.too_large", f"{path} unpacks to more than the memory holds") from None
    except _DAMAGE as error:
        reason = f"{path} is damaged ({type(error).__name__}: {error}); fetch the file again"
        raise RefusedError("archive.damaged", reason) from None
