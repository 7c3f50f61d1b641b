"""Files in a Parquet column: `column/row`, the column binary or the {bytes, path} that `datasets` writes.

**Why**

- *Page checksums are verified*: Arrow does not by default, and then returns flipped bytes in silence.
- *A row group is read in small batches under a cap*: a column of one repeated value unpacks to ten million times its
  bytes, while the footer states a megabyte.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate
from typing import Any

from medtrinity25m.errors import RefusedError
from medtrinity25m.readers.container import MAX_MEMBER_BYTES, Container, Members, Recent, Stamp, attempt

KEPT_BYTES = 512 << 20  # of row groups read last: a shard of pictures has about as much
BATCH_ROWS = 16  # unpacked between two looks at their bytes


@dataclass(frozen=True)
class ParquetRows(Container):
    """A Parquet file whose rows hold files."""

    def members(self) -> Members:
        """Refuse: rows are listed by the table layout, which knows the column."""
        raise RefusedError("archive.unsupported", f"{self.path} has rows, not files; list them as a table")

    def size(self, member: str) -> int:
        """Return the bytes in a row."""
        return len(self.read(member))

    def check(self, member: str) -> None:
        """Refuse what is not there, by the footer alone."""
        self._find(member)

    def pieces(self, member: str) -> Iterator[bytes]:
        """Yield the bytes in a row."""
        yield self.read(member)

    def read(self, member: str) -> bytes:
        """Return the bytes in a row."""
        leaf, row = self._find(member)
        stamp = Stamp.of(self.place)
        opened = _open(stamp, self.path)
        group = bisect_right(opened.starts, row) - 1
        cells = _KEPT.get((stamp, leaf, group), lambda: self._group(opened, leaf, group))
        cell = cells[row - opened.starts[group]].as_py()
        found = cell["bytes"] if isinstance(cell, dict) else cell
        if found is None:
            raise RefusedError("archive.no_bytes", f"{self.address(member)} is empty; the row names no file inside")
        content: bytes = found
        return content

    def _find(self, member: str) -> tuple[str, int]:
        """Return the leaf column that holds the bytes, and the row."""
        column, _, number = member.rpartition("/")
        opened = _open(Stamp.of(self.place), self.path)
        if column not in opened.leaves or not (number.isascii() and number.isdecimal() and len(number) < 19):
            raise self.missing(member)
        leaf = opened.leaves[column]
        if leaf is None:
            why = f"column {column} of {self.path} holds no files; they are binary, or have a field bytes"
            raise RefusedError("archive.unsupported", why)
        if int(number) >= opened.starts[-1]:
            raise self.missing(member)
        return leaf, int(number)

    def _group(self, opened: _Opened, leaf: str, group: int) -> tuple[Any, int]:
        """Return one row group of a column, and its bytes."""
        import pyarrow as pa

        held, batches = 0, []
        rows = opened.file.iter_batches(BATCH_ROWS, [group], [leaf], use_threads=False)
        while (batch := attempt(self.path, lambda: next(rows, None))) is not None:
            held += batch.nbytes
            if held > MAX_MEMBER_BYTES:
                why = f"{self.path}: row group {group} unpacks to more than {MAX_MEMBER_BYTES:,} bytes"
                raise RefusedError("archive.too_large", f"{why}; write it anew with fewer rows a group")
            batches.append(batch.column(0))
        if sum(map(len, batches)) != opened.starts[group + 1] - opened.starts[group]:
            why = f"{self.path}: rows of row group {group} are missing; fetch the file again"
            raise RefusedError("archive.damaged", why)
        return pa.chunked_array(batches), held


_KEPT: Recent[Any] = Recent(KEPT_BYTES)


@dataclass(frozen=True)
class _Opened:
    """An open file; `leaves` are the columns and where they hold bytes, `starts` the first row of each row group."""

    file: Any
    leaves: dict[str, str | None]
    starts: tuple[int, ...]


@lru_cache(maxsize=8)
def _open(stamp: Stamp, path: str) -> _Opened:
    import pyarrow.parquet as pq

    file = attempt(path, lambda: pq.ParquetFile(stamp.place, page_checksum_verification=True))
    groups = range(file.metadata.num_row_groups)
    starts = (0, *accumulate(file.metadata.row_group(group).num_rows for group in groups))
    return _Opened(file, {field.name: _leaf(field) for field in file.schema_arrow}, starts)


def _leaf(field: Any) -> str | None:
    """Return the path of the bytes within a column, None where it has none."""
    import pyarrow.types as types

    def binary(kind: Any) -> bool:
        return bool(types.is_binary(kind) or types.is_large_binary(kind))

    if binary(field.type):
        return str(field.name)
    if types.is_struct(field.type) and (at := field.type.get_field_index("bytes")) >= 0:
        return f"{field.name}.bytes" if binary(field.type.field(at).type) else None
    return None
