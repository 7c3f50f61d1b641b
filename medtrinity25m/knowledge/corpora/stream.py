"""Opens the files of a corpus: plain or gzip, read once from front to back, never more than they may hold.

**Why** a ratio caps what a file unpacks to: no size is stated anywhere that could be believed. PubMed's XML packs 8 to
12 times, deflate can pack 1032 times; between the two only a bomb lies.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from isal import isal_zlib

from medtrinity25m.errors import ConfigError, RefusedError

CHUNK = 1 << 16  # bytes read at a time
MAX_RATIO = 200
SLACK = 64 << 20  # bytes any file may unpack to
GZIP = b"\x1f\x8b"
DAMAGED = "knowledge.damaged"
# the stub of isal calls the class an instance
Damage: type[Exception] = isal_zlib.IsalError  # type: ignore[assignment]


class Stream:
    """The plain bytes of one file; what a damaged gzip stream raises becomes a refusal of the file."""

    def __init__(self, handle: Any, name: str, limit: int) -> None:
        self._handle, self._name, self._rest = handle, name, limit

    def read(self, size: int = CHUNK) -> bytes:
        """Return up to `size` bytes, none at the end, which is reached only by a whole file."""
        return self._take(lambda: self._handle.read(size))

    def line(self, size: int) -> bytes:
        """Return a line with its end, or its first `size` bytes."""
        return self._take(lambda: self._handle.readline(size))

    def all(self, limit: int) -> bytes:
        """Return the rest, at most `limit` bytes of it."""
        parts, total = [], 0
        while piece := self.read():
            total += len(piece)
            if total > limit:
                raise RefusedError("knowledge.too_long", f"{self._name} has more than {limit:,} bytes; cut it in parts")
            parts.append(piece)
        return b"".join(parts)

    def _take(self, read: Any) -> bytes:
        try:
            data: bytes = read()
        except (OSError, EOFError, ValueError, Damage) as error:
            why = f"{self._name} is damaged ({type(error).__name__}: {error}); fetch the file again"
            raise RefusedError(DAMAGED, why) from None
        self._rest -= len(data)
        if self._rest < 0:
            why = f"{self._name} unpacks to more than {MAX_RATIO} times its own size; unpack it by hand if it is sound"
            raise RefusedError("knowledge.too_large", why)
        return data


@contextmanager
def opened(path: Path, name: str) -> Iterator[Stream]:
    """Open a file by what it holds; `name` names it in messages.

    Raises:
        RefusedError: `knowledge.unreadable` where the disk refuses.
    """
    try:
        with path.open("rb") as handle:
            packed = handle.read(2) == GZIP
            handle.seek(0)
            size = path.stat().st_size
            if not packed:
                yield Stream(handle, name, size + SLACK)
                return
            from isal import igzip

            with igzip.open(handle) as unpacked:  # type: ignore[no-untyped-call]
                yield Stream(unpacked, name, size * MAX_RATIO + SLACK)
    except OSError as error:
        raise RefusedError("knowledge.unreadable", f"{name}: {error.strerror or error}") from None


def head(path: Path, size: int = CHUNK) -> bytes:
    """Return the first bytes of a file, unpacked; of a damaged one what comes before the damage."""
    data = b""
    with suppress(RefusedError), opened(path, path.name) as stream:
        while len(data) < size and (piece := stream.read(1024)):
            data += piece
    return data


def xml_library() -> Any:
    """Return `lxml.etree`.

    Raises:
        ConfigError: it is not installed.
    """
    try:
        from lxml import etree
    except ImportError:
        raise ConfigError("reading XML needs lxml; pip install 'medtrinity25m[knowledge]'") from None
    return etree


def parser_options() -> dict[str, bool]:
    """Return how XML from outside is parsed: no entity is replaced, nothing is fetched, libxml2's own limits hold."""
    return {
        "resolve_entities": False, "no_network": True, "load_dtd": False, "dtd_validation": False,
        "huge_tree": False, "recover": False, "remove_comments": True, "remove_pis": True,
    }  # fmt: skip


def no_entities(root: Any, name: str) -> None:
    """Refuse a document that declares entities of its own; those of corpora never do."""
    subset = root.getroottree().docinfo.internalDTD
    if subset is not None and next(iter(subset.iterentities()), None) is not None:
        why = f"{name} declares XML entities, which corpora do not and bombs do"
        raise RefusedError("knowledge.entities", why)
