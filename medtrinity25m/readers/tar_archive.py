"""Tar archives, plain or in gzip or Zstandard: an index of where the members lie, and reading at those places.

With a cache folder the index is a file of Arrow columns, made once and shared by all processes; a million members
are not held by each of them.

**Why** a ratio caps what is unpacked to the cache folder: no size is stated anywhere that could be believed.
Deflate cannot expand more than 1032 times, Zstandard can, but of an archive of pictures only a bomb does.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from medtrinity25m.errors import RefusedError
from medtrinity25m.readers import tarball
from medtrinity25m.readers.container import Container, Members, Stamp, attempt, pieces, settled
from medtrinity25m.readers.spool import CHUNK, spooled

MAX_RATIO = 1032
SLACK = 1 << 20  # bytes any archive may unpack to: the padding of a small one packs better than its pictures


@dataclass(frozen=True)
class TarArchive(Container):
    """A tar archive, compressed or not as its name says."""

    def members(self) -> Members:
        """Return the regular files."""
        index = self._opened()[1]
        rows = list(zip(index.names.to_pylist(), index.whys.to_pylist(), strict=True))
        refused = ((self.address(name), self.unsafe(name, why)) for name, why in rows if why is not None)
        return Members(tuple(self.address(name) for name, why in rows if why is None), tuple(refused))

    def size(self, member: str) -> int:
        """Return a member's bytes."""
        return self._find(member)[2]

    def pieces(self, member: str) -> Iterator[bytes]:
        """Yield a member's content, which nothing in a tar archive could prove right."""
        plain, offset, rest = self._find(member)
        with plain.open("rb") as file:
            file.seek(offset)
            while rest and (piece := attempt(self.path, partial(file.read, min(CHUNK, rest)))):
                rest -= len(piece)
                yield piece
        if rest:
            raise RefusedError("archive.damaged", f"{self.path} became shorter while it was read")

    def _find(self, member: str) -> tuple[Path, int, int]:
        """Return the plain archive, and where in it a member lies with how many bytes."""
        plain, index = self._opened()
        at = bisect.bisect_left(range(len(index.names)), member, key=lambda row: index.names[row].as_py())
        if at == len(index.names) or index.names[at].as_py() != member:
            raise self.missing(member)
        if (why := index.whys[at].as_py()) is not None:
            raise self.unsafe(member, why)
        return plain, index.offsets[at].as_py(), index.sizes[at].as_py()

    def _opened(self) -> tuple[Path, _Index]:
        plain = self.place
        if not self.path.casefold().endswith(".tar"):
            plain = spooled(self.cache, self.path, Stamp.of(self.place).key, ".tar", self._unpack)
        return plain, _index(Stamp.of(plain), self.path, self.cache)

    def _unpack(self, out: BinaryIO) -> None:
        limit, written = self.place.stat().st_size * MAX_RATIO + SLACK, 0
        with attempt(self.path, self._decompressed) as stream:
            for piece in pieces(stream.read, self.path):
                written += len(piece)
                if written > limit:
                    why = f"{self.path} unpacks to more than {limit:,} bytes, {MAX_RATIO} times its own"
                    raise RefusedError("archive.too_large", f"{why}; unpack it by hand if it is sound")
                out.write(piece)

    def _decompressed(self) -> Any:
        """Return a stream of the plain archive; it checks whatever checksums the compression has."""
        if self.path.casefold().endswith(".zst"):
            import pyarrow as pa  # here and below: an eighth of a second to import, and few sources need it

            return pa.CompressedInputStream(pa.OSFile(str(self.place)), "zstd")
        from isal import igzip

        return igzip.open(self.place)  # type: ignore[no-untyped-call]  # isal's


class _Index(NamedTuple):
    """Members sorted by name, as Arrow arrays; `whys` says of a refused one why."""

    names: Any
    offsets: Any
    sizes: Any
    whys: Any


@lru_cache(maxsize=32)
def _index(stamp: Stamp, path: str, cache: Path | None) -> _Index:
    import pyarrow as pa

    if cache is None:
        return _columns(attempt(path, lambda: _table(stamp.place, path)))

    def write(out: BinaryIO) -> None:
        table = attempt(path, lambda: _table(stamp.place, path))
        with pa.ipc.new_file(out, table.schema) as writer:
            writer.write_table(table)

    place = spooled(cache, path, stamp.key, ".index", write)
    return _columns(attempt(str(place), lambda: pa.ipc.open_file(pa.memory_map(str(place))).read_all()))


def _columns(table: Any) -> _Index:
    return _Index(*(column.combine_chunks() for column in table.columns))


def _table(place: Path, path: str) -> Any:
    import pyarrow as pa

    found = tarball.walk(place, path)
    good, bad = settled((one.name.decode("utf-8", "surrogateescape"), one.why, one) for one in found)
    names = sorted({*good, *bad})
    columns = {
        "name": pa.array(names, pa.large_string()),
        "offset": pa.array([good[name].offset if name in good else 0 for name in names], pa.int64()),
        "size": pa.array([good[name].size if name in good else 0 for name in names], pa.int64()),
        "why": pa.array([bad.get(name) for name in names], pa.string()),
    }
    return pa.table(columns)
